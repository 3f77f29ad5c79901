"""The border between whoever routes turns and the sites they can be handed to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from gateway.core.peer_errors import PeerLost
from gateway.core.peers import Peers

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.core.generation import GenerationEvent, GenerationRequest
    from gateway.core.hops import Admitted, Hops
    from gateway.core.load_report import LoadReport
    from gateway.core.stages import TurnTrail
    from gateway.wire.peer_frames import Hello


class HandedTurn(NamedTuple):
    """A generation for a peer."""

    request: GenerationRequest
    hops: Hops
    """Those the peer gets."""
    trail: TurnTrail
    """Gets what the turn took at other sites."""
    is_last_resort: bool = False
    """No place is known in which it fits for certain; the peer is told."""


class PeerSites(Protocol):
    """The other sites of the grid, as far as this one is linked to them."""

    @property
    def known(self) -> Peers:
        """What is believed of each."""
        ...

    def alternates(self, class_rank: int) -> tuple[str, ...]:
        """Addresses for a client of that class that finds no room here, the best first."""
        ...

    def generate(
        self, site: str, turn: HandedTurn
    ) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        """Offer a generation when first iterated.

        Yields `Admitted`, then what a `TextEngine` yields. Closing the generator frees the peer's
        slot. Raises PeerRefused, also when the peer gives up what it has begun, and PeerLost.
        """
        ...


class NoPeers:
    """The `PeerSites` of a site that stands alone."""

    def __init__(self) -> None:
        self.known = Peers()

    def alternates(self, class_rank: int) -> tuple[str, ...]:
        """There are none."""
        return ()

    def generate(
        self, site: str, turn: HandedTurn
    ) -> AsyncGenerator[Admitted | GenerationEvent, None]:
        """Raises PeerLost."""
        raise PeerLost(site, "it is no peer", was_sent=False)


class PeerObserver(Protocol):
    """Is told what is learned of peers. Nothing here may wait or raise."""

    def linked(self, site: str, hello: Hello) -> None:
        """A link is up, or its peer has denied that it is gone."""
        ...

    def timed(self, site: str, rtt_s: float) -> None:
        """A beat went there and back."""
        ...

    def reported(self, site: str, report: LoadReport) -> None:
        """The peer said what it has to do."""
        ...

    def lost(self, site: str, reason: str) -> None:
        """A link that was up is down, or the fabric says that its peer is gone."""
        ...


class NobodyObserves:
    """A PeerObserver that keeps nothing."""

    def linked(self, site: str, hello: Hello) -> None:
        """Nothing is kept."""

    def timed(self, site: str, rtt_s: float) -> None:
        """Nothing is kept."""

    def reported(self, site: str, report: LoadReport) -> None:
        """Nothing is kept."""

    def lost(self, site: str, reason: str) -> None:
        """Nothing is kept."""
