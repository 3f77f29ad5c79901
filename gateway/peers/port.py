"""The border between whoever routes turns and the sites they can be handed to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from gateway.core.generation import GenerationEvent, GenerationRequest
    from gateway.core.hops import Admitted, Hops
    from gateway.core.load_report import LoadReport
    from gateway.core.stages import TurnTrail
    from gateway.wire.peer_frames import Hello


class UsablePeer(msgspec.Struct, frozen=True):
    """A peer that can be offered a turn now."""

    site: str
    rtt_s: float
    """The shortest of the last round trips."""


class PeerSites(Protocol):
    """The other sites of the grid, as far as this one is linked to them."""

    def usable(self) -> Sequence[UsablePeer]:
        """Those that are heard from, serve the same model and do not drain."""
        ...

    def generate(
        self, site: str, request: GenerationRequest, hops: Hops, trail: TurnTrail
    ) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        """Offer a generation when first iterated.

        Yields `Admitted`, then what a `TextEngine` yields. `hops` are those the peer gets. What
        the turn took at other sites goes on the trail. Closing the generator frees the peer's
        slot. Raises PeerRefused, also when the peer gives up what it has begun, and PeerLost.
        """
        ...


class PeerObserver(Protocol):
    """Is told what is learned of peers. Nothing here may wait or raise."""

    def linked(self, site: str, hello: Hello) -> None:
        """A link is up, or its peer has denied that it is gone."""
        ...

    def reported(self, site: str, report: LoadReport, rtt_s: float) -> None:
        """The peer said what it has to do; `rtt_s` is the shortest of the last round trips."""
        ...

    def lost(self, site: str, reason: str) -> None:
        """A link that was up is down, or the fabric says that its peer is gone."""
        ...


class NobodyObserves:
    """A PeerObserver that keeps nothing."""

    def linked(self, site: str, hello: Hello) -> None:
        """Nothing is kept."""

    def reported(self, site: str, report: LoadReport, rtt_s: float) -> None:
        """Nothing is kept."""

    def lost(self, site: str, reason: str) -> None:
        """Nothing is kept."""
