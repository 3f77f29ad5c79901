"""`report.html`: a run's summary as one page that needs nothing beside it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtests.comparison import figures
from loadtests.comparison.words import ARM_WORDS, number, percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STYLE = Path(__file__).with_name("report.css")


def page(summary: dict[str, Any]) -> str:
    """The page of a `summary.json`."""
    title = escape(f"{summary['scenario']} · Firsthop load test")
    return document(title, "".join(_body(summary)))


def document(title: str, body: str) -> str:
    """A page with the reports' style in it."""
    style = _STYLE.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head><body>{body}</body></html>\n"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML."""
    titles = "".join(f"<th>{cell}</th>" for cell in head)
    lines = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{titles}</tr>{lines}</table></div>'


def _body(summary: dict[str, Any]) -> list[str]:
    parts = [_head(summary), "<h2>The arms</h2>", _arms(summary)]
    if "sustainable" in summary:
        parts += [
            "<h2>How much load each arm sustains</h2>",
            "<p>The highest offered load at which 99 % of every class are in time and the P99 of "
            "the answered is within its budget, over the run and within each surge; the line is "
            "the 95 % interval over seeds.</p>",
            figures.sustainable(summary),
            _sustained(summary),
        ]
    parts += [
        "<h2>Attained through the run</h2>",
        "<p>The share of turns sent in each second that kept their SLO; below it, in grey, how "
        "many were sent.</p>",
        figures.key(summary),
        figures.attained_over_time(summary),
        "<h2>Time to the first token</h2>",
        "<p>Of all turns offered: a line that ends below 100 % did not answer the rest. For calls "
        "it is the time to the first sound.</p>",
        figures.first_token_cdf(summary),
        "<h2>Where requests went</h2>",
        figures.fates(summary),
        "<h2>Cost of a million tokens in time</h2>",
        "<p>Accelerator hours over tokens of answers that kept their SLO. Idle time, shed turns "
        "and late answers are paid for by these.</p>",
        figures.cost(summary),
        _premiums(summary),
        "<h2>By class</h2>",
        _classes(summary),
    ]
    if summary.get("beside_simulated"):
        parts += ["<h2>Beside the simulator</h2>", _beside_simulated(summary)]
    if summary.get("network", {}).get("paths"):
        parts += ["<h2>The network</h2>", _paths(summary)]
    return [*parts, "<h2>How this was run</h2>", _facts(summary)]


def _head(summary: dict[str, Any]) -> str:
    claim = summary.get("claim") or "no claim stated"
    kind = (
        "Computed in virtual time with the gateway's own decision code; engines follow a "
        "step-time profile."
        if summary["kind"] == "simulated"
        else "Real site processes over an emulated network; engines follow a step-time profile."
    )
    parts = [
        f"<h1>{escape(summary['scenario'])}</h1>",
        f'<p class="claim">Claim under test: {escape(claim)}.</p>',
        f'<p class="soft">{kind} Latency runs from the intended send. Shed and failed turns are '
        "missed.</p>",
    ]
    if summary.get("partial"):
        parts.append('<p class="warn">Partial: the run ended before its end.</p>')
    if not summary["valid"]:
        reasons = "; ".join(map(escape, summary["invalid_because"]))
        parts.append(f'<p class="warn">This run does not count: {reasons}.</p>')
    return "".join(parts)


def _arms(summary: dict[str, Any]) -> str:
    difference = summary.get("comparison", {})
    rows = []
    for name, arm in summary["arms"].items():
        ttft = arm["ttft_ms"]
        versus = difference.get(name, {})
        rows.append(
            (
                f"<b>{escape(name)}</b>",
                percent(arm["attained"]) + _points(arm["attained_ci95"]),
                number(ttft["p50"]),
                number(ttft["p90"]),
                number(ttft["p99"]) + _interval(ttft["p99_ci95"]),
                number(arm["shed"]),
                number(arm["failed"] + arm["unfinished"]),
                number(arm["goodput_tok_per_s"]),
                number(arm["usd_per_mtok"], 2),
                percent(arm["forward_ratio"]),
                _signed(versus.get("attained_points")),
            )
        )
    base = difference.get("base", "")
    head = (
        "arm",
        "attained",
        "P50 ms",
        "P90 ms",
        "P99 ms",
        "shed",
        "lost",
        "goodput tok/s",
        "$ / Mtok",
        "forwarded",
        f"{escape(base)} ahead by, points" if base else "",
    )
    words = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(ARM_WORDS[name])}</dd>"
        for name in summary["arms"]
        if name in ARM_WORDS
    )
    return f"{table(head, rows)}<dl>{words}</dl>"


