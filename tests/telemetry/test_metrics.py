"""What turns leave on `/metrics`, read back with Prometheus' own parsers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import pytest
from opentelemetry.sdk.resources import Resource
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from gateway.core.budget import TurnClass
from gateway.core.slo import Objectives
from gateway.core.stages import Outcome, RouteDecision, TurnRecord
from gateway.telemetry.metrics import MetricsPipeline, SiteFigures
from gateway.telemetry.records import KeptTurn
from gateway.telemetry.slo import SloKeeper
from gateway.telemetry.turn_metrics import TurnMetrics
from gateway.telemetry.voice_metrics import VoiceWorkerFigures
from tests.telemetry.turns import MODEL, answered, shed, trail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import Metric

    Parse = Callable[[str], Iterable[Metric]]

parse_classic: Parse = parser.text_string_to_metric_families
parse_openmetrics: Parse = openmetrics_parser.text_string_to_metric_families

GEN_AI = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "firsthop",
    "gen_ai_request_model": "subscriber-care",
    "gen_ai_response_model": MODEL,
}

VOICE = {"class": "voice"}


@dataclass
class Site:
    """The metrics of a site under test."""

    turns: TurnMetrics
    pipeline: MetricsPipeline

    def samples(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        """Everything on `/metrics`, by sample name."""
        body, content_type = self.pipeline.exposition("")
        assert content_type.startswith("text/plain; version=0.0.4")
        return by_name(parse_classic(body.decode()))

    def value(self, name: str, **labels: str) -> float:
        """The one sample with exactly these labels."""
        (value,) = [value for seen, value in self.samples()[name] if seen == labels]
        return value


def by_name(families: Iterable[Metric]) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


@pytest.fixture
def open_site() -> Iterator[Callable[[Callable[[], SiteFigures]], Site]]:
    opened: list[Site] = []

    def open_with(figures: Callable[[], SiteFigures]) -> Site:
        turns = TurnMetrics("edge-a")
        opened.append(Site(turns, MetricsPipeline(turns, figures, Resource.get_empty())))
        return opened[-1]

    yield open_with
    for site in opened:
        site.pipeline.close()


@pytest.fixture
def site(open_site: Callable[[Callable[[], SiteFigures]], Site]) -> Site:
    return open_site(lambda: SiteFigures(3, 2, 1, 4, num_traces_dropped=5))


def moved(record: TurnRecord, chosen: str) -> TurnRecord:
    decision = RouteDecision(chosen, "better estimate", 0.5, 0.4)
    return msgspec.structs.replace(record, decisions=(decision,), site=chosen)


def test_an_answered_turn_is_in_every_histogram(site: Site) -> None:
    site.turns.record(answered())

    name = "gen_ai_server_time_to_first_token_seconds"
    assert site.value(f"{name}_bucket", le="0.1", **GEN_AI) == 0
    assert site.value(f"{name}_bucket", le="0.15", **GEN_AI) == 1
    assert site.value(f"{name}_sum", **GEN_AI) == pytest.approx(0.130)
    assert site.value("gen_ai_server_time_per_output_token_seconds_sum", **GEN_AI) == (
        pytest.approx(0.4 / 40)
    )
    assert site.value("gen_ai_server_request_duration_seconds_sum", **GEN_AI) == (
        pytest.approx(0.530)
    )
    tokens = "gen_ai_client_token_usage_sum"
    assert site.value(tokens, gen_ai_token_type="input", **GEN_AI) == 200
    assert site.value(tokens, gen_ai_token_type="output", **GEN_AI) == 41


def test_prompt_tokens_say_what_the_prefix_cache_saved(site: Site) -> None:
    for _ in range(2):
        site.turns.record(answered())

    assert site.value("firsthop_prompt_tokens_total", source="cached") == 100
    assert site.value("firsthop_prompt_tokens_total", source="computed") == 300


def test_the_stages_on_metrics_sum_to_the_request_duration(site: Site) -> None:
    for index in range(3):
        site.turns.record(answered(prefill_s=0.1 * (index + 1)))

    samples = site.samples()
    stages = {
        labels["stage"]: value
        for labels, value in samples["firsthop_turn_duration_seconds_sum"]
        if labels["class"] == "voice"
    }
    ((_, whole_s),) = samples["gen_ai_server_request_duration_seconds_sum"]
    assert set(stages) == {
        "ingress", "prompt", "admission", "link", "queue", "prefill", "egress", "decode",
    }  # fmt: skip
    assert stages["prefill"] == pytest.approx(0.6)
    assert sum(stages.values()) == pytest.approx(whole_s)


def test_attainment_counts_late_and_shed_turns_as_missed(site: Site) -> None:
    for record in (
        answered(),
        answered(),
        answered(prefill_s=0.6),
        shed(),
        answered(budget_s=None),
        trail().close(Outcome.REJECTED, "", 100.01, error="invalid_request"),
    ):
        site.turns.record(record)

    labels = {"class": "voice", "site": "edge-a"}
    assert site.value("firsthop_slo_attainment_total", met="true", **labels) == 2
    assert site.value("firsthop_slo_attainment_total", met="false", **labels) == 2


def test_a_shed_turn_says_why(site: Site) -> None:
    site.turns.record(shed())
    site.turns.record(trail().close(Outcome.SHED, "", 100.6, error="slo_unattainable"))

    assert site.value("firsthop_shed_total", reason="estimate_exceeds_budget") == 1
    assert site.value("firsthop_shed_total", reason="slo_unattainable") == 1
    decided = "firsthop_route_decisions_total"
    assert site.value(decided, outcome="shed", reason="estimate_exceeds_budget") == 1
    assert site.value(decided, outcome="local", reason="fits") == 1


def test_turns_that_leave_the_site_are_forwarded_or_escalated(site: Site) -> None:
    site.turns.record(moved(answered(), "edge-b"))
    site.turns.record(moved(answered(), "edge-b"))
    site.turns.record(moved(answered(), "core"))

    assert site.value("firsthop_forward_total", site="edge-b") == 2
    assert site.value("firsthop_escalate_total") == 1
    decided = "firsthop_route_decisions_total"
    assert site.value(decided, outcome="forward", reason="better estimate") == 2
    assert site.value(decided, outcome="escalate", reason="better estimate") == 1


def test_an_early_answer_that_was_discarded_is_work_and_no_turn(site: Site) -> None:
    site.turns.record(msgspec.structs.replace(answered(), begun_early=True))
    discarded = trail()
    discarded.begun_early, discarded.is_certain = True, False
    site.turns.record(discarded.close(Outcome.ABANDONED, "", 100.5))

    assert site.value("firsthop_early_answers_total", outcome="kept") == 1
    assert site.value("firsthop_early_answers_total", outcome="discarded") == 1
    assert site.value("gen_ai_server_request_duration_seconds_count", **GEN_AI) == 1
    assert site.value("firsthop_prompt_tokens_total", source="computed") == 300
    assert site.value("firsthop_slo_attainment_total", met="true", site="edge-a", **VOICE) == 1


def test_a_failed_turn_carries_its_error_type(site: Site) -> None:
    site.turns.record(trail().close(Outcome.FAILED, "", 100.5, error="engine_error"))

    name = "gen_ai_server_request_duration_seconds_count"
    assert site.value(name, error_type="engine_error", **GEN_AI) == 1
    assert "gen_ai_server_time_to_first_token_seconds_count" not in site.samples()


def test_time_in_server_tools_is_not_held_against_the_tokens(site: Site) -> None:
    site.turns.record(msgspec.structs.replace(answered(), tools_run=("get_balance",)))

    assert "gen_ai_server_time_per_output_token_seconds_count" not in site.samples()
    assert "gen_ai_server_time_to_first_token_seconds_count" in site.samples()


def test_the_figures_of_the_site_are_gauges(site: Site) -> None:
    assert site.value("firsthop_turns_active") == 3
    assert site.value("firsthop_engine_active") == 2
    assert site.value("firsthop_engine_queued") == 1
    assert site.value("firsthop_engine_restarts_total") == 4
    assert site.value("firsthop_traces_dropped_total") == 5


def test_each_voice_worker_has_its_figures(
    open_site: Callable[[Callable[[], SiteFigures]], Site],
) -> None:
    workers = {
        0: VoiceWorkerFigures(3, 1000, 20, 5, 7, 900, 2, 1, 1.5),
        2: VoiceWorkerFigures(0, 10, 0, 0, 0, 10, 0, 0, 0.5),
    }
    site = open_site(lambda: SiteFigures(0, 0, 0, 0, voice_workers=workers, num_voice_restarts=1))

    assert site.value("firsthop_voice_lines", worker="0") == 3
    kinds = {"heard": 1000, "lost": 20, "late": 5, "stranger": 7, "sent": 900}
    for kind, value in kinds.items():
        assert site.value("firsthop_voice_datagrams_total", worker="0", kind=kind) == value
    assert site.value("firsthop_voice_datagrams_total", worker="2", kind="heard") == 10
    assert site.value("firsthop_voice_lateness_total", worker="0", kind="frame") == 2
    assert site.value("firsthop_voice_lateness_total", worker="0", kind="timer") == 1
    assert site.value("firsthop_voice_cpu_seconds_total", worker="2") == 0.5
    assert site.value("firsthop_voice_restarts_total") == 1


def test_figures_that_cannot_be_had_leave_the_rest_readable(
    open_site: Callable[[Callable[[], SiteFigures]], Site],
) -> None:
    def broken() -> SiteFigures:
        raise RuntimeError("the engine is not there")

    site = open_site(broken)
    site.turns.record(answered())

    samples = site.samples()
    assert "firsthop_turns_active" not in samples
    assert "gen_ai_server_time_to_first_token_seconds_count" in samples


def test_scrapes_do_not_add_up(site: Site) -> None:
    site.turns.record(answered())
    site.samples()

    assert site.value("gen_ai_server_time_to_first_token_seconds_count", **GEN_AI) == 1
    assert site.value("firsthop_route_decisions_total", outcome="local", reason="fits") == 1


def test_openmetrics_when_asked_for(site: Site) -> None:
    site.turns.record(answered())

    body, content_type = site.pipeline.exposition(
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1"
    )

    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")
    samples = by_name(parse_openmetrics(body.decode()))
    assert (GEN_AI, 1.0) in samples["gen_ai_server_time_to_first_token_seconds_count"]


def test_a_bucket_leads_to_the_trace_of_the_newest_turn_in_it(site: Site) -> None:
    kept = KeptTurn(answered(prefill_s=0.6), 1_790_000_000_000_000_000)
    for turn in (KeptTurn(answered(), kept.started_ns), kept):
        site.turns.record(turn.record)
    site.turns.exemplify(kept)

    body, _ = site.pipeline.exposition("application/openmetrics-text;version=1.0.0")
    samples = [one for family in parse_openmetrics(body.decode()) for one in family.samples]
    by_bucket = {
        (one.name, one.labels["le"]): one.exemplar for one in samples if one.exemplar is not None
    }
    root = kept.trace.root
    assert set(by_bucket) == {
        ("gen_ai_server_time_to_first_token_seconds_bucket", "0.75"),
        ("firsthop_turn_first_content_seconds_bucket", "0.75"),
        ("gen_ai_server_request_duration_seconds_bucket", "1.28"),
    }
    for exemplar in by_bucket.values():
        assert exemplar.labels == {"trace_id": root.trace_hex, "span_id": f"{root.span_id:016x}"}
    first = by_bucket["gen_ai_server_time_to_first_token_seconds_bucket", "0.75"]
    assert first.value == pytest.approx(0.630)
    assert str(first.timestamp) == "1790000000.630000000"
    assert b"trace_id" not in site.pipeline.exposition("")[0]


def test_classes_are_kept_apart(site: Site) -> None:
    site.turns.record(answered())
    site.turns.record(msgspec.structs.replace(answered(), turn_class=TurnClass.AGENT))

    for turn_class in ("voice", "agent"):
        assert (
            site.value(
                "firsthop_slo_attainment_total",
                met="true",
                site="edge-a",
                **{"class": turn_class},
            )
            == 1
        )


def test_burn_rates_are_gauges_by_window() -> None:
    slo = SloKeeper("edge-a", Objectives(), monotonic=lambda: 1000.0)
    for _ in range(6):
        slo.record(shed())
    pipeline = MetricsPipeline(
        TurnMetrics("edge-a"),
        lambda: SiteFigures(0, 0, 0, 0),
        Resource.get_empty(),
        slo=slo.states,
    )
    site = Site(TurnMetrics("edge-a"), pipeline)
    assert site.value("firsthop_slo_objective", **{"class": "voice"}) == 0.99
    for window in ("10s", "1m", "5m", "30m", "1h", "6h"):
        labels = {"class": "voice", "window": window}
        assert site.value("firsthop_slo_burn_rate", **labels) == pytest.approx(100.0)
    assert site.value("firsthop_slo_burning", **{"class": "voice", "rule": "fast"}) == 1.0
    assert site.value("firsthop_slo_burning", **{"class": "agent", "rule": "fast"}) == 0.0
    pipeline.close()
