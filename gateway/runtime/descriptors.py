"""The process's file descriptors: every connection and every pipe takes one."""

from __future__ import annotations

import os
import resource
from typing import Final

_ENOUGH: Final = 65_536
"""More would be of no use here, and some programs a process starts walk over all they may have."""


def raise_descriptor_limit() -> int:
    """Allow this process as many open files as it needs and may have; returns how many.

    Shells and service managers start a process with far fewer than its hard limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(soft, _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH))
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def fill_standard_descriptors() -> None:
    """Open the null device in place of stdin, stdout or stderr where the process came without.

    The next socket would get the number, and libuv ends a process that closes one of the three.
    """
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(opened, True)
    os.close(opened)
