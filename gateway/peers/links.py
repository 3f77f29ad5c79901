"""All links of a site."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from gateway.peers.link import PeerLink
from gateway.peers.views import PeerViews

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from types import TracebackType

    import grpc

    from gateway.core.generation import GenerationEvent
    from gateway.core.hops import Admitted
    from gateway.core.peers import Peers
    from gateway.core.session_snapshot import SealedSnapshot
    from gateway.peers.link import LinkFigures, PeerSite
    from gateway.peers.port import HandedTurn
    from gateway.wire.peer_frames import Hello


_ANSWER_LIMIT_S = 0.75
"""A peer that is silent for longer is about to be given up."""


class PeerLinks:
    """The `PeerSites` of a site, each linked for as long as the context is entered."""

    def __init__(
        self,
        peers: Iterable[PeerSite],
        hello: Hello,
        *,
        vocab_size: int,
        credentials: grpc.ChannelCredentials | None = None,
        views: PeerViews | None = None,
    ) -> None:
        self._hello = hello
        self._vocab_size = vocab_size
        self._credentials = credentials
        self._views = views or PeerViews()
        self.on_session_taken: Callable[[SealedSnapshot], object] = lambda _: None
        """Is given what a peer has that is newer than what it was to keep."""
        self._links = {peer.site: self._link(peer) for peer in peers}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        """Begin to connect; nothing waits for it."""
        await self._tasks.__aenter__()
        for site in self._links:
            self._start(site)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End every link, and the turns on it."""
        for site, running in self._running.items():
            self._links[site].end()
            running.cancel()
        await self._tasks.__aexit__(kind, error, traceback)

    def add(self, peer: PeerSite) -> None:
        """Begin to link to one more site; in place of a link to that site that there was."""
        self.remove(peer.site)
        self._links[peer.site] = self._link(peer)
        self._start(peer.site)

    def remove(self, site: str) -> None:
        """End a link, and the turns on it; sites that are no peers are ignored."""
        link = self._links.pop(site, None)
        if link is None:
            return
        link.end()
        self._running.pop(site).cancel()
        self._views.forget(site)

    def doubt(self, site: str) -> None:
        """The fabric says that a site is gone: no new turns go there until it denies it."""
        if (link := self._links.get(site)) is not None:
            link.doubt()

    @property
    def known(self) -> Peers:
        """See `PeerSites`."""
        return self._views.known

    def alternates(self, class_rank: int) -> tuple[str, ...]:
        """See `PeerSites`."""
        return self._views.alternates(class_rank)

    def generate(
        self, site: str, turn: HandedTurn
    ) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        """See `PeerSites`. Raises KeyError for a site that is no peer."""
        return self._links[site].generate(turn)

    def usable(self) -> set[str]:
        """The sites whose links take new turns."""
        return {site for site, link in self._links.items() if link.is_usable}

    def figures_of(self, site: str) -> LinkFigures | None:
        """What is known of one peer now; None for a site without a link."""
        link = self._links.get(site)
        return None if link is None else self._views.judged(link.figures())

    def figures(self) -> list[LinkFigures]:
        """What is known of every peer now."""
        return [self._views.judged(link.figures()) for link in self._links.values()]

    def staying(self) -> dict[str, str]:
        """The peers that are linked and about to stay, and where each answers agents, or ""."""
        return {
            site: agents
            for site, link in self._links.items()
            if (agents := link.agents) is not None
        }

    def keep_session(self, site: str, sealed: SealedSnapshot) -> None:
        """Have a peer keep a snapshot; nothing happens when it is not linked."""
        if (link := self._links.get(site)) is not None:
            link.keep_session(sealed)

    async def find_session(self, session: str) -> list[SealedSnapshot]:
        """What all linked peers have of a session, unchecked."""
        async with asyncio.TaskGroup() as asking:
            asked = [asking.create_task(link.ask_session(session)) for link in self._links.values()]
            if asked:
                await asyncio.wait(asked, timeout=_ANSWER_LIMIT_S)
            for task in asked:
                task.cancel()
        done = (task.result() for task in asked if not task.cancelled())
        return [sealed for sealed in done if sealed is not None]

    def _link(self, peer: PeerSite) -> PeerLink:
        return PeerLink(
            peer,
            self._hello,
            vocab_size=self._vocab_size,
            credentials=self._credentials,
            observer=self._views,
            session_taken=lambda sealed: self.on_session_taken(sealed),
        )

    def _start(self, site: str) -> None:
        running = self._tasks.create_task(self._links[site].run(), name=f"link to {site}")
        self._running[site] = running
