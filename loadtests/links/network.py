"""Emulated links as a load test sees them: open, run commands at sites, close."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from loadtests.links.keeper import Order, Reply, Request
from loadtests.links.namespaces import LinksFailed, LinksUnavailable
from loadtests.local_site import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from loadtests.links.delay_line import LineCounters
    from loadtests.links.keeper import Backend, Kept
    from loadtests.links.matrix import LinkMatrix

_START_LIMIT_S = 60.0
_END_LIMIT_S = 30.0


class EmulatedNetwork:
    """Sites in namespaces of their own, with the links of a matrix between them."""

    def __init__(
        self, matrix: LinkMatrix, kept: Kept, control: socket.socket, replies: BinaryIO
    ) -> None:
        self.matrix = matrix
        self.backend: Backend = kept.backend
        self.scheduler = kept.scheduler
        self._run = kept.run
        self._control = control
        self._replies = replies
        self._asking = threading.Lock()

    def namespace(self, site: str) -> str:
        """The name of a site's namespace, for `ip netns`."""
        if site not in self.matrix.sites:
            raise KeyError(site)
        return f"{self._run}-{site}"

    def address(self, site: str) -> str:
        """The site's IPv4 address."""
        return self.matrix.address(site)

    def command(self, site: str, command: Sequence[str]) -> list[str]:
        """`command` as it is started at a site; the process keeps its id through it."""
        return ["ip", "netns", "exec", self.namespace(site), *command]

    def counters(self) -> list[LineCounters]:
        """What each direction did so far; empty where the kernel keeps the links."""
        return self._ask(Request()).counters or []

    def split(self, apart: Sequence[str]) -> None:
        """From now on nothing passes between these sites and the others; none: all is mended."""
        for site in apart:
            self.namespace(site)
        self._ask(Request(split=tuple(apart)))

    def _ask(self, request: Request) -> Reply:
        with self._asking:  # a fault on the timeline and a host guard may ask at once
            self._control.sendall(msgspec.json.encode(request) + b"\n")
            return _reply(self._replies)


@contextmanager
def emulated_network(
    matrix: LinkMatrix, *, backend: Backend | None = None, seed: int = 1
) -> Iterator[EmulatedNetwork]:
    """Links that stand while the context lasts; without a `backend`, netem if the kernel has it.

    Leaving kills whatever still runs at the sites. Raises LinksUnavailable when something is
    missing, with the mend, and LinksFailed when setting up fails.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "loadtests.links.keeper", "--fd", str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        with ours, ours.makefile("rb") as replies:
            ours.settimeout(_START_LIMIT_S)
            ours.sendall(msgspec.json.encode(Order(matrix, backend, seed)) + b"\n")
            kept = _reply(replies).kept
            if kept is None:
                raise LinksFailed("the keeper of the links answered out of turn")
            yield EmulatedNetwork(matrix, kept, ours, replies)
    finally:
        keeper.wait(_END_LIMIT_S)


def _reply(replies: BinaryIO) -> Reply:
    line = replies.readline()
    if not line:
        raise LinksFailed("the keeper of the links ended; what it printed says why")
    reply = msgspec.json.decode(line, type=Reply)
    if reply.error:
        raise (LinksUnavailable if reply.is_unavailable else LinksFailed)(reply.error)
    return reply
