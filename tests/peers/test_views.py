"""What is believed of linked peers, over several of their links."""

from __future__ import annotations

import msgspec

from gateway.peers.views import PeerViews
from tests.peers.grid import hello_of


def test_an_outlier_is_not_forgiven_for_coming_back_from_another_region() -> None:
    views = PeerViews(lambda: 1.0)
    for site in ("edge-b", "edge-c"):
        views.linked(site, hello_of(site))
    view = views.known.get("edge-b")
    assert view is not None
    for _ in range(3):
        view.failed()
    assert views.known.judge(view, 1.0)
    views.lost("edge-b", "it ended the link")
    views.linked("edge-b", msgspec.structs.replace(hello_of("edge-b"), region="south"))
    moved = views.known.get("edge-b")
    assert moved is not None
    assert (moved.health(1.0), moved.region) == ("ejected", "south")
