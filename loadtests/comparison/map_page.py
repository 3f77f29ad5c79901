"""The page of a sweep: the crossover map and what it rests on."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from loadtests.comparison.report import document, table
from loadtests.comparison.words import number

if TYPE_CHECKING:
    from collections.abc import Sequence


def map_page(result: dict[str, Any]) -> str:
    """The page of a sweep's `summary.json`."""
    cells = result["cells"]
    title = f"{escape(result['scenario'])} · Firsthop crossover map"
    return document(
        title,
        "".join(
            (
                f"<h1>{escape(result['scenario'])}: where the grid wins, and where the pool</h1>",
                f'<p class="claim">Claim under test: {escape(result["claim"] or "none")}.</p>',
                '<p class="soft">In virtual time, with the gateway\'s own decision code. A load is '
                "sustained when 99 % of every class are in time and the P99 of the answered is "
                "within its budget. Intervals are 95 %, over seeds or blocks of time.</p>",
                _partial(result),
                "<h2>Forwarding grid over central pool, by round trip</h2>",
                "<p>The ratio of sustained loads. It is also the edge price premium: an edge "
                "accelerator may cost so many times a central one before the grid stops "
                "paying.</p>",
                _KEY,
                _ratio_map(cells),
                "<h2>What forwarding is worth</h2>",
                "<p>Sustained loads in turns a second of all sites. Exact state: a site that "
                "saw every engine as it is now would be as far away; what it lacks of the pool is "
                "the distance's part, what forwarding lacks of it is the decision's.</p>",
                _forwarding(cells),
                "<h2>In time at the same load</h2>",
                "<p>Points of attainment by which the forwarding grid is ahead of the pool; "
                "load 1 keeps every accelerator busy without a pause.</p>",
                _KEY,
                _point_map(cells),
                f"<h2>How this was run</h2><dl><dt>command</dt><dd>{escape(result['command'])}"
                f"</dd><dt>seeds</dt><dd>{result['num_seeds']} from {result['seed']}</dd>"
                f"<dt>commit</dt><dd>{escape(result['commit'])}</dd>"
                f"<dt>machine</dt><dd>{escape(str(result['machine']['cpu']))}</dd></dl>",
            )
        ),
    )


_KEY = (
    '<div class="key"><span class="cell wins">the grid wins</span>'
    '<span class="cell loses">the pool wins</span>'
    '<span class="cell even">no difference shown</span></div>'
)


def _partial(result: dict[str, Any]) -> str:
    if not result["partial"]:
        return ""
    return '<p class="warn">Partial: the sweep ended before its end.</p>'


def _condition(cell: dict[str, Any]) -> str:
    hot = cell["hot_ratio"]
    skew = "even" if hot is None else f"{100 * hot:.0f} % at one site"
    return f"<b>{skew}</b>, {escape(cell['burst'])}"


def _ratio_map(cells: Sequence[dict[str, Any]]) -> str:
    rtts_ms = [entry["rtt_ms"] for entry in cells[0]["central"]] if cells else []
    rows = []
    for cell in cells:
        none = _WON if cell["forwarding"][0]["rate_hz"] else _NOBODY
        shown = [
            _coloured(entry["forwarding_over_central"], 1.0, 3, none=none)
            for entry in cell["central"]
        ]
        crossing = cell["crossover_rtt_ms"]
        rows.append((_condition(cell), *shown, _crossing(crossing, rtts_ms)))
    heads = [f"{rtt_ms:g} ms" for rtt_ms in rtts_ms]
    return table(("load", *heads, "grid wins from"), rows)


def _crossing(found: dict[str, Any], rtts_ms: Sequence[float]) -> str:
    if found["mean"] is None:
        some = [rtt_ms for rtt_ms in found["by_seed"] if rtt_ms is not None]
        return f"on {len(some)} of {len(found['by_seed'])} seeds" if some else "nowhere here"
    if found["mean"] == rtts_ms[0]:
        return f"{rtts_ms[0]:g} ms or less"
    bounds = found["ci95"]
    interval = f" <small>{bounds[0]:.0f} to {bounds[1]:.0f}</small>" if bounds else ""
    return f"{found['mean']:.0f} ms{interval}"


def _forwarding(cells: Sequence[dict[str, Any]]) -> str:
    rtts_ms = [entry["site_rtt_ms"] for entry in cells[0]["forwarding"]] if cells else []
    rows = [
        (
            _condition(cell),
            number(cell["pool"]["rate_hz"], 1),
            number(cell["grid"]["rate_hz"], 1),
            *(
                f"{number(entry['rate_hz'], 1)} <small>{_share(entry['of_pool'])} of pool, "
                f"{_share(entry['of_exact_state'])} of exact state</small>"
                for entry in cell["forwarding"]
            ),
            _times(cell["forwarding_over_grid"]),
        )
        for cell in cells
    ]
    heads = [f"forwarding, sites {rtt_ms:g} ms apart" for rtt_ms in rtts_ms]
    return table(("load", "pool, no distance", "grid", *heads, "forwarding / grid"), rows)


def _point_map(cells: Sequence[dict[str, Any]]) -> str:
    rows = []
    rtts_ms: list[float] = []
    for cell in cells:
        by_load: dict[float, list[dict[str, Any]]] = {}
        for entry in cell["at_load"]:
            by_load.setdefault(entry["load"], []).append(entry)
        for load, entries in by_load.items():
            rtts_ms = [entry["rtt_ms"] for entry in entries]
            shown = [
                _coloured({"mean": entry["points"], "ci95": entry["ci95"]}, 0.0, 2)
                for entry in entries
            ]
            kept = entries[0]["forwarding"]
            rows.append((_condition(cell), f"{load:g}", f"{100 * kept:.2f} %", *shown))
    heads = [f"{rtt_ms:g} ms" for rtt_ms in rtts_ms]
    return table(("clients", "load", "forwarding attains", *heads), rows)


_NOBODY = '<span class="cell even">–</span>'
_WON = '<span class="cell wins">∞</span>'


def _coloured(found: dict[str, Any], neutral: float, digits: int, *, none: str = _NOBODY) -> str:
    """A figure with its interval, coloured where the interval leaves the neutral value out."""
    mean, bounds = found["mean"], found["ci95"]
    if mean is None:
        return none
    low, high = bounds or (mean, mean)
    kind = "wins" if low > neutral else "loses" if high < neutral else "even"
    digits = digits if abs(mean) < 10.0 else 0
    interval = f" <small>{low:.{digits}f} to {high:.{digits}f}</small>" if bounds else ""
    return f'<span class="cell {kind}">{mean:.{digits}f}{interval}</span>'


def _share(found: dict[str, Any]) -> str:
    return "–" if found["mean"] is None else f"{100 * found['mean']:.1f} %"


def _times(found: dict[str, Any]) -> str:
    return "–" if found["mean"] is None else f"{found['mean']:.2f}×"
