"""The admin port over real HTTP: state, recent turns, metrics, and errors in OpenAI's shape."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.budget import TurnClass
from gateway.core.load_report import Credits, report_load
from gateway.core.stages import Outcome
from gateway.peers.link import LinkFigures
from tests.edge.admin_site import LOAD, RECORDS_KEPT, serve_admin
from tests.telemetry.turns import MODEL, answered, shed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import Metric

    from tests.edge.admin_site import AdminSite

parse: Callable[[str], Iterable[Metric]] = text_string_to_metric_families


pytestmark = pytest.mark.flow


@pytest.fixture
def site() -> Iterator[AdminSite]:
    with serve_admin() as site:
        yield site


@pytest.fixture
def client(site: AdminSite) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site.url, trust_env=False) as client:
        yield client


def ids(client: httpx.Client, query: str = "") -> list[str]:
    response = client.get(f"/v1/requests{query}")
    assert response.status_code == 200, response.text
    listed: dict[str, Any] = response.json()
    assert listed["object"] == "list"
    return [turn["request_id"] for turn in listed["data"]]


def test_web_pages_and_other_names_are_refused(client: httpx.Client) -> None:
    for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
        refused = client.get("/v1/requests", headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "host_not_allowed")


def test_the_state_of_the_site_names_age_and_source_of_its_figures(client: httpx.Client) -> None:
    state = client.get("/v1/site").json()

    (model,) = state.pop("models")
    assert (model["model_id"], model["max_context_tokens"]) == ("tiny", 512)
    assert state == {
        "site": "edge-a",
        "region": "lab",
        "version": "1.2.3",
        "now": {
            "source": "this site",
            "age_ms": 0.0,
            "uptime_s": 400.0,
            "draining": False,
            "num_turns_active": 0,
            "num_sessions": 0,
            "num_records_kept": 0,
            "num_engine_restarts": 3,
            "capacity_ratio": 1.0,
        },
        "engine": {
            "source": "engine report",
            "age_ms": 250.0,
            "num_slots": 8,
            "num_active": 2,
            "num_queued": 1,
            "queued_prompt_tokens": 300,
            "prefill_ms_per_token": 0.5,
            "decode_step_ms": 4.0,
            "mean_remaining_tokens": 32.5,
            "answer_tokens": 40.0,
            "available_in_ms": 750.0,
            "num_queued_by_class": {"voice": 0, "agent": 1, "batch": 0},
            "cached_ratio": 0.0,
        },
    }


def test_the_state_follows_the_desk(site: AdminSite, client: httpx.Client) -> None:
    async def visiting() -> dict[str, Any]:
        with site.desk.visit(interface="openai") as visit:
            visit.authenticate(None)
            site.desk.drain()
            now: dict[str, Any] = (await asyncio.to_thread(client.get, "/v1/site")).json()["now"]
            return now

    now = asyncio.run(visiting())
    assert now["draining"] is True
    assert now["num_turns_active"] == 1
    assert client.get("/v1/site").json()["now"]["num_records_kept"] == 1


def test_without_an_engine_the_rest_of_the_state_is_still_told(
    site: AdminSite, client: httpx.Client
) -> None:
    site.engine_is_gone = True

    state = client.get("/v1/site").json()

    assert state["engine"] is None
    assert state["now"]["uptime_s"] == 400.0


def test_a_turn_is_served_whole_in_milliseconds(site: AdminSite, client: httpx.Client) -> None:
    site.telemetry.sink.record(answered(request_id="a/b.c:1"))

    turn = client.get("/v1/requests/a%2Fb.c:1").json()

    assert turn["request_id"] == "a/b.c:1"
    assert turn["class"] == "voice"
    assert turn["model"] == MODEL
    assert turn["outcome"] == "answered"
    assert (turn["budget_ms"], turn["ttft_ms"], turn["duration_ms"]) == (500.0, 130.0, 530.0)
    assert turn["within_budget"] is True
    assert [stage["stage"] for stage in turn["stages"]][:3] == ["ingress", "prompt", "admission"]
    assert sum(stage["duration_ms"] for stage in turn["stages"]) == pytest.approx(530.0)
    (decision,) = turn["decisions"]
    assert decision["remaining_ms"] == 497.0
    assert decision["candidates"][0] == {
        "site": "edge-a",
        "predicted_ms": 120.0,
        "margin_ms": 20.0,
        "reason": "fits",
        "report_age_ms": 8.0,
    }
    assert turn["usage"] == {"prompt_tokens": 200, "cached_tokens": 50, "completion_tokens": 41}


def test_recent_turns_come_newest_first_and_no_more_than_kept(
    site: AdminSite, client: httpx.Client
) -> None:
    for index in range(RECORDS_KEPT + 3):
        site.telemetry.sink.record(answered(request_id=f"t{index}"))

    newest = [f"t{index}" for index in range(RECORDS_KEPT + 2, 2, -1)]
    assert ids(client) == newest
    assert ids(client, "?limit=2") == newest[:2]
    assert client.get("/v1/requests/t0").status_code == 404


def test_recent_turns_can_be_filtered(site: AdminSite, client: httpx.Client) -> None:
    good, late = answered(request_id="good"), answered(request_id="late", prefill_s=0.6)
    agent = msgspec.structs.replace(late, request_id="agent", turn_class=TurnClass.AGENT)
    for record in (good, late, agent, shed(request_id="shed")):
        site.telemetry.sink.record(record)

    assert ids(client, "?outcome=shed") == ["shed"]
    assert ids(client, "?class=agent") == ["agent"]
    assert ids(client, "?slow=1") == ["shed", "agent", "late"]
    assert ids(client, "?slow=1&class=voice&outcome=answered") == ["late"]
    assert ids(client, "?slow=0&limit=1") == ["shed"]
    assert ids(client, f"?outcome={Outcome.FAILED}") == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=-1", "limit"),
        ("?limit=two", "limit"),
        ("?limit=²", "limit"),
        ("?class=video", "class"),
        ("?outcome=lost", "outcome"),
        ("?slow=yes", "slow"),
        ("?since=yesterday", "since"),
        ("?until=99999-01-01", "until"),
        ("?user=anna", "user"),
        ("?user=anna&tenant=acme&caller=0123", "user"),
        ("?colour=red", "colour"),
    ],
)
def test_a_filter_that_is_none_is_refused_by_name(
    client: httpx.Client, query: str, param: str
) -> None:
    response = client.get(f"/v1/requests{query}")

    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/requests/unknown", 404, "request_not_found"),
        ("GET", "/v1/unknown", 404, "unknown_url"),
        ("POST", "/v1/requests", 405, "method_not_allowed"),
    ],
)
def test_errors_have_the_shape_of_the_openai_api(
    client: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    response = client.request(method, path)

    assert response.status_code == status
    assert response.json()["error"]["code"] == code


def test_metrics_are_served_in_the_format_asked_for(site: AdminSite, client: httpx.Client) -> None:
    site.telemetry.sink.record(answered())

    classic = client.get("/metrics")
    modern = client.get("/metrics", headers={"accept": "application/openmetrics-text"})

    assert classic.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in parse(classic.text)}
    (count,) = [
        sample.value
        for sample in families["gen_ai_server_time_to_first_token_seconds"].samples
        if sample.name.endswith("_count")
    ]
    assert count == 1.0
    assert families["firsthop_engine_restarts"].samples[0].value == 3.0
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    assert modern.text.endswith("# EOF\n")


def test_the_process_says_that_it_is_there(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_the_grid_is_shown_with_the_age_and_source_of_every_figure(
    site: AdminSite, client: httpx.Client
) -> None:
    report = report_load(LOAD, now_s=1000.0, epoch=7, seq=9, max_num_queued=8, credits=Credits())
    gone = LinkFigures(
        site="edge-c",
        address="c:2",
        is_linked=False,
        is_usable=False,
        last_error="silent for 0.80 s",
        retry_in_s=0.5,
    )
    site.links = [
        LinkFigures(
            site="edge-b",
            address="b:2",
            is_linked=True,
            is_usable=True,
            last_error="",
            rtt_s=0.004,
            heard_age_s=0.1,
            report=report,
            report_age_s=0.2,
            num_offered=3,
            num_accepted=2,
            num_refused=1,
        ),
        gone,
    ]
    grid = client.get("/v1/grid").json()
    assert (grid["site"], grid["num_turns_for_peers"]) == ("edge-a", 2)
    usable, unlinked = grid["peers"]
    assert (usable["state"], usable["source"], usable["age_ms"]) == (
        "usable",
        "beats on the link",
        100.0,
    )
    assert (usable["rtt_ms"], usable["num_refused"]) == (4.0, 1)
    said = usable["report"]
    assert (said["source"], said["age_ms"]) == ("the peer's report on its link", 450.0)
    assert (said["state"], said["epoch"], said["num_free"]) == ("ready", 7, 6)
    assert set(said["wait_ms"]) == {"voice", "agent", "batch"}
    assert (unlinked["state"], unlinked["report"]) == ("unlinked", None)
    assert (unlinked["last_error"], unlinked["retry_in_ms"]) == ("silent for 0.80 s", 500.0)


def test_the_site_says_how_it_keeps_its_objectives(site: AdminSite, client: httpx.Client) -> None:
    for _ in range(9):
        site.telemetry.sink.record(answered())
    site.telemetry.sink.record(answered(prefill_s=0.7))
    slo = client.get("/v1/slo").json()
    voice = slo["classes"]["voice"]
    assert (slo["site"], voice["objective_ratio"]) == ("edge-a", 0.99)
    short = voice["windows"][0]
    assert (short["window"], short["num_met"], short["num_missed"]) == ("10s", 9, 1)
    assert (short["attainment_ratio"], short["burn_rate"]) == (0.9, 10.0)
    assert [window["window"] for window in voice["windows"]] == "10s 1m 5m 30m 1h 6h".split()
    assert not any(rule["is_burning"] for rule in voice["rules"])
    assert voice["first_content"]["p50_ms"] == pytest.approx(130.0, rel=0.03)
    site.telemetry.sink.record(shed())
    (fast, *_) = client.get("/v1/slo").json()["classes"]["voice"]["rules"]
    assert (fast["name"], fast["is_burning"]) == ("fast", True)
    own = client.get("/v1/grid").json()["own"]["classes"]["voice"]
    assert (own["num_met"], own["num_missed"]) == (9, 2)


def test_an_operator_drains_the_site_and_a_web_page_does_not(
    site: AdminSite, client: httpx.Client
) -> None:
    refused = client.post("/v1/drain", headers={"origin": "https://elsewhere.example"})
    assert refused.status_code == 403
    assert client.get("/v1/drain").status_code == 405
    assert not site.is_told_to_end.is_set()
    assert client.post("/v1/drain").json() == {"status": "draining"}
    assert site.is_told_to_end.is_set()


def test_turns_are_found_by_session_user_and_time(site: AdminSite, client: httpx.Client) -> None:
    def found(query: str) -> list[str]:
        return [turn["request_id"] for turn in client.get(f"/v1/requests?{query}").json()["data"]]

    caller = site.telemetry.pseudonyms.of("acme", "anna")
    for number in range(3):
        record = answered(request_id=f"turn-{number}", started_s=time.monotonic())
        if number:
            record = msgspec.structs.replace(record, session="s-1", caller=caller)
        site.telemetry.sink.record(record)

    spoken = msgspec.structs.replace(answered(request_id="said"), session="sess_0123")
    site.telemetry.sink.record(spoken)

    assert found("session=s-1") == ["turn-2", "turn-1"]
    assert found("call=rtc_0123") == found("session=sess_0123") == ["said"]
    assert client.get("/v1/requests?call=rtc_0123&session=s-1").status_code == 400
    assert found("id=turn-0") == ["turn-0"]
    assert found("user=anna&tenant=acme&limit=1") == ["turn-2"]
    assert found("user=anna&tenant=other") == []
    assert found(f"caller={caller}&tenant=acme") == ["turn-2", "turn-1"]
    assert found("until=2020-01-01") == []
    assert len(found("since=2020-01-01T00:00:00Z&until=2100-01-01")) == 4


def test_an_operator_cuts_the_capacity_and_a_web_page_does_not(
    site: AdminSite, client: httpx.Client
) -> None:
    refused = client.post("/v1/capacity?ratio=0.5", headers={"origin": "https://elsewhere.example"})
    assert refused.status_code == 403
    for nonsense in ("", "?ratio=", "?ratio=half", "?ratio=1.5", "?ratio=-1", "?ratio=nan"):
        answer = client.post(f"/v1/capacity{nonsense}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "ratio")
    assert site.capacity_ratio == 1.0
    assert client.post("/v1/capacity?ratio=0.5").json() == {"ratio": 0.5, "num_moved": 3}
    assert site.capacity_ratio == 0.5
    assert client.get("/v1/site").json()["now"]["capacity_ratio"] == 0.5
