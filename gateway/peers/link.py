"""The link to one peer: connected whenever the peer can be reached."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING, Any

import grpc
import msgspec

from gateway.core.hops import Admitted
from gateway.core.load_report import LoadReport
from gateway.core.peer_errors import PeerError, PeerLost, PeerRefused
from gateway.core.service_report import ServiceReport
from gateway.peers.connection import PeerConnection
from gateway.peers.port import NobodyObserves
from gateway.wire.peer_frames import MAX_MESSAGE_BYTES, METHOD, FrameError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.generation import GenerationEvent
    from gateway.core.session_snapshot import SealedSnapshot
    from gateway.peers.connection import Call
    from gateway.peers.port import HandedTurn, PeerObserver
    from gateway.wire.peer_frames import Hello

_logger = logging.getLogger(__name__)

_OUTAGE_S = 3.0

_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.1, 5.0
_FIRST_BAN_S, _MAX_BAN_S = 5.0, 60.0
"""For a peer that broke the rules of the link; doubled each time."""


class PeerSite(msgspec.Struct, frozen=True):
    """A site to be linked to."""

    site: str
    address: str
    """`host:port` of its peer port."""


class LinkFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a peer at one moment; ages are seconds."""

    site: str
    address: str
    is_linked: bool
    is_usable: bool
    last_error: str
    """Why the link was last down; "" when it never was."""
    retry_in_s: float | None = None
    """Until it is dialled again; None while it is, or is linked."""
    addresses: tuple[str, ...] = ()
    rtt_s: float | None = None
    heard_age_s: float | None = None
    report: LoadReport | None = None
    report_age_s: float | None = None
    """Since it arrived; how old it was then, it says itself."""
    service: ServiceReport | None = None
    service_age_s: float | None = None
    """Since it arrived."""
    num_turns: int = 0
    num_offered: int = 0
    num_accepted: int = 0
    num_refused: int = 0
    num_lost: int = 0
    ejected_for_s: float | None = None
    """Until the peer gets turns again after it was an outlier; None: it is not ejected."""
    num_ejections: int = 0
    """Lately: each good answer later takes one back."""
    is_slow: bool = False
    """It says of itself that it is far slower than it used to be, or degraded."""


