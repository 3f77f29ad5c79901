"""Sessions that outlive the site they run at.

After every step of a session its snapshot goes to one peer, the buddy. Whoever is asked to go on
with a session takes the newest snapshot that any linked site has, and tells all of them: its epoch
is one higher, so an owner that comes back from a pause or a partition finds that the session is no
longer its own, at the latest when its buddy answers its next snapshot.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar

from gateway.core.kept_snapshots import KeptSnapshots
from gateway.core.session_errors import SessionNotFound
from gateway.core.session_snapshot import RealtimeSnapshot, SessionSnapshot, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from gateway.core.session_snapshot import GridKey, SealedSnapshot, Snapshot

_logger = logging.getLogger(__name__)
_Kind = TypeVar("_Kind", SessionSnapshot, RealtimeSnapshot)

_LOOK_INTERVAL_S: Final = 1.0
"""How soon a session whose buddy is lost gets another."""


class SessionPeers(Protocol):
    """The sites that keep each other's sessions."""

    def staying(self) -> Mapping[str, str]:
        """Those that are linked and about to stay, and where each answers agents, or ""."""
        ...

    def keep_session(self, site: str, sealed: SealedSnapshot) -> None:
        """Have one keep a snapshot; nothing happens when it is not linked."""
        ...

    async def find_session(self, session: str) -> Iterable[SealedSnapshot]:
        """What they have of a session, unchecked."""
        ...


class SurvivingSession:
    """One session while it runs here; made by `SurvivingSessions`."""

    def __init__(
        self,
        sessions: SurvivingSessions,
        session: str,
        known: Version,
        on_moved: Callable[[], None],
    ) -> None:
        self._sessions = sessions
        self._on_moved = on_moved
        self._is_own = known.owner == sessions.site
        self._epoch = known.epoch if self._is_own else known.epoch + 1
        self._seq = known.seq if self._is_own else 0
        self.session_id = session
        self.sealed: SealedSnapshot | None = None
        self.buddy = ""
        self.is_moved = False

    @property
    def token(self) -> str:
        """What the client needs to go on elsewhere."""
        return self._sessions.key.token(self.session_id)

    @property
    def alternates(self) -> tuple[str, ...]:
        """Where it can."""
        return self._sessions.alternates(self.session_id)

    def claim(self, snapshot: Snapshot) -> None:
        """The session runs here from now on: all sites that can be reached are told, unless it
        ran here before."""
        self._seal(snapshot)
        if self._is_own:
            self._sessions.tell_buddy(self)
        else:
            self._sessions.tell_all(self)

    def keep(self, snapshot: Snapshot) -> None:
        """How the session stands now."""
        if not self.is_moved:
            self._seal(snapshot)
            self._sessions.tell_buddy(self)

    def leave(self) -> None:
        """It no longer runs here. Whether the client meant it to end, or its connection broke,
        nobody can tell; it can be gone on with until it expires."""
        self._sessions.leave(self)

    def move(self) -> None:
        """Another site, or another call at this one, has taken it over."""
        if not self.is_moved:
            self.is_moved = True
            self._on_moved()

    def _seal(self, snapshot: Snapshot) -> None:
        was_too_long = self.sealed is not None and self.sealed.is_too_long
        self._seq += 1
        version = Version(self._epoch, self._sessions.site, self._seq)
        self.sealed = self._sessions.key.seal(snapshot, version)
        if self.sealed.is_too_long and not was_too_long:
            _logger.warning("session %s is too long to outlive this site", self.session_id)


