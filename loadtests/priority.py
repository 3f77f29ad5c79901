"""Getting the processor in time, for the parts of a test bed that stand for other machines.

On a busy host a process that waits for its turn is late by tens of milliseconds. Links come before
probes, probes before clients, and all of them before what is measured, which on a real network
would not share their processor.
"""

from __future__ import annotations

import ctypes
import os

LINKS, PROBES, CLIENTS = 3, 2, 1
"""Real-time priorities; the higher goes first."""

_PR_SET_TIMERSLACK = 29
_NICEST = -20


def hurry(priority: int, *, children_too: bool = False) -> str:
    """Give this thread a real-time priority, or what comes closest to it; in words, which.

    Threads started later inherit it with `children_too`, and so do processes.
    """
    # By default the kernel may wake a sleeper 50 us late, to save power.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)
    policy = os.SCHED_FIFO if children_too else os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except PermissionError:
        return _be_nicest()
    return "SCHED_FIFO"


def _be_nicest() -> str:
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _NICEST)
    except PermissionError:
        return "normal priority"
    return f"nice {_NICEST}"
