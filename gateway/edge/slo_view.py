"""How a site keeps its objectives: what `/v1/slo` serves. Times are ms where names say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.slo import BURN_RULES
from gateway.edge.turn_view import optional_ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.slo import ClassState, WindowState


class WindowView(msgspec.Struct, frozen=True):
    """The turns with a budget of one sliding window."""

    window: str
    num_met: int
    num_missed: int
    attainment_ratio: float | None
    """None while there were no turns."""
    burn_rate: float | None


class RuleView(msgspec.Struct, frozen=True):
    """A burn-rate rule, and whether it fires."""

    name: str
    windows_s: tuple[float, float]
    rate: float
    is_burning: bool


class FirstContentView(msgspec.Struct, frozen=True):
    """Time to the first content over the last minute, to 2.2 %."""

    num: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None


class ClassView(msgspec.Struct, frozen=True):
    """One class."""

    objective_ratio: float
    windows: list[WindowView]
    rules: list[RuleView]
    first_content: FirstContentView


class SloView(msgspec.Struct, frozen=True):
    """All classes of one site."""

    site: str
    classes: dict[TurnClass, ClassView]


def slo_view(site: str, states: Iterable[ClassState]) -> SloView:
    """The states of this moment, as people read them."""
    return SloView(site, {state.turn_class: _class(state) for state in states})


def _class(state: ClassState) -> ClassView:
    latencies = state.first_content
    return ClassView(
        objective_ratio=state.objective_ratio,
        windows=[_window(window) for window in state.windows],
        rules=[
            RuleView(rule.name, (rule.short_s, rule.long_s), rule.rate, rule.name in state.burning)
            for rule in BURN_RULES
        ],
        first_content=FirstContentView(
            latencies.num_values,
            *(optional_ms(latencies.quantile_s(quantile)) for quantile in (0.5, 0.9, 0.99)),
        ),
    )


def _window(window: WindowState) -> WindowView:
    attainment = window.tally.attainment
    return WindowView(
        window=window.label,
        num_met=window.tally.met,
        num_missed=window.tally.missed,
        attainment_ratio=None if attainment is None else round(attainment, 6),
        burn_rate=None if window.burn_rate is None else round(window.burn_rate, 4),
    )
