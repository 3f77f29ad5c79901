"""What consoles are fed with: who may see what, how often it is made, how it ends."""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from gateway.core.generation import SERVICE_ORDER
from gateway.core.service_report import Fate
from gateway.edge.console import feed as feed_module
from gateway.edge.console.feed import GridFeed, TalkPage
from gateway.edge.console.glance import Glance, glance_of
from gateway.edge.console.sight import public_sight
from gateway.edge.http_app import build_http_app
from gateway.edge.http_server import HttpServer, bind_listener
from loadtests.made_up_grid import peer
from tests.edge.admin_site import serve_admin
from tests.edge.fakes import KEY, WAIT_S, Gate
from tests.telemetry.turns import answered, shed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.edge.admin_site import AdminSite

pytestmark = pytest.mark.flow

EVENTS = "/v1/grid/events"


@pytest.fixture
def site() -> Iterator[AdminSite]:
    with serve_admin() as served:
        served.links = [peer(number) for number in range(1, 10)]
        yield served


def events_of(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    assert answer.headers["content-type"].startswith("text/event-stream")
    return (json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line)


def first_event(url: str, **headers: str) -> dict[str, Any]:
    with httpx.stream("GET", url + EVENTS, headers=headers) as answer:
        return next(events_of(answer))


def test_whoever_opens_a_console_sees_the_last_minutes_once(site: AdminSite) -> None:
    assert "recent" not in first_event(site.url)
    site.telemetry.sink.record(answered())
    site.telemetry.settle()

    async def pass_time() -> None:
        for _ in range(70):
            await site.feed.recent.note()

    assert site.loop
    asyncio.run_coroutine_threadsafe(pass_time(), site.loop).result(WAIT_S)
    with httpx.stream("GET", site.url + EVENTS) as answer:
        events = events_of(answer)
        first, second = next(events), next(events)
    assert len(first["recent"]) == 60
    voice, agent, _ = first["recent"][-1]
    assert len(voice) == len(agent) == 2
    assert all(ms is not None for ms in voice)
    assert "recent" not in second


@contextmanager
def public_port(site: AdminSite, gate: Gate) -> Iterator[str]:
    """The same site's public port, on the same loop."""

    async def opened() -> tuple[GridFeed, HttpServer]:
        feed = GridFeed(site.source, talk=TalkPage("http", 1))
        app = build_http_app(
            site.desk, readiness=lambda: True, routes=feed.routes(public_sight(gate))
        )
        server = HttpServer(app, bind_listener("127.0.0.1", 0), drain_timeout_s=1.0)
        return feed, server

    async def closed() -> None:
        feed.close()
        server.stop()

    httpx.get(f"{site.url}/healthz")
    assert site.loop
    feed, server = asyncio.run_coroutine_threadsafe(opened(), site.loop).result(WAIT_S)
    serving = asyncio.run_coroutine_threadsafe(server.serve(), site.loop)
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        asyncio.run_coroutine_threadsafe(closed(), site.loop).result(WAIT_S)
        serving.result(WAIT_S)


def test_the_admin_port_tells_everything(site: AdminSite) -> None:
    site.desk.sink.record(msgspec.structs.replace(answered(), ttft_s=0.9))
    site.desk.sink.record(answered(request_id="in time"))
    site.desk.sink.record(shed())
    with site.desk.session():
        event = first_event(site.url)
    assert (event["sight"], event["talk"]) == ("admin", {"scheme": "http", "port": 8080})
    assert [turn["request_id"] for turn in event["turns"]] == ["turn-2", "turn-1"]
    assert event["turns"][0]["reason"] == "estimate_exceeds_budget"
    glance = msgspec.convert(event["glance"], Glance)
    own, *peers = glance.sites
    assert (own.site, own.state, own.num_free, own.num_slots) == ("edge-a", "here", 6, 8)
    assert own.service
    assert own.service.num_sessions == 1
    assert dict(zip(Fate, own.service.num_by_fate, strict=True))[Fate.SHED] == 1
    voice = own.service.classes[SERVICE_ORDER.index(answered().turn_class)]
    assert voice
    assert (voice.num_turns, voice.attainment_ratio) == (3, 0.3333)
    assert [one.site for one in peers] == [f"edge-{number:03}" for number in range(1, 10)]
    silent, gone = peers[2], peers[6]
    assert silent.service
    assert silent.service.age_ms == 42_000
    assert (gone.state, gone.service) == ("unlinked", None)
    assert (glance.num_sites, glance.num_sites_in_total) == (10, 8)
    told = [one.service.num_by_fate for one in glance.sites if one.service and one != silent]
    assert glance.total.num_by_fate == tuple(map(sum, zip(*told, strict=True)))
    assert glance.own
    assert glance.own.num_turns_for_peers == 2


def test_without_a_key_there_are_sums_only(site: AdminSite) -> None:
    gate = Gate()
    gate.keys_needed = True
    site.desk.sink.record(shed())
    with public_port(site, gate) as url:
        event = first_event(url)
        assert event["sight"] == "summary"
        assert event["turns"] == event["glance"]["sites"] == []
        assert event["glance"]["own"] is None
        assert event["glance"]["total"]["num_by_fate"][0] > 0
        assert "edge-001" not in json.dumps(event)
        assert httpx.get(f"{url}/v1/grid/sites/edge-001").status_code == 401
        for path in (EVENTS, "/v1/grid/sites/edge-001"):
            refused = httpx.get(url + path, headers={"authorization": "Bearer wrong"})
            assert refused.json()["error"]["code"] == "invalid_api_key"


def test_a_key_opens_the_sites_and_its_tenants_turns(site: AdminSite) -> None:
    gate = Gate()
    gate.keys_needed = True
    site.desk.sink.record(shed(request_id="ours"))
    site.desk.sink.record(msgspec.structs.replace(shed(request_id="theirs"), tenant="globex"))
    with public_port(site, gate) as url:
        known = {"authorization": f"Bearer {KEY}"}
        event = first_event(url, **known)
        assert event["sight"] == "key"
        assert [turn["request_id"] for turn in event["turns"]] == ["ours"]
        assert len(event["glance"]["sites"]) == 10
        detail = httpx.get(f"{url}/v1/grid/sites/edge-001", headers=known).json()
        assert detail["peer"]["site"] == "edge-001"


def test_a_site_is_told_in_full(site: AdminSite) -> None:
    own = httpx.get(f"{site.url}/v1/grid/sites/edge-a").json()
    assert own["peer"] is None
    assert own["state"]["engine"]["num_slots"] == 8
    assert {window["window"] for window in own["slo"]["classes"]["voice"]["windows"]} >= {
        "5m",
        "6h",
    }
    other = httpx.get(f"{site.url}/v1/grid/sites/edge-004").json()["peer"]
    assert other["service"]["source"] == "the peer's report on its link"
    assert other["report"]["num_slots"] == 16
    missing = httpx.get(f"{site.url}/v1/grid/sites/nowhere")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "site_not_found")


