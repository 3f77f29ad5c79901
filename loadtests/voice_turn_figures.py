"""What the turns of `loadtests.voice_turns` amount to, and the targets they are held to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from loadtests.facts import percentile, summary_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SEED: Final = 7
MAX_P50_S, MAX_P99_S = 0.320, 0.500
MAX_FALSE_ENDS, MAX_APART_S, MIN_EXPLAINED = 0.05, 0.010, 0.99
MAX_STOP_S: Final = 0.150
_SHORT_PAUSE_MS: Final = 400.0
"""A turn whose end took less to be found was found by its words."""


@dataclass(slots=True)
class Turn:
    """One caller's turn and what came of it. Seconds; None: did not happen."""

    is_whole: bool
    answer_s: float | None = None
    """From the end of speech to the first content that can be heard."""
    first_packet_s: float | None = None
    """The same to the first packet of the answer, silent or not."""
    acknowledged_s: float | None = None
    """The same to the acknowledgement of a turn that went to the core tier."""
    is_false_end: bool = False
    """The turn was ended while the caller had more to say."""
    told_s: float | None = None
    """The time to the first content that the site tells."""
    stages_ms: dict[str, float] = field(default_factory=dict)
    tools: tuple[str, ...] = ()
    is_escalated: bool = False
    stop_s: float | None = None
    """From the onset of speech over the answer to the last frame that could be heard."""
    has_stopped: bool | None = None
    """Whether the answer did not go on after that."""


def figures(turns: Sequence[Turn]) -> dict[str, Any]:
    """What a phase found."""
    plain = [turn for turn in turns if not turn.is_escalated]
    groups = {
        "whole_requests": [turn for turn in plain if turn.is_whole],
        "of_those_with_a_server_tool": [turn for turn in plain if turn.is_whole and turn.tools],
        "asked_for_more": [turn for turn in plain if not turn.is_whole],
        "escalated": [turn for turn in turns if turn.is_escalated],
    }
    return {
        "turns": len(turns),
        "unanswered": sum(turn.answer_s is None and not turn.is_false_end for turn in turns),
        "false_end_ratio": _ratio(turn.is_false_end for turn in turns),
        "to_first_content_ms": {
            name: _summary(turn.answer_s for turn in group) for name, group in groups.items()
        },
        "whole_requests_found_whole": _found_whole(groups["whole_requests"]),
        "to_first_packet_ms": _summary(turn.first_packet_s for turn in plain),
        "to_acknowledgement_ms": _summary(turn.acknowledged_s for turn in turns),
        "stages_p50_ms": _stages(groups["whole_requests"]),
        "site_to_caller": explained(turns),
    }


def _found_whole(turns: Sequence[Turn]) -> dict[str, Any]:
    """Those whose end was found by their words: after a short pause."""
    answered = [turn for turn in turns if turn.answer_s is not None]
    quick = [turn for turn in answered if turn.stages_ms.get("endpoint", 0.0) < _SHORT_PAUSE_MS]
    ratio = round(len(quick) / len(answered), 4) if answered else None
    return {"ratio": ratio, "to_first_content_ms": _summary(turn.answer_s for turn in quick)}


def explained(turns: Sequence[Turn]) -> dict[str, Any]:
    """How far the site's own sum of stages is from what the caller measured."""
    both = [
        (turn, turn.first_packet_s - turn.told_s)
        for turn in turns
        if turn.first_packet_s is not None and turn.told_s is not None and not turn.is_escalated
    ]
    apart_s = [apart for _, apart in both]
    if not apart_s:
        return {"n": 0}
    late_s = [apart for turn, apart in both if (turn.first_packet_s or 0.0) > MAX_P99_S]
    return {
        "n": len(apart_s),
        "within_10_ms_ratio": _ratio(abs(one_s) <= MAX_APART_S for one_s in apart_s),
        "n_over_budget": len(late_s),
        "over_budget_within_10_ms_ratio": _ratio(abs(one_s) <= MAX_APART_S for one_s in late_s),
        **{
            f"p{quantile:g}_ms": round(1e3 * percentile(apart_s, quantile / 100), 2)
            for quantile in (1, 50, 99)
        },
    }


def over_figures(turns: Sequence[Turn]) -> dict[str, Any]:
    """What speech over the answer did."""
    heard = [turn for turn in turns if turn.has_stopped is not None]
    stops_s = [turn.stop_s for turn in heard if turn.stop_s is not None]
    return {
        "n": len(heard),
        "stopped_ratio": _ratio(bool(turn.has_stopped) for turn in heard),
        "onset_to_last_sound_ms": summary_ms(stops_s, SEED),
        "onset_to_last_sound_p95_ms": round(1e3 * percentile(stops_s, 0.95), 1) if heard else None,
    }


def _stages(turns: Sequence[Turn]) -> dict[str, float]:
    """The median of each stage up to the first sound."""
    names = Counter(name for turn in turns for name in turn.stages_ms)
    return {
        name: percentile([turn.stages_ms.get(name, 0.0) for turn in turns if turn.stages_ms], 0.5)
        for name in names
    }


def _summary(values_s: Iterable[float | None]) -> dict[str, Any]:
    return summary_ms([value_s for value_s in values_s if value_s is not None], SEED)


def _ratio(flags: Iterable[bool]) -> float | None:
    found = list(flags)
    return round(sum(found) / len(found), 4) if found else None


def missed_by(found: dict[str, dict[str, Any]]) -> list[str]:
    """The targets that were missed."""
    missed = []
    for name in ("one caller", "ends spread over 1 s"):
        whole = found[name]["to_first_content_ms"]["whole_requests"]
        if whole["n"] and (whole["p50"] > MAX_P50_S * 1e3 or whole["p99"] >= MAX_P99_S * 1e3):
            missed.append(f"{name}: p50 {whole['p50']:.0f} ms, p99 {whole['p99']:.0f} ms")
        for which in ("within_10_ms_ratio", "over_budget_within_10_ms_ratio"):
            close = found[name]["site_to_caller"].get(which)
            if close is not None and close < MIN_EXPLAINED:
                missed.append(f"{name}: {close:.1%} of the sums of stages: {which}")
    if (found["pauses inside"]["false_end_ratio"] or 0.0) > MAX_FALSE_ENDS:
        missed.append(f"{found['pauses inside']['false_end_ratio']:.1%} false ends of turns")
    stop_ms = found["interrupted"]["over"]["onset_to_last_sound_p95_ms"]
    if stop_ms is not None and stop_ms > MAX_STOP_S * 1e3:
        missed.append(f"interruptions: silent after {stop_ms} ms at p95")
    if (found["listened to"]["over"]["stopped_ratio"] or 0.0) > MAX_FALSE_ENDS:
        missed.append("more than 5 % of the signs of listening stop the agent")
    return missed
