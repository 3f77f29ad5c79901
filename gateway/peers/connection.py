"""One open stream to a peer: frames both ways, for as long as both sides are heard.

The peer's silence and its breach of the rules end the connection, and every turn on it with
PeerLost. A new connection begins with nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from typing import TYPE_CHECKING

import grpc
import msgspec

from gateway.core.generation import TokenFrame
from gateway.core.peer_errors import PeerLost, PeerRefused
from gateway.peers.offered_turn import OfferedTurn, is_end
from gateway.runtime.outbox import Outbox
from gateway.runtime.tasks import first_cause
from gateway.wire.peer_frames import (
    BEAT_INTERVAL_S,
    NUM_SILENT_BEATS,
    PROTOCOL,
    WINDOW_TOKENS,
    Accept,
    AskSession,
    Beat,
    Cancel,
    Drain,
    End,
    FrameError,
    Hello,
    KeepSession,
    Offer,
    Refuse,
    Report,
    Service,
    SessionFound,
    SessionTaken,
    Tokens,
    Window,
    messages,
    server_frames,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.generation import GenerationEvent
    from gateway.core.hops import Admitted
    from gateway.core.load_report import LoadReport
    from gateway.core.service_report import ServiceReport
    from gateway.core.session_snapshot import SealedSnapshot
    from gateway.peers.port import HandedTurn, PeerObserver
    from gateway.wire.peer_frames import CallerFrame, ServerFrame

    Call = grpc.aio.StreamStreamCall[bytes, bytes]

_SILENCE_LIMIT_S = NUM_SILENT_BEATS * BEAT_INTERVAL_S
_GREETING_LIMIT_S = 5.0
"""To connect, prove who one is and say hello."""
_NUM_ROUND_TRIPS = 40
"""The shortest of the last 10 s: what the way takes when nobody was busy."""
_MAX_NUM_UNWRITTEN = 4096


class PeerConnection:
    """The caller's side of a `PeerService.Link` call, until `run` ends."""

    def __init__(
        self,
        site: str,
        call: Call,
        *,
        hello: Hello,
        vocab_size: int,
        observer: PeerObserver,
        session_taken: Callable[[SealedSnapshot], object],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._site = site
        self._call = call
        self._own_hello = hello
        self._vocab_size = vocab_size
        self._observer = observer
        self._session_taken = session_taken
        self._monotonic = monotonic
        self._keys = itertools.count(1)
        self._turns: dict[int, OfferedTurn] = {}
        self._asked: dict[int, asyncio.Future[SealedSnapshot | None]] = {}
        self._outbox: Outbox[CallerFrame] = Outbox(max_num_items=_MAX_NUM_UNWRITTEN)
        self._beat_numbers = itertools.count(1)
        self._beats_s: dict[int, float] = {}
        """When each beat that has no answer yet was sent."""
        self._round_trips_s: deque[float] = deque(maxlen=_NUM_ROUND_TRIPS)
        self.hello: Hello | None = None
        """The peer's, while the link is up."""
        self._greeted = asyncio.Event()
        self.heard_s = monotonic()
        self.report: LoadReport | None = None
        self.reported_s = 0.0
        self.service: ServiceReport | None = None
        self.served_s = 0.0
        """When it came."""
        self.is_draining = False
        self._doubted_s: float | None = None
        """Since when somebody says that the peer is gone, and no beat of ours denies it."""

    @property
    def was_linked(self) -> bool:
        """Whether the link was up at any time."""
        return self._greeted.is_set()

    @property
    def is_usable(self) -> bool:
        """Whether a turn may be offered: the peer is heard, takes work and serves our model."""
        hello = self.hello
        return (
            self._doubted_s is None
            and self.is_staying
            and hello is not None
            and self._own_hello.models[0] in hello.models
        )

    @property
    def is_staying(self) -> bool:
        """Whether the peer is heard, and about to stay."""
        is_heard = self._monotonic() - self.heard_s <= _SILENCE_LIMIT_S
        return self.hello is not None and is_heard and not self.is_draining

    @property
    def rtt_s(self) -> float | None:
        """The shortest of the last round trips, None before the first."""
        return min(self._round_trips_s, default=None)

    @property
    def num_turns(self) -> int:
        """Turns the peer has now."""
        return len(self._turns)

    def doubt(self) -> None:
        """Offer nothing until the peer has answered once more; asked at once."""
        if self.hello is None or self._doubted_s is not None:
            return
        self._doubted_s = self._monotonic()
        self._observer.lost(self._site, "the fabric says that it is gone")
        self._send_beat()

    async def run(self) -> None:
        """Serve until it ends. Raises PeerLost, and FrameError when the peer broke a rule."""
        self._outbox.put(self._own_hello)
        try:
            with first_cause():
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._read())
                    tasks.create_task(self._write())
                    tasks.create_task(self._beat())
        finally:
            self.hello = None
            self._call.cancel()
            for turn in self._turns.values():
                turn.fail(PeerLost(self._site, "the link broke"))
            self._turns.clear()
            for asked in self._asked.values():
                asked.cancel()
            self._asked.clear()

    def keep_session(self, sealed: SealedSnapshot) -> None:
        """Have the peer keep a snapshot."""
        self._outbox.put(KeepSession(sealed))

    async def ask_session(self, session: str) -> SealedSnapshot | None:
        """The peer's newest snapshot of a session, unchecked; None also when the link breaks."""
        key = next(self._keys)
        self._asked[key] = asked = asyncio.get_running_loop().create_future()
        self._outbox.put(AskSession(key, session))
        try:
            await asyncio.wait((asked,))
        finally:
            self._asked.pop(key, None)
        return None if asked.cancelled() else asked.result()

    async def generate(
        self, handed: HandedTurn
    ) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        """See `PeerSites.generate`."""
        if not self.is_usable:
            raise PeerLost(self._site, "not linked", was_sent=False)
        key = next(self._keys)
        turn = OfferedTurn(handed.request, handed.trail, vocab_size=self._vocab_size)
        self._turns[key] = turn
        self._outbox.put(self._offer(key, handed))
        try:
            item = await turn.next()
            yield item
            while not is_end(item):
                item = await turn.next()
                if isinstance(item, TokenFrame):
                    granted = turn.grant(len(item.ids))
                    if granted and key in self._turns:
                        self._outbox.put(Window(key, granted))
                yield item
        finally:
            if self._turns.pop(key, None) is not None:
                self._outbox.put(Cancel(key))

    def _offer(self, key: int, turn: HandedTurn) -> Offer:
        request, hops, trail, is_last_resort = turn
        deadline_s, remaining_ms = request.first_token_deadline_s, None
        if deadline_s is not None:
            left_s = deadline_s - self._monotonic() - (self.rtt_s or 0.0)
            remaining_ms = max(0.0, left_s * 1e3)
        return Offer(
            key,
            msgspec.structs.replace(request, first_token_deadline_s=None),
            remaining_ms,
            hops,
            self._own_hello.models[0],
            WINDOW_TOKENS,
            trail.traceparent,
            is_last_resort,
            trail.allowed_regions,
            trail.allowed_sites,
        )

    async def _write(self) -> None:
        while True:
            frames = await self._outbox.take()
            try:
                for message in messages(frames):
                    await self._call.write(message)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                return  # the reader learns why

    async def _read(self) -> None:
        reader = server_frames()
        while True:
            try:
                message: object = await self._call.read()
            except grpc.aio.AioRpcError as error:
                raise PeerLost(self._site, _reason(error)) from error
            if not isinstance(message, bytes):
                raise PeerLost(self._site, await self._ended())
            self.heard_s = self._monotonic()
            for frame in reader.read(message):
                self._receive(frame)

    async def _ended(self) -> str:
        code, details = await self._call.code(), await self._call.details()
        return f"it ended the link: {details or code.name.lower()}"

    async def _beat(self) -> None:
        """Ask for a sign of life, and give up on a peer that gives none.

        Whoever was late himself, because his own loop or machine stood still, judges nobody.
        """
        try:
            async with asyncio.timeout(_GREETING_LIMIT_S):
                await self._greeted.wait()
        except TimeoutError:
            raise PeerLost(self._site, f"no answer within {_GREETING_LIMIT_S:g} s") from None
        while True:
            sent_s = self._send_beat()
            await asyncio.sleep(BEAT_INTERVAL_S)
            now_s = self._monotonic()
            is_late = now_s - sent_s > 2 * BEAT_INTERVAL_S
            if not is_late and now_s - self.heard_s > _SILENCE_LIMIT_S:
                raise PeerLost(self._site, f"silent for {now_s - self.heard_s:.2f} s")
            if not is_late:
                self._give_up_stalled(now_s)

    def _give_up_stalled(self, now_s: float) -> None:
        """A peer may beat and yet do nothing for its turns."""
        for key in [key for key, turn in self._turns.items() if turn.is_stalled(now_s)]:
            lost = PeerLost(self._site, "it sends no more tokens", is_over=False)
            self._turns.pop(key).fail(lost)
            self._outbox.put(Cancel(key))

    def _send_beat(self) -> float:
        number, sent_s = next(self._beat_numbers), self._monotonic()
        self._beats_s[number] = sent_s
        self._outbox.put(Beat(number))
        return sent_s

    def _receive(self, frame: ServerFrame) -> None:
        if self.hello is None:
            self._greet(frame)
            return
        match frame:
            case Beat(number):
                self._take_round_trip(number)
            case Report() | Service():
                self._receive_report(frame)
            case Drain():
                self.is_draining = True
            case SessionTaken(sealed):
                self._session_taken(sealed)
            case SessionFound(key, found):
                if (asked := self._asked.pop(key, None)) is not None and not asked.done():
                    asked.set_result(found)
            case Hello():
                raise FrameError("a site says hello once")
            case Accept() | Refuse() | Tokens() | End():
                self._receive_of_turn(frame)

    def _receive_report(self, frame: Report | Service) -> None:
        match frame:
            case Report(load):
                self.report, self.reported_s = load, self._monotonic()
                self._observer.reported(self._site, load)
            case Service(service):
                self.service, self.served_s = service, self._monotonic()

    def _receive_of_turn(self, frame: Accept | Refuse | Tokens | End) -> None:
        turn = self._turns.get(frame.key)
        if turn is None:
            return  # cancelled while this was on its way
        match frame:
            case Accept(_, path):
                if path[0] != self._site:
                    raise FrameError(f"it says that {path[0]} took a turn offered to it")
                turn.receive_accept(frame)
            case Tokens():
                turn.receive_tokens(frame.frame)
            case End():
                turn.receive_end(frame)
                del self._turns[frame.key]
            case Refuse():
                estimate_s = frame.estimate_ms / 1e3
                turn.note_stages(frame.stages)
                turn.fail(PeerRefused(self._site, reason=frame.reason, estimate_s=estimate_s))
                del self._turns[frame.key]

    def _greet(self, frame: ServerFrame) -> None:
        """The peer must be who was dialled and speak our version."""
        if not isinstance(frame, Hello):
            raise FrameError("a site says hello first")
        if frame.site != self._site:
            raise FrameError(f"it says it is {frame.site}")
        if frame.protocol != PROTOCOL:
            raise PeerLost(self._site, f"it speaks protocol {frame.protocol}, not {PROTOCOL}")
        self.hello = frame
        self._greeted.set()
        self._observer.linked(self._site, frame)

    def _take_round_trip(self, number: int) -> None:
        sent_s = self._beats_s.pop(number, None)
        if sent_s is None:
            raise FrameError("a beat was answered that was not sent")
        rtt_s = self._monotonic() - sent_s
        self._round_trips_s.append(rtt_s)
        self._observer.timed(self._site, rtt_s)
        if self._doubted_s is not None and sent_s >= self._doubted_s and self.hello is not None:
            self._doubted_s = None
            self._observer.linked(self._site, self.hello)


def _reason(error: grpc.aio.AioRpcError) -> str:
    code = error.code().name.lower().replace("_", " ")
    details = error.details()
    return f"{code}: {details}" if details else code
