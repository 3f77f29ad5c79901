"""One UDP port for all calls of a voice worker: who a datagram is from, and what it is.

Datagrams are told apart by their first byte (RFC 7983). STUN finds its call by the name in it,
everything else by its source address, which the call's client must have proved to own before. What
fits no call is dropped and counted, and gets no answer.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

from gateway.core.call_errors import CallsTooFast, LinesBusy
from gateway.core.errors import PortInUse, SetupError
from gateway.media.worker import stun
from gateway.media.worker.ice import Verdict
from gateway.media.worker.peer_call import Patience, PeerCall, PeerEvents
from gateway.media.worker.sdp_offer import read_offer
from gateway.media.worker.secure import Identity

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.media.worker.ice import Address

_MAX_DATAGRAM_BYTES: Final = 2048
_MAX_PER_WAKE: Final = 64
"""Datagrams taken before the loop's other work has its turn; some 2 ms of it."""
_SWEEP_S: Final = 0.5
_MAX_PER_SWEEP: Final = 1000
"""Datagrams of one call in `_SWEEP_S`: ten times what sound in 10 ms packets and its reports need,
and 2 MB/s of messages."""
_BUFFER_BYTES: Final = 4 << 20
"""Asked of the kernel in each direction; it may give less. 4 MiB holds 0.5 s of 400 calls."""
_EXPEDITED_FORWARDING: Final = 46 << 2
"""DSCP of interactive speech (RFC 8837, table 1)."""
_SHORTEST_RTP_BYTES: Final = 12
_RTCP_TYPES: Final = range(192, 224)
"""Second bytes that are RTCP where it shares a port with RTP (RFC 5761, section 4)."""


@dataclass(frozen=True, slots=True)
class PortLimits:
    """How many calls, and how fast they may begin."""

    max_num_calls: int = 200
    calls_per_s: float = 20.0
    max_num_at_once: int = 20
    """Calls that may begin together before `calls_per_s` counts."""
    patience: Patience = field(default_factory=Patience)


@dataclass(slots=True)
class PortCounters:
    """Datagrams of a port since it was opened."""

    received: int = 0
    strangers: int = 0
    """Neither a check nor from an address of a call."""
    malformed: int = 0
    """No STUN, DTLS, RTP or RTCP, or broken."""
    unknown_names: int = 0
    """Checks for no call that there is."""
    forged: int = 0
    """Checks without the call's password, or copied from another address."""
    flooded: int = 0
    """More of one call than any needs."""
    not_genuine: int = 0
    """SRTP from a call's address that its client did not make, or made before."""
    sent: int = 0
    unsent: int = 0
    """Dropped because the kernel would not take them."""


