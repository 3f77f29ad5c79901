"""No process outlives the run that started it, however the run ends."""

from __future__ import annotations

import ctypes
import shutil
import signal

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Kill this process when the thread that started it ends, and with it the run."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def ending_with_parent(command: list[str]) -> list[str]:
    """A command of somebody else's that is told to end (SIGTERM) when whoever starts it ends.

    Without `setpriv` (util-linux) it is the command as it was.
    """
    if shutil.which("setpriv") is None:
        return command
    return ["setpriv", "--pdeathsig", "TERM", "--", *command]
