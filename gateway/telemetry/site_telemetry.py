"""A site's telemetry, put together."""

from __future__ import annotations

import asyncio
import secrets
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource

from gateway.core.slo import Objectives
from gateway.core.stages import ORIGIN_LOST, PEER_INTERFACE
from gateway.telemetry.batches import RecordSink, TurnBatches
from gateway.telemetry.metrics import MetricsPipeline, SiteFigures
from gateway.telemetry.missed_turns import MissedTurns
from gateway.telemetry.record_store import Pseudonyms, TurnQuery
from gateway.telemetry.records import KeptTurn, RecordRing
from gateway.telemetry.slo import SloKeeper
from gateway.telemetry.tracing import TurnTracer, is_wanted
from gateway.telemetry.turn_metrics import TurnMetrics
from gateway.telemetry.turn_spans import TurnSpans

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.metrics.export import MetricExporter

    from gateway.config.telemetry import OtlpProtocol
    from gateway.core.stages import TurnSink
    from gateway.telemetry.decision_log import DecisionLog
    from gateway.telemetry.record_store import RecordStore


class SiteTelemetry:
    """Records, objectives, metrics and traces of one site.

    `figures` is called from the collecting threads and must only read plain attributes. Without
    an `otlp_endpoint` nothing is sent and no span is ever built.
    """

    def __init__(
        self,
        *,
        site: str,
        version: str,
        figures: Callable[[], SiteFigures],
        objectives: Objectives | None = None,
        records_kept: int = 2048,
        store: RecordStore | None = None,
        decisions: DecisionLog | None = None,
        otlp_endpoint: str = "",
        otlp_protocol: OtlpProtocol = "grpc",
        metrics_interval_s: float = 10.0,
        spans_interval_s: float = 1.0,
        export_timeout_s: float = 2.0,
    ) -> None:
        resource = Resource.create(
            {SERVICE_NAME: "firsthop", SERVICE_INSTANCE_ID: site, SERVICE_VERSION: version}
        )
        self._figures = figures
        self._tracer: TurnTracer | None = None
        self.ring = RecordRing(records_kept)
        self.missed = MissedTurns()
        self.slo = SloKeeper(site, objectives or Objectives())
        turn_metrics = TurnMetrics(site)
        recorders: list[Callable[[KeptTurn], None]] = [
            _unless_part(lambda turn: turn_metrics.record(turn.record)),
            _unless_part(lambda turn: self.slo.record(turn.record)),
        ]
        self.store = store
        self.decisions = decisions
        self.pseudonyms = store.pseudonyms if store else Pseudonyms(secrets.token_bytes(32))
        if store is not None:
            recorders.append(store.keep)
        exporter: MetricExporter | None = None
        if otlp_endpoint:
            # Loading the exporters takes 0.1 s of the site's start, so they are loaded on demand.
            from gateway.telemetry import otlp

            exporter = otlp.metric_exporter(
                otlp_endpoint, protocol=otlp_protocol, timeout_s=export_timeout_s
            )
            self._tracer = TurnTracer(
                otlp.turn_exporter(
                    otlp_endpoint,
                    TurnSpans(resource),
                    protocol=otlp_protocol,
                    timeout_s=export_timeout_s,
                ),
                export_interval_s=spans_interval_s,
            )
        trace = is_wanted if self._tracer is None else self._tracer.record

        def trace_and_exemplify(turn: KeptTurn) -> None:
            is_part = turn.record.interface == PEER_INTERFACE
            if is_part and turn.record.error != ORIGIN_LOST:
                return  # its origin builds the spans of all sites
            if trace(turn) and not is_part:
                turn_metrics.exemplify(turn)

        recorders.append(trace_and_exemplify)
        self._metrics = MetricsPipeline(
            turn_metrics,
            self._all_figures,
            resource,
            slo=self.slo.states,
            exporter=exporter,
            export_interval_s=metrics_interval_s,
        )
        self._batches = TurnBatches(recorders)
        self.sink: TurnSink = RecordSink((self.ring.keep, self.missed.keep), self._batches)
        """Takes the record of every turn of the site's own callers."""
        self.parts: TurnSink = RecordSink((), self._batches)
        """Takes records of what the site did of its peers' turns. They are kept on disk, and count
        where the turns do: at their origin."""
        self.settle = self._batches.settle
        """Return when all that `sink` took is counted: before `slo` is read, if a twentieth of a
        second matters."""
        self.observe_loop_lag = turn_metrics.observe_loop_lag
        """Takes how late the site's loop came to a timer, in seconds."""

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """`/metrics` and its content type; takes milliseconds, call it off the event loop."""
        self.settle()
        return self._metrics.exposition(accept)

    async def find(self, request_id: str) -> KeptTurn | None:
        """The newest turn of that id, in memory or on disk."""
        turn = self.ring.find(request_id)
        if turn is None and self.store is not None:
            query = TurnQuery(request_id=request_id, limit=1)
            found = await asyncio.to_thread(self._stored, self.store, query)
            turn = found[0] if found else None
        return turn

    async def search(self, query: TurnQuery, takes: Callable[[KeptTurn], bool]) -> list[KeptTurn]:
        """The newest turns of the query that `takes` takes.

        Without an id or a time those in memory are meant, which whoever watches asks for often.
        """
        if self.store is not None and not query.is_open:
            return await asyncio.to_thread(self._stored, self.store, query, takes)
        kept = (turn for turn in self.ring.newest_first() if query.takes(turn) and takes(turn))
        return list(islice(kept, query.limit))

    async def close(self) -> None:
        """Send what was not sent yet; waits for the receiver as long as an export may take."""
        await asyncio.to_thread(self._batches.close)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.to_thread(self._metrics.close))
            for one in (self.store, self.decisions, self._tracer):
                if one is not None:
                    tasks.create_task(asyncio.to_thread(one.close))

    def _stored(
        self,
        store: RecordStore,
        query: TurnQuery,
        takes: Callable[[KeptTurn], bool] = lambda _: True,
    ) -> list[KeptTurn]:
        self.settle()
        return store.search(query, takes)

    def _all_figures(self) -> SiteFigures:
        dropped = 0 if self._tracer is None else self._tracer.num_dropped
        return msgspec.structs.replace(
            self._figures(),
            num_traces_dropped=dropped,
            num_records_dropped=0 if self.store is None else self.store.num_dropped,
        )


def _unless_part(record: Callable[[KeptTurn], None]) -> Callable[[KeptTurn], None]:
    """Leaves out what the site did of peers' turns."""

    def record_own(turn: KeptTurn) -> None:
        if turn.record.interface != PEER_INTERFACE:
            record(turn)

    return record_own
