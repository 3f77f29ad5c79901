"""How a site serves its callers, told to the sites that are linked to it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.wire.pb import peer_pb2
from gateway.wire.peer_frames import FrameError, server_frames
from tests.edge.grpc_fakes import on_uvloop
from tests.peers.grid import SERVICE, grid, until

if TYPE_CHECKING:
    from tests.peers.grid import Site


@pytest.mark.flow
@on_uvloop
async def test_linked_sites_hear_it_and_know_how_old_it_is() -> None:
    async with grid("edge-a", "edge-b") as sites:
        for name, peer in (("edge-a", "edge-b"), ("edge-b", "edge-a")):
            site = sites[name]
            await until(partial(_has_heard, site, peer))
            figures = site.links.figures_of(peer)
            assert figures
            assert figures.service_age_s is not None
            assert 0.0 <= figures.service_age_s < 5.0


def _has_heard(site: Site, peer: str) -> bool:
    figures = site.links.figures_of(peer)
    return figures is not None and figures.service == SERVICE


@pytest.mark.parametrize(
    "made_up",
    [
        ["service", 7],
        ["service", [[[0.99, [0, 0], [0, 0], [[0, 1] * 257]]] * 3, 0.0]],
        ["service", [[[0.99, [0, -1], [0, 0], [[]]]] * 3, 0.0]],
        ["service", [[[2.0, [0, 0], [0, 0], [[]]]] * 3, 0.0]],
    ],
)
def test_a_made_up_one_breaks_the_rules_of_the_link(made_up: list[object]) -> None:
    message = peer_pb2.PeerFrame(frames=msgspec.msgpack.encode([made_up])).SerializeToString()
    with pytest.raises(FrameError):
        server_frames().read(message)
