"""Termination signals as an event."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def termination(on_reload: Callable[[], None] | None = None) -> Iterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets; SIGHUP calls `on_reload`.

    Must be entered in the running loop of the main thread; the handlers are gone afterwards.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGTERM: asked.set,
        signal.SIGINT: asked.set,
    }
    if on_reload is not None:
        handlers[signal.SIGHUP] = on_reload
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield asked
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
