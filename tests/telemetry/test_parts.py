"""What a site did of a peer's turn is kept, and counts where the turn does: at its origin."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import msgspec
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.stages import ORIGIN_LOST, PEER_INTERFACE, Outcome
from gateway.telemetry import otlp
from gateway.telemetry.metrics import SiteFigures
from gateway.telemetry.record_store import RecordStore
from gateway.telemetry.segment_log import LogBounds
from gateway.telemetry.site_telemetry import SiteTelemetry
from tests.telemetry.turns import answered

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from gateway.telemetry.records import KeptTurn

PART = msgspec.structs.replace(answered(request_id="part"), interface=PEER_INTERFACE, tenant="")
LOST = msgspec.structs.replace(
    PART, request_id="lost", outcome=Outcome.FAILED, finish="", error=ORIGIN_LOST
)
LATE = msgspec.structs.replace(PART, request_id="late", budget_s=0.001)


class Traces:
    """Takes the place of a collector."""

    def __init__(self) -> None:
        self.request_ids: list[str] = []

    def export(self, turns: list[KeptTurn]) -> None:
        self.request_ids += [turn.record.request_id for turn in turns]

    def close(self) -> None: ...


def test_parts_are_found_and_not_counted_and_traced_where_the_origin_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = Traces()
    monkeypatch.setattr(otlp, "turn_exporter", lambda *_, **__: traces)
    silent = ConsoleMetricExporter(out=io.StringIO())
    monkeypatch.setattr(otlp, "metric_exporter", lambda *_, **__: silent)
    store = RecordStore(tmp_path, LogBounds(1 << 20, 3600.0))
    site = SiteTelemetry(
        site="edge-b",
        version="1",
        figures=lambda: SiteFigures(0, 0, 0, 0),
        store=store,
        otlp_endpoint="http://127.0.0.1:9",
        metrics_interval_s=3600.0,
        export_timeout_s=0.01,
    )
    for record in (PART, LATE, LOST):
        site.parts.record(record)
    body, _ = site.exposition("")

    counted = {family.name for family in text_string_to_metric_families(body.decode())}
    assert "gen_ai_server_request_duration_seconds" not in counted
    assert "firsthop_slo_attainment" not in counted
    assert site.missed.num_seen == 0
    assert list(site.ring.newest_first()) == []
    found = asyncio.run(site.find("part"))
    assert found is not None
    assert found.record == PART
    asyncio.run(site.close())
    assert traces.request_ids == ["lost"]
