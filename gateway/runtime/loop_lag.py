"""How long an event loop keeps waiting what is due."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL_S = 0.02


async def watch_loop_lag(observe: Callable[[float], None]) -> None:
    """Tell `observe` every INTERVAL_S by how many seconds a timer was late; until cancelled.

    uvloop counts in whole milliseconds, so one figure may be off by that much.
    """
    while True:
        due_s = time.monotonic() + INTERVAL_S
        await asyncio.sleep(INTERVAL_S)
        observe(max(0.0, time.monotonic() - due_s))
