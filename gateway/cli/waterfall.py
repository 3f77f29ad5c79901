"""One turn's record drawn as text: where its time went, and why it was sent where it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.cli.ink import Ink
    from gateway.edge.turn_view import CandidateView, DecisionView, StageView, TurnView

MIN_BAR_COLUMNS = 20
_LABEL_COLUMNS = len("admission   12345.6   12345.6  ")


def draw(turn: TurnView, *, num_columns: int, ink: Ink) -> str:
    """The turn as lines at most `num_columns` wide, where its names allow it."""
    blocks = [_header(turn, ink)]
    if turn.stages:
        blocks.append(_stages(turn, max(MIN_BAR_COLUMNS, num_columns - _LABEL_COLUMNS), ink))
    blocks += [_decision(decision, ink) for decision in turn.decisions]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _header(turn: TurnView, ink: Ink) -> list[str]:
    ending = turn.outcome
    if turn.error or turn.finish:
        ending += f" ({turn.error or turn.finish})"
    if turn.outcome == "answered":
        ending = ink.good(ending)
    elif turn.outcome in ("failed", "shed"):
        ending = ink.bad(ending)
    usage = turn.usage
    lines = [
        f"turn   {ink.strong(turn.request_id)}  {turn.turn_class}, {ending}",
        f"at     {turn.started_at}  by {turn.tenant or 'nobody known'}"
        + (f" over {turn.interface}" if turn.interface else ""),
        f"model  {turn.model or '-'}  path {' > '.join(turn.path) or '-'}",
        f"trace  {turn.trace_id}",
        f"budget {_verdict(turn, ink)}",
        f"took   {turn.duration_ms:.1f} ms for {usage.prompt_tokens} prompt tokens"
        f" ({usage.cached_tokens} cached) and {usage.completion_tokens} answer tokens",
    ]
    if turn.tools_run:
        lines.append(f"tools  {', '.join(turn.tools_run)}")
    if turn.num_resumes:
        times = "once" if turn.num_resumes == 1 else f"{turn.num_resumes} times"
        lines.append(f"moved  {times} to another engine")
    if turn.messages_left_out:
        lines.append(f"left out  {turn.messages_left_out} older messages, for lack of time")
    for peer in turn.peer_stages:
        took = ", ".join(f"{stage} {took_ms:.1f} ms" for stage, took_ms in peer.took_ms.items())
        lines.append(f"at {peer.site}: {took}")
    return lines


def _verdict(turn: TurnView, ink: Ink) -> str:
    content = "no content" if turn.ttft_ms is None else f"first content at {turn.ttft_ms:.1f} ms"
    if turn.budget_ms is None:
        return f"none; {content}"
    verdict = f"{turn.budget_ms:.1f} ms; {content}: "
    if turn.within_budget is None:
        return verdict + "not judged"
    if turn.within_budget:
        left_ms = turn.budget_ms - (turn.duration_ms if turn.ttft_ms is None else turn.ttft_ms)
        return verdict + ink.good(f"met with {left_ms:.1f} ms left")
    if turn.ttft_ms is not None and turn.ttft_ms > turn.budget_ms:
        return verdict + ink.bad(f"missed by {turn.ttft_ms - turn.budget_ms:.1f} ms")
    return verdict + ink.bad("missed")


class _Scale(NamedTuple):
    """Milliseconds to columns."""

    num_columns: int
    end_ms: float

    def column(self, at_ms: float) -> int:
        """The column an instant falls into."""
        return min(self.num_columns - 1, int(at_ms / self.end_ms * self.num_columns))

    def columns(self, stage: StageView) -> range:
        """The columns a stage covers, at least one."""
        first = self.column(stage.offset_ms)
        end = round((stage.offset_ms + stage.duration_ms) / self.end_ms * self.num_columns)
        return range(first, max(first + 1, min(self.num_columns, end)))


def _stages(turn: TurnView, num_columns: int, ink: Ink) -> list[str]:
    budget_ms = turn.budget_ms
    if budget_ms is not None and turn.duration_ms < budget_ms / 10:
        budget_ms = None  # far outside the picture
    scale = _Scale(num_columns, max(turn.duration_ms, budget_ms or 0.0, 0.001))
    budget_column = None if budget_ms is None else scale.column(budget_ms)
    end = f"{scale.end_ms:.0f} ms"
    lines = [
        f"{'stage':<9} {'from ms':>9} {'took ms':>9}  " + "0" + end.rjust(num_columns - 1),
    ]
    for stage in turn.stages:
        label = f"{stage.stage:<9} {stage.offset_ms:>9.1f} {stage.duration_ms:>9.1f}  "
        lines.append((label + _bar(stage, turn, scale, budget_column, ink)).rstrip())
    lines += _pointers(turn, scale, budget_ms, ink)
    return lines


def _bar(
    stage: StageView, turn: TurnView, scale: _Scale, budget_column: int | None, ink: Ink
) -> str:
    covered = scale.columns(stage)
    # What ran after the budget ended and before there was content is what made the turn late.
    waited_until_ms = turn.duration_ms if turn.ttft_ms is None else turn.ttft_ms
    late = (
        turn.budget_ms is not None
        and turn.within_budget is False
        and stage.offset_ms < waited_until_ms
        and stage.offset_ms + stage.duration_ms > turn.budget_ms
    )
    bar = ink.bar * len(covered)
    before, after = " " * covered.start, " " * (scale.num_columns - covered.stop)
    if budget_column is not None and budget_column < covered.start:
        before = _mark(before, budget_column, ink)
    elif budget_column is not None and budget_column >= covered.stop:
        after = _mark(after, budget_column - covered.stop, ink)
    return before + (ink.bad(bar) if late else ink.good(bar)) + after


def _mark(blank: str, at: int, ink: Ink) -> str:
    return blank[:at] + ink.faint(ink.budget) + blank[at + 1 :]


def _pointers(turn: TurnView, scale: _Scale, budget_ms: float | None, ink: Ink) -> Iterator[str]:
    for name, at_ms, sign in (
        ("first content", turn.ttft_ms, ink.pointer),
        ("budget", budget_ms, ink.budget),
    ):
        if at_ms is None:
            continue
        column, text = scale.column(at_ms), f"{name} {at_ms:.1f} ms"
        if column + 1 + len(text) < scale.num_columns:
            yield " " * (_LABEL_COLUMNS + column) + f"{sign} {text}"
        else:
            yield " " * _LABEL_COLUMNS + f"{text} {sign}".rjust(column + 1)


def _decision(decision: DecisionView, ink: Ink) -> list[str]:
    where = f"sent to {ink.strong(decision.chosen)}" if decision.chosen else ink.bad("shed")
    left = ""
    if decision.remaining_ms is not None and decision.budget_ms is not None:
        left = f", {decision.remaining_ms:.1f} of {decision.budget_ms:.1f} ms left"
    lines = [f"decision: {where}, because {decision.reason}{left}"]
    if decision.candidates:
        lines.append(f"  {'site':<12} {'predicted':>12} {'margin':>12} {'report age':>12}  verdict")
    lines += [_candidate(candidate, decision) for candidate in decision.candidates]
    return lines


def _candidate(candidate: CandidateView, decision: DecisionView) -> str:
    sign = ">" if decision.chosen and candidate.site == decision.chosen else " "
    predicted, margin, age = (
        "-" if figure_ms is None else f"{figure_ms:.1f} ms"
        for figure_ms in (candidate.predicted_ms, candidate.margin_ms, candidate.report_age_ms)
    )
    return f"{sign} {candidate.site:<12} {predicted:>12} {margin:>12} {age:>12}  {candidate.reason}"
