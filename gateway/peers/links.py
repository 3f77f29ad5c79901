"""All links of a site."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Self

from gateway.peers.link import PeerLink
from gateway.peers.views import PeerViews

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from types import TracebackType

    import grpc

    from gateway.core.generation import GenerationEvent, GenerationRequest
    from gateway.core.hops import Admitted, Hops
    from gateway.core.peers import Peers
    from gateway.core.stages import TurnTrail
    from gateway.peers.link import LinkFigures, PeerSite
    from gateway.wire.peer_frames import Hello


class PeerLinks:
    """The `PeerSites` of a site, each linked for as long as the context is entered."""

    def __init__(
        self,
        peers: Iterable[PeerSite],
        hello: Hello,
        *,
        vocab_size: int,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._views = PeerViews()
        self._links = {
            peer.site: PeerLink(
                peer, hello, vocab_size=vocab_size, credentials=credentials, observer=self._views
            )
            for peer in peers
        }
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Begin to connect; nothing waits for it."""
        tasks = await self._exit.enter_async_context(asyncio.TaskGroup())
        for site, link in self._links.items():
            running = tasks.create_task(link.run(), name=f"link to {site}")
            self._exit.callback(running.cancel)
            self._exit.callback(link.end)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End every link, and the turns on it."""
        await self._exit.aclose()

    @property
    def known(self) -> Peers:
        """See `PeerSites`."""
        return self._views.known

    def alternates(self, class_rank: int) -> tuple[str, ...]:
        """See `PeerSites`."""
        return self._views.alternates(class_rank)

    def generate(
        self,
        site: str,
        request: GenerationRequest,
        hops: Hops,
        trail: TurnTrail,
        *,
        is_last_resort: bool = False,
    ) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        """See `PeerSites`. Raises KeyError for a site that is no peer."""
        return self._links[site].generate(request, hops, trail, is_last_resort=is_last_resort)

    def figures(self) -> list[LinkFigures]:
        """What is known of every peer now."""
        return [link.figures() for link in self._links.values()]
