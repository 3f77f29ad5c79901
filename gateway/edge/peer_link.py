"""One link that a peer has opened to this site: its turns, served as long as it keeps the rules."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import grpc
import msgspec

from gateway.core.budget import forwarded_budget
from gateway.core.errors import GatewayError, SloUnattainable
from gateway.core.generation import GenerationEnd, GenerationRequest, TokenFrame
from gateway.core.hops import Admitted
from gateway.core.load_report import LoadReport
from gateway.core.service_report import ServiceReport
from gateway.core.stages import TurnRecord
from gateway.edge.served_part import ServedPart
from gateway.runtime.outbox import Outbox
from gateway.runtime.tasks import first_cause
from gateway.wire.peer_frames import (
    MAX_WINDOW_TOKENS,
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
    caller_frames,
    messages,
    snapshot_bytes,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.core.budget import Budget
    from gateway.core.generation import GenerationEvent
    from gateway.core.hops import Hops
    from gateway.core.session_snapshot import SealedSnapshot
    from gateway.core.stages import TurnTrail
    from gateway.wire.peer_frames import CallerFrame, ServerFrame

_logger = logging.getLogger(__name__)

MAX_NUM_TURNS = 512
"""Of one link at a time."""
SILENCE_LIMIT_S = 3.0
"""Longer than a caller waits for us: a site that stood still for a moment finds its work done."""
_MAX_NUM_UNWRITTEN = 4096
_MAX_SNAPSHOT_BYTES = 16 << 20
"""Of snapshots that were asked for and are not written yet."""
_SERVICE_INTERVAL_S = 0.9
"""Some site says it with every fourth beat."""
_DRAINING = "draining"


class ServesPeers(Protocol):
    """What a link hands its turns to."""

    def serve(
        self,
        request: GenerationRequest,
        budget: Budget,
        trail: TurnTrail,
        hops: Hops,
        *,
        is_last_resort: bool = False,
    ) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        """See `Router.serve`."""
        ...


class KeepsSessions(Protocol):
    """Where a link's snapshots go."""

    def keep(self, site: str, sealed: SealedSnapshot) -> SealedSnapshot | None:
        """See `SurvivingSessions.keep`."""
        ...

    def newest(self, session: str) -> SealedSnapshot | None:
        """See `SurvivingSessions.newest`."""
        ...


class PeerContract(msgspec.Struct, frozen=True):
    """What this site offers its peers."""

    hello: Hello
    vocab_size: int
    max_context_tokens: int
    report: Callable[[str], LoadReport | None]
    """For the site of that name."""
    receive: Callable[[str, GenerationRequest], None]
    """The site of that name has sent this; it counts, taken or not."""
    service: Callable[[], ServiceReport | None] = lambda: None
    """How this site has served its own callers; asked about once a second."""
    sessions: KeepsSessions | None = None
    """None: this site keeps no sessions for others."""
    record: Callable[[TurnRecord], None] = lambda _: None
    """Keep what this site did of a turn."""


class LinkOver(Exception):
    """The link has ended in good order, or the caller is gone."""


@dataclass(slots=True)
class _Served:
    """A turn of the link."""

    room_tokens: int
    has_room: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    refusal: str = ""
    """Why it is given back, if it is."""
    part: ServedPart | None = None
    """Once it was begun."""

    def grant(self, num_tokens: int) -> None:
        """The caller has read so many. Raises FrameError for more than can ever be unread."""
        self.room_tokens += num_tokens
        if self.room_tokens > 2 * MAX_WINDOW_TOKENS:
            raise FrameError("a window is wider than any can be")
        self.has_room.set()

    async def room(self) -> None:
        """Wait until at least one token may be sent."""
        while self.room_tokens <= 0:
            self.has_room.clear()
            await self.has_room.wait()


