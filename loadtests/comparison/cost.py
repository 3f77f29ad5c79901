"""What tokens in time cost, and at which price of the edge the grid stops paying.

    usd_per_mtok = (accelerators x usd_per_hour / 3600) / goodput_tok_per_s x 1e6

Goodput counts the tokens of answers that kept their SLO, so idle hours, capacity held back for a
lost site, and tokens that were given and thrown away are all paid for by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtests.sim.arms import ARMS

if TYPE_CHECKING:
    from loadtests.sim.scenario import PricesTable

POOLED = frozenset(name for name, arm in ARMS.items() if arm.is_pooled)
"""Arms whose accelerators are paid at the price of the core."""
_SECONDS_PER_HOUR = 3600.0


def usd_per_hour(arm: str, prices: PricesTable) -> float:
    """Of one accelerator of an arm."""
    return prices.core_usd_per_hour if arm in POOLED else prices.edge_usd_per_hour


def usd_per_mtok(arm_usd_per_hour: float, goodput_tok_per_s: float) -> float | None:
    """Of a whole arm at its price an hour; None where nothing was answered in time."""
    if goodput_tok_per_s <= 0.0:
        return None
    return round(arm_usd_per_hour / _SECONDS_PER_HOUR / goodput_tok_per_s * 1e6, 4)


def break_even_premium(grid_tok_per_s: float, central_tok_per_s: float) -> float | None:
    """The price of an edge accelerator, in core ones, up to which the grid's tokens are no dearer.

    With as many accelerators on both sides it is the ratio of their goodputs. None where the
    centre answers nothing in time: no price is then too high.
    """
    return round(grid_tok_per_s / central_tok_per_s, 4) if central_tok_per_s > 0.0 else None
