"""`summary.json`: every arm's figures, and how arms compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from loadtests.comparison import resampling
from loadtests.comparison.cost import POOLED, usd_per_hour, usd_per_mtok
from loadtests.sim.outcome import Fate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from loadtests.comparison.measured import Measured
    from loadtests.sim.scenario import Scenario

MIN_NUM_P99 = 1000
"""Fewer answers hold no P99 worth quoting; it is given, and marked."""
PERIOD_S = 1.0
"""Of the course of attainment over time."""
_CDF_STEPS = 200
_MAX_NUM_SITES_SHOWN = 32


def arm_summary(name: str, measured: Measured, scenario: Scenario) -> dict[str, Any]:
    """One arm. Shed and failed requests are missed; times run from the intended send."""
    attained = measured.attained()
    is_done = measured.fate == Fate.DONE
    tokens, duration_s = measured.output_tokens, measured.duration_s
    goodput = float(tokens[attained].sum()) / duration_s
    arm_usd_per_hour = scenario.sites.count * usd_per_hour(name, scenario.prices)
    found: dict[str, Any] = {
        "offered": len(measured),
        "offered_per_s": round(len(measured) / duration_s, 3),
        "attained": share(attained),
        "attained_ci95": _rounded(_attained_interval(measured, attained, scenario.seed)),
        "shed": int((measured.fate == Fate.SHED).sum()),
        "failed": int((measured.fate == Fate.FAILED).sum()),
        "unfinished": int((measured.fate == Fate.UNFINISHED).sum()),
        "ttft_ms": ttft_ms(measured, scenario.seed),
        "tok_per_s": round(float(tokens[is_done].sum()) / duration_s, 1),
        "goodput_tok_per_s": round(goodput, 1),
        "usd_per_mtok": usd_per_mtok(arm_usd_per_hour, goodput),
        "forward_ratio": _ratio(measured.num_forwarded, len(measured)),
        "schedule_delay_ms": {"p99": _schedule_delay_ms(measured)},
        "fates": _fates(name, measured, attained),
        "by_class": _by_class(measured, attained),
        "by_home": _by_site(measured.home, scenario.sites.count, attained),
        "served_by": served_by(measured, scenario.sites.count),
        "ttft_cdf_ms": cdf_ms(measured),
        "over_time": over_time(measured, attained),
    }
    return found


def compared(
    arms: Mapping[str, Measured], scenario: Scenario, *, base: str = "grid_forwarding"
) -> dict[str, Any]:
    """Differences to `base` in points of attainment and in goodput, from the same requests.

    Only for arms that saw the same requests, row by row; others are left out.
    """
    if base not in arms:
        return {}
    here = arms[base]
    kept = here.attained()
    found: dict[str, Any] = {"base": base}
    for name, other in arms.items():
        if name == base or len(other) != len(here) or not len(here):
            continue
        theirs = other.attained()
        difference = (kept.astype(np.float64) - theirs) * 100.0
        good = here.output_tokens[kept].sum()
        found[name] = {
            "attained_points": round(float(difference.mean()), 3),
            "attained_points_ci95": _rounded(
                resampling.interval(here.sent_s, _mean_of(difference), seed=scenario.seed)
            ),
            "goodput_ratio": _ratio(int(good), int(other.output_tokens[theirs].sum())),
        }
    return found


def ttft_ms(measured: Measured, seed: int) -> dict[str, Any]:
    """Percentiles of the answered, of the whole run; the interval by blocks of time."""
    answered = ~np.isnan(measured.first_token_s)
    first_s, sent_s = measured.first_token_s[answered], measured.sent_s[answered]
    found: dict[str, Any] = {"n": len(first_s)}
    for quantile in (50, 90, 99):
        found[f"p{quantile}"] = _quantile_ms(first_s, quantile)
    bounds = resampling.interval(
        sent_s, lambda rows: float(np.percentile(first_s[rows], 99)), seed=seed
    )
    found["p99_ci95"] = None if bounds is None else [round(1e3 * bound, 2) for bound in bounds]
    found["p99_is_certain"] = len(first_s) >= MIN_NUM_P99
    return found


def over_time(measured: Measured, attained: NDArray[np.bool_]) -> dict[str, Any]:
    """Per second of intended send: offered, attained, and the P99 of the answered in ms."""
    num = max(1, int(np.ceil(measured.duration_s / PERIOD_S)))
    period = np.minimum((measured.sent_s / PERIOD_S).astype(np.int64), num - 1)
    edges = np.searchsorted(period, np.arange(1, num))
    first = np.split(measured.first_token_s, edges)
    return {
        "period_s": PERIOD_S,
        "offered": np.bincount(period, minlength=num).tolist(),
        "attained": np.bincount(period[attained], minlength=num).tolist(),
        "ttft_p99_ms": [_quantile_ms(part[~np.isnan(part)], 99) for part in first],
    }


def cdf_ms(measured: Measured) -> list[float | None]:
    """The time by which 0.5 %, 1 %, … 99.5 % of all *offered* requests had their first token;
    None past the last of them: what was shed never had one.
    """
    first_s = np.sort(measured.first_token_s)  # NaN goes to the end
    if not len(first_s):
        return []
    places = np.ceil(np.arange(1, _CDF_STEPS) / _CDF_STEPS * len(first_s)).astype(np.int64) - 1
    return [None if np.isnan(s) else round(1e3 * float(s), 2) for s in first_s[places]]


def served_by(measured: Measured, num_sites: int) -> list[list[int]] | None:
    """Answered requests by home (rows) and by who answered (columns); None of many sites."""
    if num_sites > _MAX_NUM_SITES_SHOWN:
        return None
    answered = measured.served_by >= 0
    pairs = measured.home[answered] * num_sites + measured.served_by[answered]
    counts = np.bincount(pairs, minlength=num_sites * num_sites)
    return [[int(n) for n in row] for row in counts.reshape(num_sites, num_sites)]


def share(chosen: NDArray[np.bool_]) -> float | None:
    """The part that is true; None of nothing."""
    return round(float(chosen.mean()), 6) if len(chosen) else None


def _attained_interval(
    measured: Measured, attained: NDArray[np.bool_], seed: int
) -> tuple[float, float] | None:
    return resampling.interval(measured.sent_s, _mean_of(attained.astype(np.float64)), seed=seed)


def _mean_of(values: NDArray[np.float64]) -> Callable[[NDArray[np.int64]], float]:
    return lambda rows: float(values[rows].mean())


def _fates(name: str, measured: Measured, attained: NDArray[np.bool_]) -> dict[str, float | None]:
    """What became of requests, as parts of all; in a pool everything in time is at home."""
    is_home = (measured.served_by == measured.home) | (name in POOLED)
    is_done = measured.fate == Fate.DONE
    is_shed = measured.fate == Fate.SHED
    return {
        "at_home": share(attained & is_home),
        "elsewhere": share(attained & ~is_home),
        "late": share(is_done & ~attained),
        "shed": share(is_shed),
        "failed": share(~is_done & ~is_shed),
    }


def _by_class(measured: Measured, attained: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """A row per SLO: its class may occur with several."""
    found = []
    for index, slo in enumerate(measured.slos):
        rows = measured.slo == index
        first_s = measured.first_token_s[rows]
        first_s = first_s[~np.isnan(first_s)]
        found.append(
            {
                "class": slo.turn_class.value,
                "limit_ms": None if slo.first_token_s is None else 1e3 * slo.first_token_s,
                "offered": int(rows.sum()),
                "attained": share(attained[rows]),
                "ttft_p99_ms": _quantile_ms(first_s, 99),
            }
        )
    return found


def _by_site(
    home: NDArray[np.int64], num_sites: int, attained: NDArray[np.bool_]
) -> list[float | None] | None:
    if num_sites > _MAX_NUM_SITES_SHOWN:
        return None
    return [share(attained[home == site]) for site in range(num_sites)]


def _schedule_delay_ms(measured: Measured) -> float:
    delay_s = measured.schedule_delay_s
    return 0.0 if delay_s is None else (_quantile_ms(delay_s, 99) or 0.0)


def _quantile_ms(samples_s: NDArray[np.float64], percent: int) -> float | None:
    if not len(samples_s):
        return None
    value = np.percentile(samples_s, percent, method="inverted_cdf")
    return round(float(value) * 1e3, 2)


def _ratio(count: int, whole: int) -> float | None:
    return round(count / whole, 6) if whole else None


def _rounded(bounds: tuple[float, float] | None) -> list[float] | None:
    return None if bounds is None else [round(bound, 6) for bound in bounds]
