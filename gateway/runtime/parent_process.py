"""A child process's end of the socket to the process that started it (`child_process`)."""

from __future__ import annotations

import argparse
import signal
import socket
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from gateway.runtime.frames import FrameDecoder

_RECEIVE_BYTES = 1 << 16
_Heard = TypeVar("_Heard")


def meet_parent(
    module: str, about: str | None, decoder: FrameDecoder[_Heard]
) -> tuple[socket.socket, list[_Heard]]:
    """The socket that `--fd` names, blocking, and the first frames on it: at least one.

    From here on only the parent decides when this process ends: a terminal's or a service manager's
    signal to the whole group must not cut short what the parent still drains. Exits with status 0
    when the parent is gone before it has said anything.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=about)
    parser.add_argument("--fd", type=int, required=True, help="inherited socket to the site")
    sock = socket.socket(fileno=parser.parse_args().fd)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    frames: list[_Heard] = []
    while not frames:
        data = sock.recv(_RECEIVE_BYTES)
        if not data:
            raise SystemExit(0)
        frames = decoder.feed(data)
    return sock, frames