def test_turns_are_told_once_and_as_they_miss(site: AdminSite) -> None:
    site.desk.sink.record(shed(request_id="before"))
    with httpx.stream("GET", site.url + EVENTS) as answer:
        events = events_of(answer)
        assert [turn["request_id"] for turn in next(events)["turns"]] == ["before"]
        site.desk.sink.record(shed(request_id="meanwhile"))
        told = next(event["turns"] for event in events if event["turns"])
        assert [turn["request_id"] for turn in told] == ["meanwhile"]


def test_many_consoles_cost_one_glance_and_too_many_are_told(
    site: AdminSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_made = 0

    async def counted(source: Any) -> Glance:
        nonlocal num_made
        num_made += 1
        return await glance_of(source)

    monkeypatch.setattr(feed_module, "glance_of", counted)
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(limits=httpx.Limits(max_connections=None)))
        readers = [
            events_of(stack.enter_context(client.stream("GET", site.url + EVENTS)))
            for _ in range(64)
        ]
        refused = client.get(site.url + EVENTS)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "too_many_readers"
        for events in readers:
            next(events)
        begun = num_made
        for _ in range(2):
            for events in readers:
                next(events)
        assert num_made - begun <= 4
    assert first_event(site.url)["sight"] == "admin"


def test_who_only_asks_for_the_headers_gets_them(site: AdminSite) -> None:
    assert httpx.head(site.url + EVENTS).status_code == 200


def test_streams_end_with_the_site(site: AdminSite) -> None:
    with httpx.stream("GET", site.url + EVENTS) as answer:
        events = events_of(answer)
        next(events)
        site.stop()
        assert len(list(events)) < 3, "the stream was ended in good order"


def test_nobody_may_write(site: AdminSite) -> None:
    for path in (EVENTS, "/v1/grid/sites/edge-a", "/"):
        assert httpx.post(site.url + path).status_code == 405