class UdpPort:
    """All calls of one worker."""

    def __init__(
        self,
        sock: socket.socket,
        advertised: tuple[str, int],
        limits: PortLimits,
        clock: Callable[[], float],
    ) -> None:
        self.advertised = advertised
        self.counters = PortCounters()
        self._socket = sock
        self._limits = limits
        self._clock = clock
        self._identity = Identity()
        self._calls: dict[PeerCall, tuple[tuple[str, ...], tuple[Address, ...]]] = {}
        """Each call with the names and addresses under which it is found."""
        self._by_name: dict[str, PeerCall] = {}
        self._by_address: dict[Address, PeerCall] = {}
        self._paced_to_s = 0.0
        """When the calls begun so far would all have begun at `calls_per_s`."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._drain)
        self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep_again)

    @classmethod
    async def open(
        cls,
        host: str,
        port: int,
        *,
        advertised: tuple[str, int] | None = None,
        limits: PortLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> UdpPort:
        """Bind the port; 0 lets the system choose one.

        `advertised` is the IP address and port that clients are told, where a NAT stands before
        this machine; port 0 in it stands for the bound one. Raises `SetupError` for addresses that
        are none or cannot be told to clients, `PortInUse` if another process has the port.
        """
        ip = _ip(host)
        told = _ip(advertised[0]) if advertised else ip
        if told.is_unspecified:
            raise SetupError(f"clients cannot be told to send to {told}; set an advertised address")
        sock = _bound_socket(ip, port)
        told_port = (advertised[1] if advertised else 0) or sock.getsockname()[1]
        return cls(sock, (str(told), told_port), limits or PortLimits(), clock)

    @property
    def num_calls(self) -> int:
        """Calls under way, those that are set up or lost included."""
        return len(self._calls)

    def accept(self, offer_sdp: str, events: PeerEvents, *, call_id: str) -> PeerCall:
        """Set a call up; its answer is ready, its client comes when it has that.

        Raises `OfferRefused`: `InvalidOffer` names the attribute that is wrong, `LinesBusy` and
        `CallsTooFast` are worth another try.
        """
        now_s = self._clock()
        if len(self._calls) >= self._limits.max_num_calls:
            raise LinesBusy(max_num_calls=self._limits.max_num_calls)
        wait_s = self._paced_to_s - now_s - (self._limits.max_num_at_once - 1) / self._pace
        if wait_s > 0.0:
            raise CallsTooFast(calls_per_s=self._pace, retry_after_s=wait_s)
        call = PeerCall(
            read_offer(offer_sdp),
            events,
            self,
            call_id=call_id,
            identity=self._identity,
            advertised=self.advertised,
            patience=self._limits.patience,
            now_s=now_s,
        )
        self._paced_to_s = max(self._paced_to_s, now_s) + 1.0 / self._pace
        self.route(call)
        return call

    def close(self, reason: str = "the site ends") -> None:
        """End all calls and give the port back."""
        for call in tuple(self._calls):
            call.close(reason)
        self._sweeping.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def sweep(self) -> None:
        """Let every call notice what has not happened."""
        now_s = self._clock()
        for call in tuple(self._calls):
            call.sweep(now_s)

    def send(self, datagram: bytes, address: Address) -> None:
        """Send a datagram of a call; one that the kernel does not take is dropped and counted."""
        try:
            self._socket.sendto(datagram, address)
        except OSError:
            self.counters.unsent += 1
        else:
            self.counters.sent += 1

    def route(self, call: PeerCall) -> None:
        """Find the call under the names and addresses it has now, and under no others."""
        names, addresses = call.names, call.addresses
        if self._calls.get(call) == (names, addresses):
            return
        self.forget(call)
        self._calls[call] = (names, addresses)
        self._by_name.update(dict.fromkeys(names, call))
        self._by_address.update(dict.fromkeys(addresses, call))

    def forget(self, call: PeerCall) -> None:
        """Find the call no more."""
        names, addresses = self._calls.pop(call, ((), ()))
        for name in names:
            del self._by_name[name]
        for address in addresses:
            # Another call's client may have the address by now.
            if self._by_address.get(address) is call:
                del self._by_address[address]

    @property
    def _pace(self) -> float:
        return self._limits.calls_per_s

    def _sweep_again(self) -> None:
        self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep_again)
        self.sweep()

    def _drain(self) -> None:
        for _ in range(_MAX_PER_WAKE):
            try:
                datagram, address = self._socket.recvfrom(_MAX_DATAGRAM_BYTES)
            except OSError:
                # Nothing more there, or news that an earlier datagram reached nobody.
                return
            self.counters.received += 1
            self._take(datagram, address)
            if self._socket.fileno() < 0:
                return

    def _take(self, datagram: bytes, address: Address) -> None:
        kind = datagram[0] if datagram else 255
        if kind < 4:
            self._take_check(datagram, address)
            return
        call = self._by_address.get(address)
        if call is None:
            self.counters.strangers += 1
        elif self._has_room(call):
            self._take_from(call, kind, datagram)

    def _take_from(self, call: PeerCall, kind: int, datagram: bytes) -> None:
        if 128 <= kind < 192 and len(datagram) >= _SHORTEST_RTP_BYTES:
            now_s = self._clock()
            is_rtcp = datagram[1] in _RTCP_TYPES
            take = call.take_rtcp if is_rtcp else call.take_rtp
            if not take(datagram, now_s):
                self.counters.not_genuine += 1
        elif 20 <= kind < 64:
            call.take_dtls(datagram, self._clock())
        else:
            self.counters.malformed += 1

    def _take_check(self, datagram: bytes, address: Address) -> None:
        request = stun.read_request(datagram)
        if request is None:
            self.counters.malformed += 1
            return
        call = self._by_name.get(request.username.partition(":")[0])
        if call is None:
            self.counters.unknown_names += 1
        elif self._has_room(call):
            verdict = call.take_check(request, address, self._clock())
            self.counters.forged += verdict in (Verdict.FORGED, Verdict.COPIED)

    def _has_room(self, call: PeerCall) -> bool:
        call.num_taken += 1
        is_flood = call.num_taken > _MAX_PER_SWEEP
        self.counters.flooded += is_flood
        return not is_flood


def _ip(host: str) -> IPv4Address | IPv6Address:
    try:
        return ip_address(host)
    except ValueError:
        raise SetupError(f"a voice worker's address must be an IP address, not {host!r}") from None


def _bound_socket(ip: IPv4Address | IPv6Address, port: int) -> socket.socket:
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    if ip.version == 4:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, _EXPEDITED_FORWARDING)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, _EXPEDITED_FORWARDING)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    try:
        sock.bind((str(ip), port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"UDP {ip}:{port}") from None
        raise SetupError(f"cannot bind UDP {ip}:{port}: {error.strerror}") from None
    return sock