def _sustained(summary: dict[str, Any]) -> str:
    """Loads and their cost, with one accelerator dead beside them where that was searched."""
    arms = summary["sustainable"]["arms"]
    lost = summary.get("sustainable_with_one_lost", {}).get("arms", {})
    central = arms.get("central", {}).get("rate_hz")
    rows = [
        (
            f"<b>{escape(name)}</b>",
            number(found["rate_hz"], 1),
            percent(found.get("of_pool")) + _points(found.get("of_pool_ci95")),
            number(found["usd_per_mtok"], 3),
            number(found["rate_hz"] / central, 3) if central else "–",
            *(
                (number(lost[name]["rate_hz"], 1), number(lost[name]["usd_per_mtok"], 3))
                if lost
                else ()
            ),
        )
        for name, found in arms.items()
    ]
    head = [
        "arm",
        "turns / s",
        "of the pool without distance",
        "$ / Mtok",
        "may cost, in central's",
    ]
    if lost:
        head += ["turns / s, one dead", "$ / Mtok, N−1"]
    return table(head, rows)


def _classes(summary: dict[str, Any]) -> str:
    rows = [
        (
            f"<b>{escape(name)}</b>",
            escape(kind["class"]),
            "none" if kind["limit_ms"] is None else number(kind["limit_ms"]),
            number(kind["offered"]),
            percent(kind["attained"]),
            number(kind["ttft_p99_ms"]),
        )
        for name, arm in summary["arms"].items()
        for kind in arm["by_class"]
    ]
    return table(("arm", "class", "limit ms", "offered", "attained", "P99 ms"), rows)


def _premiums(summary: dict[str, Any]) -> str:
    found = summary["comparison"].get("break_even_edge_premium", {})
    if not found:
        return ""
    rows = [(escape(pair), number(value, 3)) for pair, value in found.items()]
    return (
        "<p>An edge accelerator may cost so many times a core one before the grid's tokens are "
        "the dearer ones, at the load of this run:</p>"
        + table(("arms", "break-even premium"), rows)
    )


def _beside_simulated(summary: dict[str, Any]) -> str:
    """Of a live run: what virtual time says of the same requests."""
    rows = [
        (
            f"<b>{escape(name)}</b>",
            percent(found["live"]),
            percent(found["simulated"]),
            _signed(found["apart_points"]),
            "yes" if found["is_telling"] else "no: nearly all is late, or nearly nothing",
        )
        for name, found in summary["beside_simulated"].items()
    ]
    head = ("arm", "attained live", "simulated", "apart, points", "is that telling")
    return table(head, rows)


def _paths(summary: dict[str, Any]) -> str:
    rows = [
        (
            f"{escape(str(path['from']))} – {escape(str(path['to']))}",
            number(path["nominal_rtt_ms"], 1),
            number(path["p50_ms"], 2),
            number(path["p99_ms"], 2),
        )
        for path in summary["network"]["paths"]
    ]
    head = ("path", "nominal RTT ms", "P50 ms", "P99 ms")
    return f"<p>{escape(summary['network']['backend'])}</p>{table(head, rows)}"


def _facts(summary: dict[str, Any]) -> str:
    machine = summary["machine"]
    shape = summary["shape"]
    facts: dict[str, Any] = {
        "kind": summary["kind"],
        "backend": summary["backend"],
        "seed": summary["seed"],
        "commit": summary["commit"],
        "machine": f"{machine['cpu']}, {machine['cores']} cores, Python {machine['python']}",
        "shape": ", ".join(f"{key} {value}" for key, value in shape.items() if value is not None),
        **{key: summary[key] for key in ("command", "settings", "wall_s") if key in summary},
    }
    lines = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(str(value))}</dd>" for key, value in facts.items()
    )
    return f"<dl>{lines}</dl>"


def _points(bounds: Sequence[float] | None) -> str:
    if bounds is None:
        return ""
    return f" <small>{100 * bounds[0]:.2f}–{100 * bounds[1]:.2f}</small>"


def _interval(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f" <small>{bounds[0]:.0f}–{bounds[1]:.0f}</small>"


def _signed(points: float | None) -> str:
    return "" if points is None else f"{points:+.2f}"