class InboundLink:
    """The called side of a `PeerService.Link` call; `run` serves it to its end."""

    def __init__(
        self,
        context: grpc.aio.ServicerContext[bytes, bytes],
        router: ServesPeers,
        contract: PeerContract,
        *,
        admit_caller: Callable[[Hello, InboundLink], None],
        is_draining: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context: Any = context
        self._router = router
        self._contract = contract
        self._admit_caller = admit_caller
        self._monotonic = monotonic
        self._site = contract.hello.site
        self._outbox: Outbox[ServerFrame] = Outbox(max_num_items=_MAX_NUM_UNWRITTEN)
        self._turns: dict[int, _Served] = {}
        self._num_snapshot_bytes = 0
        """Of what is not written yet."""
        self._service_due_s = 0.0
        self._last_key = 0
        self._heard_s = monotonic()
        self._is_draining = is_draining
        self._is_closing = False
        self._is_closed = asyncio.Event()
        self.caller: Hello | None = None

    @property
    def num_turns(self) -> int:
        """Turns that are being served."""
        return len(self._turns)

    def drain(self) -> None:
        """Take nothing new; what runs goes on."""
        self._is_draining = True
        self._outbox.put(Drain())

    def close(self) -> None:
        """Give every turn back to the caller, who goes on elsewhere, and end the link."""
        self._is_closing = True
        for turn in self._turns.values():
            self._cancel(turn, _DRAINING)
        if not self._turns:
            self._is_closed.set()

    async def run(self) -> None:
        """Serve. Raises LinkOver, FrameError when the caller breaks a rule, GatewayError."""
        self._outbox.put(self._contract.hello)
        if self._is_draining:
            self._outbox.put(Drain())
        try:
            with first_cause():
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._watch())
                    tasks.create_task(self._end_when_closed())
                    await self._read(tasks)
        finally:
            self._outbox.close()

    async def write(self) -> None:
        """Write until the link is over and all is said.

        In a task that is not cancelled with the others: gRPC ends no call in the middle of a write.
        """
        while frames := await self._outbox.take():
            self._num_snapshot_bytes = 0
            try:
                for message in messages(self._with_report(frames)):
                    await self._context.write(message)
            except grpc.aio.InternalError:
                return  # the caller is gone, and the call about to be cancelled

    def _with_report(self, frames: list[ServerFrame]) -> list[ServerFrame]:
        if self.caller is None or all(isinstance(frame, Tokens) for frame in frames):
            return frames
        said: list[ServerFrame] = []
        if (load := self._contract.report(self.caller.site)) is not None:
            said.append(Report(load))
        now_s = self._monotonic()
        if now_s >= self._service_due_s and (service := self._contract.service()) is not None:
            said.append(Service(service))
            self._service_due_s = now_s + _SERVICE_INTERVAL_S
        return [*frames, *said]

    async def _read(self, tasks: asyncio.TaskGroup) -> None:
        reader = caller_frames()
        while True:
            message = await self._context.read()
            if not isinstance(message, bytes):
                raise LinkOver
            self._heard_s = self._monotonic()
            for frame in reader.read(message):
                self._receive(frame, tasks)
            await self._outbox.room()

    async def _end_when_closed(self) -> None:
        await self._is_closed.wait()
        raise LinkOver

    async def _watch(self) -> None:
        """End the link of a caller that is silent, and with it the turns nobody reads."""
        while True:
            since_s = self._monotonic()
            await asyncio.sleep(SILENCE_LIMIT_S / 3)
            now_s = self._monotonic()
            is_late = now_s - since_s > SILENCE_LIMIT_S
            if not is_late and now_s - self._heard_s > SILENCE_LIMIT_S:
                raise LinkOver

    def _receive(self, frame: CallerFrame, tasks: asyncio.TaskGroup) -> None:
        if self.caller is None:
            if not isinstance(frame, Hello):
                raise FrameError("a site says hello first")
            self._admit_caller(frame, self)
            self.caller = frame
            return
        match frame:
            case Beat(number):
                self._outbox.put(Beat(number))
            case Offer():
                self._take(frame, self.caller.site, tasks)
            case Window() | Cancel():
                self._receive_of_turn(frame)
            case KeepSession() | AskSession():
                self._receive_of_session(frame, self.caller.site)
            case Hello():
                raise FrameError("a site says hello once")

    def _receive_of_turn(self, frame: Window | Cancel) -> None:
        turn = self._turns.get(frame.key)
        if turn is None:
            return  # it has just ended
        if isinstance(frame, Window):
            turn.grant(frame.tokens)
        else:
            if turn.part is not None:
                turn.part.is_cancelled = True
            self._cancel(turn, "")

    def _receive_of_session(self, frame: KeepSession | AskSession, caller: str) -> None:
        """A caller that reads nothing of what it asks for is soon told that nothing is here."""
        sessions = self._contract.sessions
        answer: SessionTaken | SessionFound | None = None
        if isinstance(frame, AskSession):
            has_room = self._num_snapshot_bytes < _MAX_SNAPSHOT_BYTES
            found = sessions.newest(frame.session) if sessions and has_room else None
            answer = SessionFound(frame.key, found)
        elif sessions and (newer := sessions.keep(caller, frame.sealed)):
            answer = SessionTaken(newer)
        if answer is not None:
            self._num_snapshot_bytes += snapshot_bytes(answer)
            self._outbox.put(answer)

    def _take(self, offer: Offer, caller: str, tasks: asyncio.TaskGroup) -> None:
        """Serve an offered turn, or refuse it before anything is done for it."""
        self._check(offer, caller)
        self._last_key = offer.key
        self._contract.receive(caller, offer.request)
        turn = _Served(offer.window_tokens, refusal=self._objection(offer))
        if turn.refusal:
            self._refuse(offer.key, turn)
            return
        self._turns[offer.key] = turn
        turn.task = tasks.create_task(self._serve(offer, turn))
        turn.task.add_done_callback(partial(self._end, offer.key, turn))

    def _check(self, offer: Offer, caller: str) -> None:
        """Raises FrameError for what no honest site would send."""
        request, num_ids = offer.request, self._contract.vocab_size
        if offer.key <= self._last_key:
            raise FrameError("an offer came twice, or out of order")
        if offer.hops.path[-1:] != (caller,):
            raise FrameError(f"a turn handed on by {caller} came as if from elsewhere")
        if not request.prompt or not 0 <= len(request.resume) < request.max_tokens:
            raise FrameError("a turn has a prompt and lacks at least one token")
        ids = (*request.prompt, *request.resume)
        if min(ids) < 0 or max(ids) >= num_ids:
            raise FrameError("a token id is none of the model's")
        if len(request.request_id) > 256:
            raise FrameError("a request id is longer than any")

    def _objection(self, offer: Offer) -> str:
        """Why a turn is not even asked about; "" when it is."""
        contract = self._contract
        if self._is_draining or self._is_closing:
            return _DRAINING
        if self._site in offer.hops.path:
            return "loop"
        if offer.model not in contract.hello.models:
            return "model_not_served"
        if len(offer.request.prompt) + offer.request.max_tokens > contract.max_context_tokens:
            return "context_length_exceeded"
        if len(self._turns) >= MAX_NUM_TURNS:
            return "too_many_turns"
        return ""

    async def _serve(self, offer: Offer, turn: _Served) -> None:
        try:
            await self._generate(offer, turn)
        except SloUnattainable as error:
            turn.refusal = error.reason
            self._refuse(offer.key, turn, error.estimate_s)
        except GatewayError as error:
            turn.refusal = error.code
            self._refuse(offer.key, turn)
        except Exception:
            request_id = offer.request.request_id
            _logger.exception("a peer's turn failed", extra={"request_id": request_id})
            turn.refusal = "internal_error"
            self._refuse(offer.key, turn)

    def _end(self, key: int, turn: _Served, task: asyncio.Task[None]) -> None:
        """Also of a task that was cancelled before it ran."""
        del self._turns[key]
        if task.cancelled() and turn.refusal:
            self._refuse(key, turn)
        if turn.part is not None:
            self._contract.record(turn.part.record(turn.refusal, self._monotonic()))
        if self._is_closing and not self._turns:
            self._is_closed.set()

    async def _generate(self, offer: Offer, turn: _Served) -> None:
        now_s = self._monotonic()
        remaining_s = None if offer.remaining_ms is None else offer.remaining_ms / 1e3
        # The caller, who has measured the way, has taken off both halves of it.
        budget = forwarded_budget(remaining_s, one_way_s=0.0, received_s=now_s)
        request = msgspec.structs.replace(
            offer.request, first_token_deadline_s=budget.first_token_deadline_s
        )
        part = turn.part = ServedPart(offer, self._site, now_s)
        is_accepted = False
        items = self._router.serve(
            request,
            budget,
            part.trail,
            offer.hops.received(),
            is_last_resort=offer.is_last_resort,
        )
        async with aclosing(items):
            async for item in items:
                match item:
                    case Admitted(path):
                        if not is_accepted:
                            self._outbox.put(Accept(offer.key, path))
                        is_accepted = True
                    case TokenFrame():
                        part.note_first_token(self._monotonic())
                        if turn.room_tokens <= 0:
                            await turn.room()
                        turn.room_tokens -= len(item.ids)
                        self._outbox.put(Tokens(offer.key, item))
                    case GenerationEnd():
                        part.end(item)
                        self._outbox.put(End(offer.key, item, part.stages()))

    def _refuse(self, key: int, turn: _Served, estimate_s: float = 0.0) -> None:
        estimate_ms = min(86_400_000.0, max(0.0, estimate_s * 1e3))
        stages = () if turn.part is None else turn.part.stages()
        self._outbox.put(Refuse(key, turn.refusal, estimate_ms, stages))

    def _cancel(self, turn: _Served, refusal: str) -> None:
        turn.refusal = refusal
        if turn.task is not None:
            turn.task.cancel()
