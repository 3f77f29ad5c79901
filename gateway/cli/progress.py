"""A line that says what takes so long, on a terminal only and gone when it is done."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEP_S = 0.5
"""Shorter work shows nothing."""
_CLEAR_LINE = "\r\x1b[K"


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show `what` and the seconds so far on stderr while the block runs."""
    if not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    shown = threading.Thread(target=_show, args=(what, done), daemon=True)
    shown.start()
    try:
        yield
    finally:
        done.set()
        shown.join()


def _show(what: str, done: threading.Event) -> None:
    began_s = time.monotonic()
    while not done.wait(_STEP_S):
        passed_s = time.monotonic() - began_s
        print(f"{_CLEAR_LINE}{what} … {int(passed_s)} s", end="", file=sys.stderr, flush=True)
    print(_CLEAR_LINE, end="", file=sys.stderr, flush=True)