class SurvivingSessions:
    """Those that run here, and what is kept of others; a context that must be entered."""

    def __init__(
        self,
        key: GridKey,
        site: str,
        peers: SessionPeers,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.key = key
        self.site = site
        self._peers = peers
        self._monotonic = monotonic
        self._running: dict[str, SurvivingSession] = {}
        self._kept = KeptSnapshots()
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Begin to look after buddies."""
        tasks = await self._exit.enter_async_context(asyncio.TaskGroup())
        self._exit.callback(tasks.create_task(self._look_after_buddies()).cancel)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Look after them no more."""
        await self._exit.aclose()

    def begin(self, on_moved: Callable[[], None], session: str = "") -> SurvivingSession:
        """A new session. `on_moved` is called when it is taken over, and must not wait."""
        return self._run(session or secrets.token_hex(16), Version(1, self.site, 0), on_moved)

    async def find(self, token: str, tenant: str, kind: type[_Kind]) -> tuple[_Kind, Version]:
        """The newest snapshot of the tenant's session of that kind. Raises SessionNotFound."""
        session = self.key.session_of(token)
        found = [
            sealed
            for sealed in await self._peers.find_session(session)
            if sealed.session == session and self.key.is_valid(sealed)
        ]
        if (own := self.newest(session)) is not None:
            found.append(own)
        if not found:
            raise SessionNotFound
        newest = max(found, key=lambda sealed: sealed.version)
        snapshot = self.key.open(newest)
        if not isinstance(snapshot, kind) or snapshot.tenant != tenant:
            raise SessionNotFound
        return snapshot, newest.version

    def take_over(
        self, session: str, known: Version, on_moved: Callable[[], None]
    ) -> SurvivingSession:
        """Go on here with a session that was found in this version; `claim` it next."""
        if (older := self._running.get(session)) is not None:
            older.move()
        return self._run(session, known, on_moved)

    def keep(self, site: str, sealed: SealedSnapshot) -> SealedSnapshot | None:
        """Keep a snapshot for `site`; a newer one that is here is returned instead.

        When the session runs here and the snapshot is newer, it ends here.
        """
        if not self.key.is_valid(sealed):
            _logger.warning("a snapshot of %s is not signed with this grid's key", site)
            return None
        running = self._running.get(sealed.session)
        if running is not None and running.sealed is not None:
            if running.sealed.version >= sealed.version:
                return running.sealed
            running.move()
        return self._kept.keep(site, sealed, self._monotonic())

    def taken(self, sealed: SealedSnapshot) -> None:
        """A peer has this, and it is newer than what it was to keep."""
        self.keep(self.site, sealed)

    def newest(self, session: str) -> SealedSnapshot | None:
        """What this site has of a session."""
        kept = self._kept.get(session, self._monotonic())
        running = self._running.get(session)
        if running is None or running.sealed is None:
            return kept
        is_older = kept is not None and kept.version > running.sealed.version
        return kept if is_older else running.sealed

    def alternates(self, session: str) -> tuple[str, ...]:
        """Where agents can go on with a session: its buddy first."""
        staying = self._peers.staying()
        by_rank = sorted(staying, key=lambda site: _rank(session, site), reverse=True)
        return tuple(staying[site] for site in by_rank if staying[site])

    def tell_all(self, running: SurvivingSession) -> None:
        """Every site that can be reached gets the snapshot, and one of them is the buddy."""
        self._choose_buddy(running)
        if running.sealed is not None:
            for site in self._peers.staying():
                self._peers.keep_session(site, running.sealed)

    def tell_buddy(self, running: SurvivingSession) -> None:
        """The session's buddy gets the snapshot."""
        self._choose_buddy(running)
        if running.buddy and running.sealed is not None:
            self._peers.keep_session(running.buddy, running.sealed)

    def leave(self, running: SurvivingSession) -> None:
        """It runs here no more; the client may come back to this site."""
        if self._running.get(running.session_id) is running:
            del self._running[running.session_id]
        if running.sealed is not None:
            self._kept.keep(self.site, running.sealed, self._monotonic())

    def _choose_buddy(self, running: SurvivingSession) -> None:
        """A new one, when there is none or it is lost.

        By rendezvous hashing (Thaler and Ravishankar 1998), so that sessions are spread evenly.
        """
        staying = self._peers.staying()
        if running.buddy not in staying:
            rank = max(((_rank(running.session_id, site), site) for site in staying), default=None)
            running.buddy = rank[1] if rank else ""

    def _run(self, session: str, known: Version, on_moved: Callable[[], None]) -> SurvivingSession:
        running = self._running[session] = SurvivingSession(self, session, known, on_moved)
        return running

    async def _look_after_buddies(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_INTERVAL_S)
            staying = self._peers.staying()
            for running in self._running.values():
                if not running.is_moved and running.buddy not in staying:
                    self.tell_buddy(running)


def _rank(session: str, site: str) -> bytes:
    return hashlib.blake2b(f"{session} {site}".encode(), digest_size=8).digest()
