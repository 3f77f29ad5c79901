"""The report's pictures, each from a part of the summary."""

from __future__ import annotations

from html import escape
from typing import Any

from loadtests.comparison.svg import Bar, Plot, bars, stacked
from loadtests.comparison.words import css_of, number, percent

_SMOOTH_S = 3
"""Attainment is drawn as the mean of so many seconds: one holds few turns."""
_CDF_ROOM = 1.5
"""The time axis of first tokens ends at so many times the tightest budget, at least."""
_FATES = {
    "at_home": "in time, at the client's site or the pool",
    "elsewhere": "in time, at another site",
    "late": "answered late",
    "shed": "shed",
    "failed": "failed or unfinished",
}


def key(summary: dict[str, Any]) -> str:
    """Which colour is which arm."""
    return _key({css_of(name): name for name in summary["arms"]})


def attained_over_time(summary: dict[str, Any]) -> str:
    """Lines per arm over the offered load, with surges and faults behind."""
    shape, arms = summary["shape"], summary["arms"]
    lowest = 1.0
    lines = {}
    for name, arm in arms.items():
        lines[name] = _smoothed(arm["over_time"])
        lowest = min([lowest, *(y for _, y in lines[name] if y is not None)])
    plot = Plot(
        "Attainment over time",
        "seconds",
        (0.0, shape["duration_s"]),
        (max(0.0, min(0.9, lowest - 0.02)), 1.0),
        lambda y: f"{100 * y:.0f} %",
    )
    first = next(iter(arms.values()), None)
    if first is not None:
        offered = _mean_offered(first["over_time"])
        most = max([y for _, y in offered] or [1.0]) or 1.0
        height = (plot.y[1] - plot.y[0]) * 0.35 / most
        plot.area([(x, plot.y[0] + y * height) for x, y in offered], "load")
    for kind, from_s, until_s in shape["faults"]:
        plot.span(from_s, until_s, "fault", f"{kind} from {from_s:g} to {until_s:g} s")
    for from_s, until_s, factor in shape["surges"]:
        plot.span(from_s, until_s, "surge", f"{factor:g} times the load")
    for name, line in lines.items():
        plot.line(line, css_of(name), name)
    plot.level(0.99, "99 %")
    return plot.svg() + _backgrounds(shape)


def first_token_cdf(summary: dict[str, Any]) -> str:
    """The share of all offered by the time of their first token."""
    limits = {
        kind["limit_ms"]
        for arm in summary["arms"].values()
        for kind in arm["by_class"]
        if kind["limit_ms"] is not None
    }
    p99s = [arm["ttft_ms"]["p99"] or 0.0 for arm in summary["arms"].values()]
    near = min(limits, default=1000.0) * _CDF_ROOM
    end = max(near, min(max(p99s, default=0.0) * 1.1, near * 4.0))
    plot = Plot(
        "Time to the first token",
        "milliseconds from the intended send",
        (0.0, round(end, -2) or end),
        (0.0, 1.0),
        lambda y: f"{100 * y:.0f} %",
    )
    for name, arm in summary["arms"].items():
        cdf = arm["ttft_cdf_ms"]
        steps = len(cdf) + 1
        points: list[tuple[float, float | None]] = [
            (ms, (place + 1) / steps)
            for place, ms in enumerate(cdf)
            if ms is not None and ms <= plot.x[1]
        ]
        plot.line(points, css_of(name), name)
    for limit in sorted(limits):
        if limit <= plot.x[1]:
            plot.mark(limit, f"budget {limit:g} ms")
    return plot.svg()


def fates(summary: dict[str, Any]) -> str:
    """What became of all requests, an arm a bar."""
    rows = [
        (name, [(fate, arm["fates"][fate] or 0.0) for fate in _FATES])
        for name, arm in summary["arms"].items()
    ]
    return stacked("What became of requests", rows) + _key(_FATES)


def cost(summary: dict[str, Any]) -> str:
    """Dollars for a million tokens in time."""
    return bars(
        "Cost of a million tokens in time",
        [
            Bar(name, css_of(name), arm["usd_per_mtok"], f"$ {number(arm['usd_per_mtok'], 2)}")
            for name, arm in summary["arms"].items()
        ],
    )


def sustainable(summary: dict[str, Any]) -> str:
    """The highest load that each arm sustains, with its interval."""
    return bars(
        "Maximum sustainable load",
        [
            Bar(
                name,
                css_of(name),
                found["rate_hz"],
                f"{number(found['rate_hz'], 1)} / s ({percent(found['of_pool'])} of pool)"
                if found.get("of_pool") is not None
                else f"{number(found['rate_hz'], 1)} / s",
                found["rate_hz_ci95"],
            )
            for name, found in summary["sustainable"]["arms"].items()
        ],
        width=760.0,
    )


def _smoothed(course: dict[str, Any]) -> list[tuple[float, float | None]]:
    offered, attained, period_s = course["offered"], course["attained"], course["period_s"]
    line: list[tuple[float, float | None]] = []
    for place in range(len(offered)):
        some = slice(max(0, place - _SMOOTH_S + 1), place + 1)
        num = sum(offered[some])
        line.append(((place + 0.5) * period_s, sum(attained[some]) / num if num else None))
    return line


def _mean_offered(course: dict[str, Any]) -> list[tuple[float, float]]:
    offered, period_s = course["offered"], course["period_s"]
    return [((place + 0.5) * period_s, float(num)) for place, num in enumerate(offered)]


def _backgrounds(shape: dict[str, Any]) -> str:
    found = {"load": "offered load"}
    if shape["surges"]:
        found["surge"] = "surge"
    if shape["faults"]:
        found["fault"] = "fault"
    return _key(found)


def _key(names: dict[str, str]) -> str:
    items = "".join(
        f'<span><svg viewBox="0 0 10 10"><rect class="{css}" width="10" height="10"/></svg>'
        f"{escape(name)}</span>"
        for css, name in names.items()
    )
    return f'<div class="key">{items}</div>'
