"""How busy the host was during a measurement."""

from __future__ import annotations

from pathlib import Path

MAX_BUSY_RATIO = 0.7
"""A host that is busier measures its own scheduling: a live run does not count above this."""


class HostMeter:
    """The share of all cores' time that was not idle since `start`."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin, or begin again."""
        self._busy, self._total = _ticks()

    def busy_ratio(self) -> float:
        """0 to 1."""
        busy, total = _ticks()
        return round((busy - self._busy) / max(1, total - self._total), 3)


def _ticks() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)
