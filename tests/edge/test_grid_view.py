"""Where `/v1/grid` says that its figures come from."""

from __future__ import annotations

import msgspec
import pytest

from gateway.core.budget import TurnClass
from gateway.core.generation import EngineLoad
from gateway.core.latency_histogram import EMPTY, LatencyHistogram
from gateway.core.load_report import Credits, LoadReport, report_load
from gateway.core.membership import Ignored, SiteCard
from gateway.core.service_report import ClassService, ServiceReport, Tally
from gateway.edge.grid_view import GridFigures, grid_view
from gateway.peers.fabric import FabricFigures, MemberFigures
from gateway.peers.link import LinkFigures

LOAD = EngineLoad(0.0, 4, 0, 0.001, 0.010, 20.0, 20.0)


def served(num_met: int = 0, num_missed: int = 0, bucket: int = 100) -> ServiceReport:
    """Voice turns of the last minute; each met one had its first content in that bucket."""
    latencies = LatencyHistogram((bucket, num_met)) if num_met else EMPTY
    tally = Tally(num_met, num_missed)
    none = ClassService(0.99)
    return ServiceReport((ClassService(0.99, tally, tally, latencies), none, none), 2.0)


def said(seq: int) -> LoadReport:
    return report_load(LOAD, now_s=0.0, epoch=7, seq=seq, max_num_queued=1, credits=Credits())


def link_to(site: str, *, is_linked: bool, report: LoadReport | None = None) -> LinkFigures:
    return LinkFigures(
        site=site,
        address="b:2",
        is_linked=is_linked,
        is_usable=is_linked,
        last_error="",
        rtt_s=0.004 if is_linked else None,
        report=report,
        report_age_s=0.25 if report else None,
    )


def on_fabric(site: str, *, is_there: bool = True) -> MemberFigures:
    card = SiteCard(site, 7, "f:2", addresses=("http://f:1",))
    return MemberFigures(site, is_there, 3.0, card, said(99), 0.5)


def test_every_figure_says_where_it_comes_from() -> None:
    view = grid_view(
        "edge-a",
        GridFigures(
            links=[
                link_to("edge-b", is_linked=True, report=said(5)),
                link_to("edge-c", is_linked=False),
            ],
            configured=frozenset({"edge-b"}),
            fabric=FabricFigures(
                is_joined=True,
                num_ignored={Ignored.STALE: 2},
                members=(on_fabric("edge-c", is_there=False), on_fabric("edge-d")),
            ),
            connect_time_s={"edge-d": 0.02}.get,
        ),
        served(),
    )
    linked, unlinked, seen = view.peers
    assert view.fabric
    assert (view.fabric.joined, view.fabric.num_ignored) == (True, {Ignored.STALE: 2})

    assert (linked.known_from, linked.state, linked.fabric) == ("configured", "usable", None)
    assert (linked.source, linked.rtt_ms) == ("beats on the link", 4.0)
    assert linked.report
    assert (linked.report.source, linked.report.seq) == ("the peer's report on its link", 5)

    assert (unlinked.known_from, unlinked.state, unlinked.address) == ("fabric", "unlinked", "b:2")
    assert unlinked.fabric
    assert (unlinked.fabric.there, unlinked.fabric.age_ms) == (False, 3000.0)
    assert unlinked.report
    assert (unlinked.report.source, unlinked.report.age_ms) == ("fabric", 500.0)

    assert (seen.state, seen.address, seen.addresses) == ("seen", "f:2", ("http://f:1",))
    assert (seen.source, seen.rtt_ms) == ("connect time", 20.0)


def test_of_a_linked_peer_only_its_link_says_how_busy_it_is() -> None:
    figures = GridFigures(
        links=[link_to("edge-b", is_linked=True)],
        fabric=FabricFigures(is_joined=True, num_ignored={}, members=(on_fabric("edge-b"),)),
    )
    assert grid_view("edge-a", figures, served()).peers[0].report is None


def test_without_a_fabric_there_is_none() -> None:
    assert grid_view("edge-a", GridFigures(), served()).fabric is None


def test_the_grid_is_added_up_from_what_sites_say_lately() -> None:
    def linked(site: str, service: ServiceReport, age_s: float) -> LinkFigures:
        link = link_to(site, is_linked=True)
        return msgspec.structs.replace(link, service=service, service_age_s=age_s)

    on_the_fabric = msgspec.structs.replace(on_fabric("edge-e"), service=served(10, 0, bucket=116))
    figures = GridFigures(
        links=[
            linked("edge-b", served(50, 40, bucket=132), 0.5),
            linked("edge-c", served(1000, 0), 11.0),
            link_to("edge-d", is_linked=True),
        ],
        fabric=FabricFigures(is_joined=True, num_ignored={}, members=(on_the_fabric,)),
    )
    view = grid_view("edge-a", figures, served(40, 10))
    own, total = view.own.classes[TurnClass.VOICE], view.total.classes[TurnClass.VOICE]
    assert (own.num_met, own.num_missed, own.attainment_ratio) == (40, 10, 0.8)
    assert own.burn_rate_1m == pytest.approx(20.0)
    assert view.num_sites_in_total == 3, "this site, edge-b and edge-e; edge-c is too long ago"
    assert (total.num_met, total.num_missed, total.num_first_contents) == (100, 50, 100)
    assert total.p50_ms == pytest.approx(2 ** ((-60 + 16 + 0.5) / 16) * 1e3, rel=1e-3)
    assert total.p99_ms == pytest.approx(2 ** ((-60 + 32 + 0.5) / 16) * 1e3, rel=1e-3)
    ages = {
        peer.site: peer.service and (peer.service.source, peer.service.age_ms)
        for peer in view.peers
    }
    assert ages == {
        "edge-b": ("the peer's report on its link", 500.0),
        "edge-c": ("the peer's report on its link", 11_000.0),
        "edge-d": None,
        "edge-e": ("fabric", 500.0),
    }


def test_a_peer_that_gets_no_turns_for_what_it_did_is_named() -> None:
    linked = link_to("edge-b", is_linked=True)
    ejected = msgspec.structs.replace(linked, ejected_for_s=4.5, num_ejections=2)
    slow = msgspec.structs.replace(linked, is_slow=True)
    gone = msgspec.structs.replace(link_to("edge-b", is_linked=False), ejected_for_s=4.5)
    views = grid_view("edge-a", GridFigures(links=[linked, ejected, slow, gone]), served()).peers
    assert [view.state for view in views] == ["usable", "ejected", "usable", "unlinked"]
    assert [view.slow for view in views] == [False, False, True, False]
    assert [view.ejected_for_ms for view in views] == [None, 4500.0, None, 4500.0]
    assert views[1].num_ejections == 2
