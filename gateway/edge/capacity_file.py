"""A file in which whatever minds the site's power says how much of its capacity is left."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_log = logging.getLogger(__name__)

_LOOK_INTERVAL_S = 0.25
_MAX_CHARS = 64


async def follow_capacity_file(path: Path, set_capacity: Callable[[float], object]) -> None:
    """Until cancelled, do what the file says whenever that has changed: a number, 0 to 1.

    No file means all of the capacity. What cannot be read changes nothing, and is logged.
    """
    known: str | Exception = "1"
    while True:
        said = await asyncio.to_thread(_read, path)
        if str(said) != str(known):
            known = said
            try:
                set_capacity(_ratio(said))
            except (OSError, ValueError) as error:
                _log.error("%s: the capacity stays as it is: %s", path, error)
        await asyncio.sleep(_LOOK_INTERVAL_S)


def _read(path: Path) -> str | Exception:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_MAX_CHARS).strip()
    except FileNotFoundError:
        return "1"
    except (OSError, UnicodeDecodeError) as error:
        return error


def _ratio(said: str | Exception) -> float:
    """Raises ValueError, OSError."""
    if isinstance(said, Exception):
        raise said
    ratio = float(said)
    if not 0.0 <= ratio <= 1.0:
        raise ValueError(f"a capacity is 0 to 1, not {said}")
    return ratio
