"""``python -m loadtests.links.keeper --fd N``: the process that owns a run's namespaces.

It makes them, forwards packets where the kernel does not, and removes everything when the other
end of its socket closes: also when the run that wanted the links was killed. Messages are lines of
JSON: an order, then requests one way, answers the other.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

import msgspec

# msgspec resolves field types when a codec is built, so these exist at run time.
from gateway.core.errors import SetupError
from loadtests.command_line import parser_for
from loadtests.links import namespaces
from loadtests.links.delay_line import LineCounters
from loadtests.links.forwarder import Forwarder
from loadtests.links.matrix import SUBNET, LinkMatrix
from loadtests.links.netem import egress_lines, split_lines
from loadtests.priority import LINKS, hurry

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICE = "wan0"
"""The device of every site in its namespace."""

Backend = Literal["netem", "tun"]
_HUB = "hub"
_MTU_BYTES = 1500


class Order(msgspec.Struct, frozen=True):
    """What to set up; `backend` None leaves the choice to the keeper."""

    matrix: LinkMatrix
    backend: Backend | None
    seed: int


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a run wants of its links; a Reply answers each."""

    split: tuple[str, ...] | None = None
    """Part these sites from the others, or nobody from anybody. None: count."""


class Kept(msgspec.Struct, frozen=True):
    """The links stand."""

    run: str
    backend: Backend
    scheduler: str
    """How the forwarder gets the processor; of the kernel's own links, `kernel`."""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """An answer of the keeper; `error` when there are no links."""

    kept: Kept | None = None
    counters: list[LineCounters] | None = None
    error: str = ""
    is_unavailable: bool = False


class Keeper:
    """One run's namespaces."""

    def __init__(self, order: Order, control: socket.socket) -> None:
        self._order = order
        self._control = control
        self._run = namespaces.run_name(os.getpid())
        self._stack = ExitStack()
        self._heard = b""

    def keep(self) -> None:
        """Set up, serve until the other end closes, remove. Raises SetupError before serving."""
        with self._stack:
            namespaces.sweep()
            backend = self._order.backend or ("netem" if namespaces.has_netem() else "tun")
            for site in self._order.matrix.sites:
                self._add(site)
            if backend == "netem":
                self._lay_netem()
                self._send(Reply(Kept(self._run, backend, "kernel")))
                while self._answer(lambda: [], self._split_netem):
                    pass
            else:
                forwarder = self._lay_tun()
                self._send(Reply(Kept(self._run, backend, hurry(LINKS))))
                forwarder.run(
                    self._control, lambda: self._answer(forwarder.counters, forwarder.split)
                )

    def _name(self, site: str) -> str:
        return f"{self._run}-{site}"

    def _add(self, site: str) -> None:
        name = self._name(site)
        self._stack.callback(namespaces.remove, name)
        namespaces.add(name)

    def _lay_tun(self) -> Forwarder:
        namespaces.check_tun()
        matrix = self._order.matrix
        fds = []
        for place, site in enumerate(matrix.sites):
            temporary = f"fh{os.getpid()}.{place}"  # at most 15 characters
            fd = _made_tun(temporary)
            self._stack.callback(os.close, fd)
            fds.append(fd)
            namespaces.ip("link", "set", temporary, "netns", self._name(site), "name", DEVICE)
            self._address(site)
        return Forwarder(matrix, fds, self._order.seed)

    def _lay_netem(self) -> None:
        """Every site on a bridge in a namespace of its own, delayed on its way out."""
        matrix = self._order.matrix
        hub = self._name(f"{_HUB}.")  # no site's name has a dot
        self._stack.callback(namespaces.remove, hub)
        namespaces.add(hub)
        namespaces.ip("-n", hub, "link", "add", "br0", "up", "type", "bridge")
        for place, site in enumerate(matrix.sites):
            name, port = self._name(site), f"port{place}"
            namespaces.ip(
                *("-n", hub, "link", "add", port, "up", "master", "br0", "type", "veth"),
                *("peer", "name", DEVICE, "netns", name),
            )
            # Larger units would be lost and delayed whole.
            namespaces.ip("-n", name, "link", "set", DEVICE, "gso_max_segs", "1")
            self._address(site)
            namespaces.tc(name, egress_lines(matrix, site, DEVICE))

    def _address(self, site: str) -> None:
        address, name = self._order.matrix.address(site), self._name(site)
        namespaces.route_loopback(name, DEVICE)
        namespaces.ip(
            *("-n", name, "-batch", "-"),
            lines=[
                "route del local 127.0.0.0/8 dev lo table local",
                "route add local 127.0.0.0/16 dev lo table local src 127.0.0.1",
                f"addr add {address}/32 dev {DEVICE}",
                f"link set {DEVICE} mtu {_MTU_BYTES} txqueuelen 10000 up",
                f"route add {SUBNET}.0/24 dev {DEVICE} src {address}",
            ],
        )

    def _split_netem(self, apart: tuple[str, ...]) -> None:
        matrix = self._order.matrix
        for site in matrix.sites:
            namespaces.tc(self._name(site), split_lines(matrix, site, DEVICE, apart))

    def _answer(
        self,
        counters: Callable[[], list[LineCounters]],
        split: Callable[[tuple[str, ...]], None],
    ) -> bool:
        """Answer every request that came; False when the other end is closed."""
        heard = self._control.recv(4096)
        *lines, self._heard = (self._heard + heard).split(b"\n")
        for line in lines:
            request = msgspec.json.decode(line, type=Request)
            if request.split is None:
                self._send(Reply(counters=counters()))
            else:
                split(request.split)
                self._send(Reply())
        return bool(heard)

    def _send(self, reply: Reply) -> None:
        self._control.sendall(msgspec.json.encode(reply) + b"\n")


def _made_tun(name: str) -> int:
    try:
        return namespaces.open_tun(name)
    except OSError as error:
        raise namespaces.LinksFailed(
            f"no TUN device {name} can be made: {error.strerror}"
        ) from error


def main() -> int:
    """Keep one run's links."""
    parser = parser_for("links.keeper", __doc__)
    parser.add_argument("--fd", type=int, required=True, help="inherited socket to the run")
    control = socket.socket(fileno=parser.parse_args().fd)
    # A terminal's Ctrl-C is for the run, which then lets go of the links.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with control, control.makefile("rb") as lines:
        order = lines.readline()
        if not order:
            return 0
        try:
            namespaces.check_available()
            Keeper(msgspec.json.decode(order, type=Order), control).keep()
        except ConnectionError:
            return 0
        except SetupError as error:
            unavailable = isinstance(error, namespaces.LinksUnavailable)
            reply = Reply(error=str(error), is_unavailable=unavailable)
            control.sendall(msgspec.json.encode(reply) + b"\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
