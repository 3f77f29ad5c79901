"""How reports put names and numbers."""

from __future__ import annotations

ARM_WORDS = {
    "central": "all accelerators at one remote place, one exact router before them",
    "central_regional": "the same, nearer",
    "central_edge_media": "the pool far away, the media of calls at the sites",
    "grid": "an accelerator at every site, each for itself",
    "grid_forwarding": "an accelerator at every site, offering each other what does not fit",
    "pool": "reference: all accelerators together, as near to clients as their own sites",
}
_CSS = {
    "grid": "grid_alone",  # `grid` are the lines behind a plot
    "grid_forwarding": "grid_forwarding",
    "shipped": "grid_forwarding",
    "central": "central",
    "central_regional": "central_regional",
    "central_edge_media": "central_edge_media",
}


def css_of(arm: str) -> str:
    """The class of an arm's colour."""
    return _CSS.get(arm, "other")


def number(value: float | None, digits: int = 0) -> str:
    """With thin spaces between thousands; a dash for none."""
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", "\u2009")


def percent(ratio: float | None) -> str:
    """With two decimals; a dash for none."""
    return "–" if ratio is None else f"{100 * ratio:.2f} %"
