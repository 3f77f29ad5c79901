"""The console in a real browser, before a grid of 500 sites that is made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from loadtests.made_up_grid import HOSTILE, peer
from tests.edge.admin_site import serve_admin
from tests.edge.chromium import browsing, look, require_chromium
from tests.edge.fakes import KEY, Gate
from tests.edge.test_console_feed import public_port
from tests.telemetry.turns import answered, shed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.edge.admin_site import AdminSite

pytestmark = pytest.mark.flow

NUM_PEERS = 499


@pytest.fixture
def site() -> Iterator[AdminSite]:
    require_chromium()
    with serve_admin() as served:
        served.links = [peer(number) for number in range(1, NUM_PEERS)]
        served.links.append(peer(19, HOSTILE))
        yield served


def test_five_hundred_sites_those_in_trouble_first(site: AdminSite) -> None:
    found = look(site.url, "many", "edge-311")
    assert (found["first"], found["all"], found["tiles"]) == (20, 500, 500)
    assert [row.split()[0] for row in found["found"]] == ["edge-311"]
    words = " ".join(found["inTrouble"])
    for trouble in ("burning fast", "burning ", "unlinked", "stale 4"):
        assert trouble in words
    assert "usable" not in words
    assert found["sorted"] == "Site"
    assert found["hostile"] == 1, "its name is text"
    assert found["isWide"]
    assert found["isNarrow"]


def test_it_works_by_keyboard_and_by_ear(site: AdminSite) -> None:
    site.links = site.links[:3]
    found = look(site.url, "keyboard")
    assert found["skip"] == "Skip to the sites"
    assert found["title"].startswith("Site edge-")
    assert found["isInside"], "the dialog takes the focus"
    assert found["hash"] == ""
    roles = look(site.url, "glance")["roles"]
    for role in (
        'heading "Sites"',
        'article "Class voice"',
        'columnheader "P99"',
        'searchbox "Find"',
        'rowheader "edge-001"',
        'checkbox "only trouble"',
    ):
        assert role in roles


def test_the_sums_and_each_site_have_their_figures(site: AdminSite) -> None:
    site.links = [peer(number) for number in (1, 3, 23)]
    found = look(site.url, "glance")
    assert found["sum"].startswith("3 of 4 sites in the sum, the oldest figure 0.5 s")
    assert [card.split()[0] for card in found["cards"]] == ["voice", "agent", "work"]
    assert found["talk"] == "http://127.0.0.1:8080/talk"
    stale, *others = found["sites"]
    assert "edge-003 stale 42 s" in stale
    assert any("edge-a this site" in row and "6/8" in row for row in others)


def test_a_late_turn_is_taken_apart(site: AdminSite) -> None:
    late = msgspec.structs.replace(answered(prefill_s=0.6), tools_run=(HOSTILE,))
    site.desk.sink.record(late)
    site.desk.sink.record(shed())
    found = look(site.url, "turn", "turn-1")
    assert len(found["turns"]) == 2
    assert "shed" in found["turns"][0]
    assert "late 630 ms 500 ms" in found["turns"][1]
    text = found["text"]
    assert "500 ms; first content at 630 ms: missed" in text
    assert HOSTILE in text
    for stage in ("ingress", "prompt", "admission", "queue", "prefill", "decode", "egress"):
        assert stage in text
    assert "edge-a chosen 120 ms 20 ms 8.0 ms fits" in text
    assert "edge-b not taken 160 ms 30 ms – slower" in text
    assert found["lines"] > 5, "the budget is drawn through all stages"


def test_a_turn_that_misses_now_comes_up(site: AdminSite) -> None:
    with browsing(site.url, "news", "shed-later") as begun:
        begun.wait_ready()
        site.desk.sink.record(shed(request_id="shed-later"))
        assert len(begun.found()["turns"]) == 1


def test_a_site_in_detail_with_hostile_words(site: AdminSite) -> None:
    unlinked = look(site.url, "site", "edge-007")
    assert HOSTILE in unlinked["text"]
    linked = look(site.url, "site", "edge-004")
    assert "the peer's report on its link, 0.4 s old" in linked["text"]
    assert linked["links"] == ["http://10.0.0.4:8080/"], "javascript: is no address"


def test_a_key_opens_it(site: AdminSite) -> None:
    site.links = site.links[:3]
    gate = Gate()
    gate.keys_needed = True
    with public_port(site, gate) as url:
        found = look(url, "key", "wrong", KEY)
    assert found["before"] == {"sites": False, "asks": True}
    assert found["words"] == "Refused: this site does not know that key."
    assert len(found["after"]) == 4
    assert not found["asks"]


def test_a_site_that_ends_does_not_look_alive(site: AdminSite) -> None:
    site.links = site.links[:3]
    with browsing(site.url, "silence") as begun:
        begun.wait_ready()
        site.stop()
        found = begun.found()
    assert found["live"].startswith("last word ")
    assert found["trouble"].startswith("No figures: ")
