"""What one turn's record, and the loop that all turns share, add to the metrics."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry.sdk.metrics import Exemplar

from gateway.core.budget import TurnClass
from gateway.core.stages import Outcome, Stage
from gateway.core.turn import name_and_digest
from gateway.telemetry import instruments
from gateway.telemetry.series import CounterSeries, HistogramSeries

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.metrics import Observation
    from opentelemetry.sdk.metrics.export import Metric

    from gateway.core.stages import RouteDecision, TurnRecord
    from gateway.telemetry.records import KeptTurn
    from gateway.telemetry.series import HistogramCell


_ANSWERED: Final = Outcome.ANSWERED
_SHED: Final = Outcome.SHED
_DISCARDED: Final = Outcome.DISCARDED
_NUM_UNSETTLED: Final = 512
"""Turns and timers between two settlings, which take some ten microseconds for each histogram."""


class _ModelCells(NamedTuple):
    """The cells of one served model, looked up once a turn."""

    time_to_first_token: HistogramCell
    time_per_output_token: HistogramCell
    input_tokens: HistogramCell
    output_tokens: HistogramCell


class _StageCells(dict[Stage, "Callable[[float], None]"]):
    """What takes the durations of one class, by stage."""

    def __init__(self, turn_class: TurnClass, series: HistogramSeries) -> None:
        super().__init__()
        self._turn_class = turn_class
        self._series = series

    def __missing__(self, stage: Stage) -> Callable[[float], None]:
        observe = self[stage] = self._series.cell(self._turn_class, stage).observe
        return observe


class TurnMetrics:
    """Counts every turn. Written by one thread, read by whoever collects.

    `core_site` is the id of the core tier: a turn sent there was escalated, not forwarded.
    """

    def __init__(
        self,
        site: str,
        *,
        core_site: str = "core",
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._site = site
        self._core_site = core_site
        self._wall_ns = wall_ns
        self._lock = threading.Lock()
        self._models: dict[str, _ModelCells] = {}
        self._durations: dict[tuple[str, str], HistogramCell] = {}
        self._num_unsettled = 0
        started_ns = wall_ns()
        self._time_to_first_token = HistogramSeries(
            instruments.TIME_TO_FIRST_TOKEN, started_ns=started_ns
        )
        self._time_per_output_token = HistogramSeries(
            instruments.TIME_PER_OUTPUT_TOKEN, started_ns=started_ns
        )
        self._duration = HistogramSeries(instruments.REQUEST_DURATION, started_ns=started_ns)
        self._tokens = HistogramSeries(instruments.TOKEN_USAGE, started_ns=started_ns)
        self._stages = HistogramSeries(instruments.TURN_DURATION, started_ns=started_ns)
        self._stage_cells = {
            turn_class: _StageCells(turn_class, self._stages) for turn_class in TurnClass
        }
        self._first_content = HistogramSeries(instruments.FIRST_CONTENT, started_ns=started_ns)
        self._lag = HistogramSeries(instruments.LOOP_LAG, started_ns=started_ns)
        self._lag_cell = self._lag.cell()
        self._histograms = (
            self._time_to_first_token,
            self._time_per_output_token,
            self._duration,
            self._tokens,
            self._stages,
            self._first_content,
            self._lag,
        )
        self._prompt_tokens = CounterSeries(instruments.PROMPT_TOKENS)
        self._attainment = CounterSeries(instruments.SLO_ATTAINMENT)
        self._decisions = CounterSeries(instruments.ROUTE_DECISIONS)
        self._shed = CounterSeries(instruments.SHED)
        self._forward = CounterSeries(instruments.FORWARD)
        self._escalate = CounterSeries(instruments.ESCALATE)
        self._early = CounterSeries(instruments.EARLY_ANSWERS)
        self.counters = (
            self._prompt_tokens,
            self._attainment,
            self._decisions,
            self._shed,
            self._forward,
            self._escalate,
            self._early,
        )

    def record(self, record: TurnRecord) -> None:
        """Count one turn; of what was discarded only the work that it was."""
        is_discarded = record.outcome is _DISCARDED
        with self._lock:
            if record.begun_early:
                self._early.add("discarded" if is_discarded else "kept")
            if not is_discarded:
                self._observe_times(record)
            self._observe_tokens(record)
            for decision in record.decisions:
                self._count_decision(decision)
            if record.outcome is _SHED:
                self._shed.add(_shed_reason(record))
            met = record.within_budget
            if met is not None:
                self._attainment.add(
                    record.turn_class, record.site or self._site, "true" if met else "false"
                )
            self._settle_in_time()

    def exemplify(self, turn: KeptTurn) -> None:
        """The turn has a trace: it stands for the buckets that its times are in."""
        record, root, started_ns = turn.record, turn.trace.root, turn.started_ns

        def at(value_s: float) -> Exemplar:
            instant_ns = started_ns + round(value_s * 1e9)
            return Exemplar({}, value_s, instant_ns, root.span_id, root.trace_id)

        with self._lock:
            self._duration_cell(record).exemplify(at(record.duration_s))
            if record.ttft_s is not None:
                first = at(record.ttft_s)
                self._cells_of(record.model).time_to_first_token.exemplify(first)
                self._first_content.cell(record.turn_class).exemplify(first)

    def observe_loop_lag(self, late_s: float) -> None:
        """Count one timer of the site's event loop."""
        with self._lock:
            self._lag_cell.observe(late_s)
            self._settle_in_time()

    def explicit(self) -> list[Metric]:
        """All histograms with explicit buckets."""
        with self._lock:
            now_ns = self._wall_ns()
            return [series.explicit(now_ns) for series in self._histograms]

    def exponential(self) -> list[Metric]:
        """All histograms with exponential buckets."""
        with self._lock:
            now_ns = self._wall_ns()
            return [series.exponential(now_ns) for series in self._histograms]

    def observations(self, series: CounterSeries) -> list[Observation]:
        """The counts of one of `counters`."""
        with self._lock:
            return series.observations()

    def _settle_in_time(self) -> None:
        self._num_unsettled += 1
        if self._num_unsettled >= _NUM_UNSETTLED:
            self._num_unsettled = 0
            for series in self._histograms:
                series.settle()

    def _observe_times(self, record: TurnRecord) -> None:
        duration_s, ttft_s, turn_class = record.duration_s, record.ttft_s, record.turn_class
        self._duration_cell(record).observe(duration_s)
        stage_s: dict[Stage, float] = {}
        for span in record.spans:
            stage = span.stage
            if stage in stage_s:
                stage_s[stage] += span.duration_s
            else:
                stage_s[stage] = span.duration_s
        observe = self._stage_cells[turn_class]
        for stage, took_s in stage_s.items():
            observe[stage](took_s)
        if ttft_s is None:
            return
        cells = self._cells_of(record.model)
        cells.time_to_first_token.observe(ttft_s)
        self._first_content.cell(turn_class).observe(ttft_s)
        num_later_tokens = record.completion_tokens - 1
        if record.outcome is _ANSWERED and num_later_tokens > 0 and not record.tools_run:
            cells.time_per_output_token.observe((duration_s - ttft_s) / num_later_tokens)

    def _observe_tokens(self, record: TurnRecord) -> None:
        if record.prompt_tokens or record.completion_tokens:
            cells = self._cells_of(record.model)
            cells.input_tokens.observe(record.prompt_tokens)
            cells.output_tokens.observe(record.completion_tokens)
            self._prompt_tokens.add("cached", count=record.cached_tokens)
            self._prompt_tokens.add("computed", count=record.prompt_tokens - record.cached_tokens)

    def _duration_cell(self, record: TurnRecord) -> HistogramCell:
        error = "" if record.outcome is _ANSWERED else record.error or record.outcome
        cell = self._durations.get((record.model, error))
        if cell is None:
            cell = self._duration.cell(*_model_attributes(record.model), error)
            self._durations[record.model, error] = cell
        return cell

    def _count_decision(self, decision: RouteDecision) -> None:
        match decision.chosen:
            case "":
                outcome = "shed"
            case self._site:
                outcome = "local"
            case self._core_site:
                outcome = "escalate"
                self._escalate.add()
            case peer:
                outcome = "forward"
                self._forward.add(peer)
        self._decisions.add(outcome, decision.reason)

    def _cells_of(self, model: str) -> _ModelCells:
        cells = self._models.get(model)
        if cells is None:
            attributes = _model_attributes(model)
            cells = _ModelCells(
                time_to_first_token=self._time_to_first_token.cell(*attributes),
                time_per_output_token=self._time_per_output_token.cell(*attributes),
                input_tokens=self._tokens.cell(*attributes, "input"),
                output_tokens=self._tokens.cell(*attributes, "output"),
            )
            self._models[model] = cells
        return cells


def _model_attributes(model: str) -> tuple[str, str, str, str]:
    """Operation, provider, request model, response model."""
    return (
        instruments.OPERATION_NAME,
        instruments.PROVIDER_NAME,
        name_and_digest(model)[0],
        model,
    )


def _shed_reason(record: TurnRecord) -> str:
    last = record.decisions[-1] if record.decisions else None
    return last.reason if last is not None and not last.chosen else record.error
