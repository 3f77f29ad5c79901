"""Plots as SVG text: axes, lines, bands and bars, coloured by classes of the page's style."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 14.0, 14.0, 38.0
_NUM_TICKS = 5
_CHARACTER_WIDTH = 7.0
"""Of a label, at most: its font is not known here."""


@dataclass(slots=True)
class Plot:
    """One pair of axes. Everything outside them is cut off."""

    title: str
    """For those who cannot see it."""
    x_label: str
    x: tuple[float, float]
    y: tuple[float, float]
    y_text: Callable[[float], str]
    width: float = 640.0
    height: float = 260.0
    _parts: list[str] = field(default_factory=list)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """A point in pixels."""
        (x0, x1), (y0, y1) = self.x, self.y
        right, bottom = self.width - _RIGHT, self.height - _BOTTOM
        across = (x - x0) / (x1 - x0) if x1 > x0 else 0.0
        up = (y - y0) / (y1 - y0) if y1 > y0 else 0.0
        return _LEFT + across * (right - _LEFT), bottom - up * (bottom - _TOP)

    def line(self, points: Sequence[tuple[float, float | None]], css: str, name: str = "") -> None:
        """A line that breaks where there is no value."""
        for is_gap, run in groupby(points, lambda point: point[1] is None):
            if is_gap:
                continue
            path = " ".join("{:.1f},{:.1f}".format(*self.at(x, y)) for x, y in run if y is not None)
            self._parts.append(
                f'<polyline class="line {css}" points="{path}"><title>{escape(name)}</title>'
                "</polyline>"
            )

    def area(self, points: Sequence[tuple[float, float]], css: str) -> None:
        """What lies under a line."""
        if not points:
            return
        ends = [(points[-1][0], self.y[0]), (points[0][0], self.y[0])]
        path = " ".join("{:.1f},{:.1f}".format(*self.at(*point)) for point in [*points, *ends])
        self._parts.insert(0, f'<polygon class="{css}" points="{path}"/>')

    def span(self, from_x: float, to_x: float, css: str, name: str) -> None:
        """A stretch of the x axis, over the whole height."""
        left, top = self.at(max(from_x, self.x[0]), self.y[1])
        right, bottom = self.at(min(to_x, self.x[1]), self.y[0])
        self._parts.insert(
            0,
            f'<rect class="{css}" x="{left:.1f}" y="{top:.1f}" width="{max(1.0, right - left):.1f}"'
            f' height="{bottom - top:.1f}"><title>{escape(name)}</title></rect>',
        )

    def mark(self, x: float, text: str) -> None:
        """An upright line with a word."""
        left, top = self.at(x, self.y[1])
        bottom = self.at(x, self.y[0])[1]
        self._parts.append(
            f'<line class="mark" x1="{left:.1f}" x2="{left:.1f}" y1="{top:.1f}" y2="{bottom:.1f}"/>'
            f'<text class="tick" x="{left + 4:.1f}" y="{top + 10:.1f}">{escape(text)}</text>'
        )

    def level(self, y: float, text: str) -> None:
        """A line across with a word."""
        left, top = self.at(self.x[0], y)
        right = self.at(self.x[1], y)[0]
        self._parts.append(
            f'<line class="mark" x1="{left:.1f}" x2="{right:.1f}" y1="{top:.1f}" y2="{top:.1f}"/>'
            f'<text class="tick" x="{left + 4:.1f}" y="{top + 12:.1f}">{escape(text)}</text>'
        )

    def svg(self) -> str:
        """The whole picture."""
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" '
            f'aria-label="{escape(self.title)}">{self._grid()}{"".join(self._parts)}</svg>'
        )

    def _grid(self) -> str:
        made = []
        for step in range(_NUM_TICKS + 1):
            y = self.y[0] + (self.y[1] - self.y[0]) * step / _NUM_TICKS
            left, top = self.at(self.x[0], y)
            right = self.at(self.x[1], y)[0]
            made.append(
                f'<line class="grid" x1="{left:.1f}" x2="{right:.1f}" y1="{top:.1f}" '
                f'y2="{top:.1f}"/><text class="tick end" x="{left - 6:.1f}" y="{top + 4:.1f}">'
                f"{escape(self.y_text(y))}</text>"
            )
            x = self.x[0] + (self.x[1] - self.x[0]) * step / _NUM_TICKS
            across, bottom = self.at(x, self.y[0])
            made.append(
                f'<text class="tick mid" x="{across:.1f}" y="{bottom + 16:.1f}">{x:g}</text>'
            )
        middle = (_LEFT + self.width - _RIGHT) / 2.0
        made.append(
            f'<text class="tick mid" x="{middle:.1f}" y="{self.height - 6:.1f}">'
            f"{escape(self.x_label)}</text>"
        )
        return "".join(made)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, its interval and what is written behind it."""

    name: str
    css: str
    value: float | None
    text: str
    bounds: Sequence[float] | None = None


def bars(title: str, rows: Sequence[Bar], *, width: float = 640.0) -> str:
    """Bars from left to right, all to one scale from 0."""
    row_height, name_width = 30.0, 170.0
    text_width = 16.0 + _CHARACTER_WIDTH * max((len(row.text) for row in rows), default=0)
    ends = [max(row.value or 0.0, *(row.bounds or (0.0,))) for row in rows]
    most = max([*ends, 1e-9])
    room = width - name_width - text_width
    made = []
    for number, row in enumerate(rows):
        top = number * row_height + 4.0
        length = (row.value or 0.0) / most * room
        made.append(
            f'<text class="label end" x="{name_width - 8:.1f}" y="{top + 15:.1f}">'
            f'{escape(row.name)}</text><rect class="bar {row.css}" x="{name_width}" y="{top:.1f}" '
            f'width="{length:.1f}" height="20" rx="2"/>'
        )
        end = length
        if row.bounds is not None:
            low, high = (name_width + max(0.0, bound) / most * room for bound in row.bounds)
            made.append(
                f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{top + 10:.1f}" '
                f'y2="{top + 10:.1f}"/>'
            )
            end = max(length, high - name_width)
        made.append(
            f'<text class="label" x="{name_width + end + 8:.1f}" y="{top + 15:.1f}">'
            f"{escape(row.text)}</text>"
        )
    height = len(rows) * row_height
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}">'
        f"{''.join(made)}</svg>"
    )


def stacked(
    title: str, rows: Sequence[tuple[str, Sequence[tuple[str, float]]]], *, width: float = 640.0
) -> str:
    """Bars of parts of a whole: (name, [(css class, share)])."""
    row_height, name_width = 30.0, 170.0
    room = width - name_width - 10.0
    made = []
    for number, (name, parts) in enumerate(rows):
        top, left = number * row_height + 4.0, name_width
        made.append(
            f'<text class="label end" x="{name_width - 8:.1f}" y="{top + 15:.1f}">'
            f"{escape(name)}</text>"
        )
        for css, share in parts:
            length = share * room
            made.append(
                f'<rect class="part {css}" x="{left:.2f}" y="{top:.1f}" width="{length:.2f}" '
                f'height="20"><title>{escape(css)}: {100 * share:.2f} %</title></rect>'
            )
            left += length
    return (
        f'<svg viewBox="0 0 {width:g} {len(rows) * row_height:g}" role="img" '
        f'aria-label="{escape(title)}">{"".join(made)}</svg>'
    )