class PeerLink:
    """Connects, connects again, and offers turns. `run` must run, in a task with an owner."""

    def __init__(
        self,
        peer: PeerSite,
        hello: Hello,
        *,
        vocab_size: int,
        credentials: grpc.ChannelCredentials | None = None,
        observer: PeerObserver | None = None,
        session_taken: Callable[[SealedSnapshot], object] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.peer = peer
        self._hello = hello
        self._vocab_size = vocab_size
        self._credentials = credentials
        self._observer = observer or NobodyObserves()
        self._session_taken = session_taken
        self._monotonic = monotonic
        self._connection: PeerConnection | None = None
        self._is_over = False
        self._last_error = ""
        self._retry_at_s: float | None = None
        self._backoff_s = _FIRST_BACKOFF_S
        self._down_since_s = monotonic()
        self._is_told = False
        self._ban_s = _FIRST_BAN_S
        self._num_offered = self._num_accepted = self._num_refused = self._num_lost = 0

    @property
    def is_usable(self) -> bool:
        """Whether a turn may be offered now."""
        return self._connection is not None and self._connection.is_usable

    @property
    def rtt_s(self) -> float | None:
        """The shortest of the last round trips."""
        return None if self._connection is None else self._connection.rtt_s

    def figures(self) -> LinkFigures:
        """What is known now."""
        connection, now_s = self._connection, self._monotonic()
        figures = LinkFigures(
            site=self.peer.site,
            address=self.peer.address,
            is_linked=False,
            is_usable=self.is_usable,
            last_error=self._last_error,
            retry_in_s=None if self._retry_at_s is None else max(0.0, self._retry_at_s - now_s),
            num_offered=self._num_offered,
            num_accepted=self._num_accepted,
            num_refused=self._num_refused,
            num_lost=self._num_lost,
        )
        if connection is None or connection.hello is None:
            return figures
        report = connection.report
        return msgspec.structs.replace(
            figures,
            is_linked=True,
            addresses=connection.hello.addresses,
            rtt_s=connection.rtt_s,
            heard_age_s=now_s - connection.heard_s,
            report=report,
            report_age_s=None if report is None else now_s - connection.reported_s,
            service=connection.service,
            service_age_s=None if connection.service is None else now_s - connection.served_s,
            num_turns=connection.num_turns,
        )

    def doubt(self) -> None:
        """The fabric says that the peer is gone: no new turns until the peer denies it."""
        if self._connection is not None:
            self._connection.doubt()

    async def run(self) -> None:
        """Keep the link up until `end`, or until cancelled."""
        while not self._is_over:
            try:
                pause_s = await self._connect_once()
            except Exception as error:
                _logger.exception("the link to %s failed", self.peer.site)
                self._last_error, pause_s = str(error), _MAX_BACKOFF_S
            self._retry_at_s = self._monotonic() + pause_s
            await asyncio.sleep(pause_s)
            self._retry_at_s = None

    def end(self) -> None:
        """Connect no more; to be followed by a cancellation.

        That alone may be lost: before Python 3.13 a TaskGroup forgets one that comes in the moment
        in which a task of it fails.
        """
        self._is_over = True

    async def generate(self, turn: HandedTurn) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        """See `PeerSites.generate`."""
        if self._connection is None:
            raise PeerLost(self.peer.site, "not linked", was_sent=False)
        self._num_offered += 1
        events = self._connection.generate(turn)
        try:
            async for event in events:
                self._num_accepted += isinstance(event, Admitted)
                yield event
        except PeerRefused:
            self._num_refused += 1
            raise
        except PeerLost:
            self._num_lost += 1
            raise
        finally:
            await events.aclose()

    @property
    def agents(self) -> str | None:
        """`host:port` of the peer's agent port, while it is linked and about to stay."""
        connection = self._connection
        if connection is None or connection.hello is None or not connection.is_staying:
            return None
        return connection.hello.agents

    def keep_session(self, sealed: SealedSnapshot) -> None:
        """Have the peer keep a snapshot, if it is linked."""
        if self._connection is not None and self._connection.hello is not None:
            self._connection.keep_session(sealed)

    async def ask_session(self, session: str) -> SealedSnapshot | None:
        """The peer's newest snapshot of a session, unchecked; None also without a link."""
        if self._connection is None or self._connection.hello is None:
            return None
        return await self._connection.ask_session(session)

    async def _connect_once(self) -> float:
        """Hold one connection until it ends; how long to leave the peer alone then."""
        async with self._channel() as channel:
            self._connection = connection = PeerConnection(
                self.peer.site,
                self._call(channel),
                hello=self._hello,
                vocab_size=self._vocab_size,
                observer=self._observer,
                session_taken=self._session_taken,
                monotonic=self._monotonic,
            )
            try:
                await connection.run()
            except FrameError as error:
                _logger.warning("%s broke the rules of the link: %s", self.peer.site, error)
                self._note_loss(connection, f"it broke the link's rules: {error}")
                pause_s, self._ban_s = self._ban_s, min(2 * self._ban_s, _MAX_BAN_S)
            except PeerError as error:
                self._note_loss(connection, error.cause)
                pause_s = self._next_backoff_s(connection.was_linked)
            finally:
                self._connection = None
        return pause_s

    def _next_backoff_s(self, was_linked: bool) -> float:
        """Sites that lost the same peer must not all come back to it at once."""
        self._backoff_s = (
            _FIRST_BACKOFF_S if was_linked else min(2 * self._backoff_s, _MAX_BACKOFF_S)
        )
        return self._backoff_s * random.uniform(0.5, 1.0)

    def _note_loss(self, connection: PeerConnection, reason: str) -> None:
        """Say so once in an outage, and only when it lasts: sites may start or end together."""
        now_s = self._monotonic()
        if connection.was_linked:
            self._down_since_s, self._is_told = now_s, False
            self._observer.lost(self.peer.site, reason)
        if not self._is_told and now_s - self._down_since_s >= _OUTAGE_S:
            self._is_told = True
            _logger.warning("no link to %s: %s", self.peer.site, reason)
        self._last_error = reason

    def _call(self, channel: grpc.aio.Channel) -> Call:
        # Messages stay bytes here: what they mean, and whether they may, is the connection's.
        untyped: Any = channel  # the stubs insist on serializers
        call: Call = untyped.stream_stream(METHOD)()
        return call

    def _channel(self) -> grpc.aio.Channel:
        options: list[tuple[str, int | str]] = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.use_local_subchannel_pool", 1),  # backing off is done here
            ("grpc.enable_retries", 0),
            ("grpc.enable_http_proxy", 0),
        ]
        if self._credentials is None:
            return grpc.aio.insecure_channel(self.peer.address, options)
        # The certificate must be the peer's, by its name in the grid, wherever it is reached.
        options.append(("grpc.ssl_target_name_override", self.peer.site))
        return grpc.aio.secure_channel(self.peer.address, self._credentials, options)
