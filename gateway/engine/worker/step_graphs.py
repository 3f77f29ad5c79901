"""Which captured graph a decode step replays.

A decode step launches a dozen small kernels for each layer, which takes longer than they do. Where
a processor can capture them, the first step of its kind is recorded and later ones are replayed. A
replay repeats the launches as they were, and the launches of attention depend on the length that it
was told. So steps are told a rounded one, and there is a graph for each number of rows and each
rounded length; what attention reads of a row is bounded by the row's own length all the same.
"""

from __future__ import annotations

from typing import Any

from gateway.engine.worker.session import run_options

_SHORTEST_TOKENS = 256


class StepGraphs:
    """The graphs of one session, captured when they are first needed."""

    def __init__(self, max_context_tokens: int) -> None:
        self.none = run_options()
        """For runs of any other shape."""
        self._max_context_tokens = max_context_tokens
        self._options: dict[tuple[int, int], Any] = {}
        """By number of rows and length."""

    def length(self, total: int) -> int:
        """The length that a step is told whose longest row then has `total` positions."""
        rounded = _SHORTEST_TOKENS
        while rounded < total:
            rounded *= 2
        return min(rounded, self._max_context_tokens)

    def options(self, num_rows: int, total: int) -> Any:
        """For a step of so many rows, from the first row on."""
        key = num_rows, self.length(total)
        if key not in self._options:
            self._options[key] = run_options(len(self._options) + 1)
        return self._options[key]
