"""The grid drawn as text: all sites, how busy each is and how it keeps its promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.slo import BURN_RULES

if TYPE_CHECKING:
    from gateway.cli.ink import Ink
    from gateway.edge.grid_view import ClassServiceView, GridView, PeerView, ServiceView

_SHOWN_CLASSES = (TurnClass.VOICE, TurnClass.AGENT)
_CLASS_COLUMNS = 24


class SiteNow(msgspec.Struct, frozen=True):
    """What `/v1/site` says of the moment, as far as it is shown."""

    num_turns_active: int
    draining: bool


class EngineNow(msgspec.Struct, frozen=True):
    """What it says of the engine."""

    num_slots: int
    num_active: int
    num_queued: int


class SiteState(msgspec.Struct, frozen=True):
    """`/v1/site`, as far as it is shown."""

    site: str
    region: str
    version: str
    now: SiteNow
    engine: EngineNow | None


def draw_grid(grid: GridView, own: SiteState, ink: Ink) -> list[str]:
    """The grid's lines: its sum, then a line for each site, this one first."""
    where = f" in {own.region}" if own.region else ""
    lines = [
        f"{ink.strong(grid.site)}{where}, firsthop {own.version}: {own.now.num_turns_active} turns"
        f" of its own callers, {grid.num_turns_for_peers} for peers",
        f"{grid.num_sites_in_total} of {1 + len(grid.peers)} sites in the sum,"
        f" {grid.total.answer_tokens_per_s:.1f} tokens/s",
    ]
    if grid.fabric is not None and not grid.fabric.joined:
        lines.append(ink.bad("the fabric is away"))
    head = _head("site", "state", "age", "rtt", "free") + f" {'tok/s':>6}"
    class_head = f"{'met %':>5} {'p50':>6} {'p99':>6} {'burn':>4}"
    classes = [f"{one:>{_CLASS_COLUMNS // 2 + 3}}".ljust(_CLASS_COLUMNS) for one in _SHOWN_CLASSES]
    lines += ["", "  ".join([" " * len(head), *classes]).rstrip()]
    lines.append(ink.faint("  ".join([head, *(class_head for _ in _SHOWN_CLASSES)])))
    lines.append(_row(_head("all", "", "", "", ""), grid.total, ink))
    lines.append(_row(_own_head(own), grid.own, ink))
    lines += [
        _row(_peer_head(peer), peer.service, ink)
        for peer in sorted(grid.peers, key=lambda peer: peer.site)
    ]
    return lines


def _own_head(own: SiteState) -> str:
    free = "-"
    if own.engine is not None:
        free = f"{own.engine.num_slots - own.engine.num_active}/{own.engine.num_slots}"
    return _head(own.site, "draining" if own.now.draining else "here", "", "", free)


def _peer_head(peer: PeerView) -> str:
    report, free = peer.report, "-"
    if report is not None:
        free = f"{report.num_free}/{report.num_slots}"
    age_ms = peer.age_ms if report is None else report.age_ms
    return _head(peer.site, peer.state, _ms(age_ms), _ms(peer.rtt_ms), free)


def _head(site: str, state: str, age: str, rtt: str, free: str) -> str:
    return f"{site:<12} {state:<8} {age:>6} {rtt:>6} {free:>5}"


def _row(head: str, service: ServiceView | None, ink: Ink) -> str:
    if service is None:
        return head
    cells = [f"{head} {service.answer_tokens_per_s:>6.1f}"]
    cells += [_class(service.classes[one], ink) for one in _SHOWN_CLASSES]
    return "  ".join(cells)


def _class(service: ClassServiceView, ink: Ink) -> str:
    met = "-" if service.attainment_ratio is None else f"{100 * service.attainment_ratio:.1f}"
    burn = "-" if service.burn_rate_1m is None else f"{service.burn_rate_1m:.3g}"
    text = f"{met:>5} {_ms(service.p50_ms):>6} {_ms(service.p99_ms):>6} {burn:>4}"
    if service.burn_rate_1m is None or service.burn_rate_1m <= 1.0:
        return text
    fast = BURN_RULES[0].rate
    return ink.bad(text) if service.burn_rate_1m >= fast else ink.strong(text)


def _ms(figure_ms: float | None) -> str:
    """A time in at most six characters."""
    if figure_ms is None:
        return "-"
    if figure_ms >= 9_999.5:
        return f"{figure_ms / 1e3:.0f}s"
    return f"{figure_ms:.1f}ms" if figure_ms < 99.95 else f"{figure_ms:.0f}ms"
