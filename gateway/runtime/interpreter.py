"""How the threads of a process take turns at the interpreter."""

from __future__ import annotations

import sys
from typing import Final

_SWITCH_INTERVAL_S: Final = 0.0005
"""The default is 5 ms."""


def share_interpreter() -> None:
    """Call once where an event loop lives among threads that work beside it.

    A loop that wakes up while another thread computes waits for the interpreter until that thread
    gives it up, which it is asked for after this interval only.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
