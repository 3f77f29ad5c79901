"""Termination and reload signals as events."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator


class Signals(msgspec.Struct, frozen=True):
    """What the process was asked for from outside."""

    end: asyncio.Event
    """SIGTERM or SIGINT came."""
    cut: asyncio.Event
    """SIGINT came after that: what still runs shall not be waited for."""
    reload: asyncio.Event
    """SIGHUP came; whoever serves it clears it."""


@contextmanager
def signals() -> Iterator[Signals]:
    """Catch signals in the running loop of the main thread.

    Enter it around the whole life of the process's work: a second SIGTERM during the clean-up
    must not cut it short.
    """
    loop = asyncio.get_running_loop()
    asked = Signals(asyncio.Event(), asyncio.Event(), asyncio.Event())

    def interrupt() -> None:
        (asked.cut if asked.end.is_set() else asked.end).set()

    handlers = {
        signal.SIGTERM: asked.end.set,
        signal.SIGINT: interrupt,
        signal.SIGHUP: asked.reload.set,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield asked
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
