"""Collects what is wrong with a configuration, so that one run tells all of it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.core.errors import ConfigError, SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Complaints:
    """What checks complained about; `end` raises it as one ConfigError, a line each."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    @contextmanager
    def noting(self, place: str = "") -> Iterator[None]:
        """Note the block's SetupError, with `place` (origin and key) in front, and go on."""
        try:
            yield
        except SetupError as error:
            self._lines.append(f"{place}: {error}" if place else str(error))

    def end(self) -> None:
        """Raises ConfigError when there was any."""
        if self._lines:
            raise ConfigError("\n".join(self._lines))
