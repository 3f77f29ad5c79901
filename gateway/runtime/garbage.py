"""Keep Python's cyclic garbage collector out of the way of latency."""

from __future__ import annotations

import gc

_YOUNG_OBJECTS = 20_000
"""Allocations between young collections; the default of 700 runs several in every turn."""


def settle_garbage() -> None:
    """Call once when start-up is done: what lives now is for good and is not traversed again.

    A full collection over the modules and caches of a started process takes tens of milliseconds,
    in the middle of somebody's turn.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 20, 20)
