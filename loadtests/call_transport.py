"""What calls cost a voice worker's port: set-up, packets both ways, checks and strangers.

python -m loadtests.call_transport

CPU time of this process in the port's own code and its system calls, without codec and jitter
buffer; the clients run in the same process and are left out. Beside it the demultiplexing alone: a
packet whose call does nothing with it.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from gateway.media.worker.secure import Identity
from gateway.media.worker.udp_port import PortLimits, UdpPort
from loadtests import facts
from loadtests.command_line import parser_for
from loadtests.voice_peer import PAYLOAD_TYPE, VoicePeer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gateway.media.worker.ice import Address
    from gateway.media.worker.peer_call import PeerCall

_NUM_CALLS: Final = 100
_NUM_SETUPS: Final = 200
_NUM_BATCHES: Final = 60
_SOUND: Final = bytes(60)
"""20 ms of Opus at 24 kbit/s."""
_LIMITS: Final = PortLimits(max_num_calls=1000, calls_per_s=1e6, max_num_at_once=1000)
_MAX_DEMUX_US: Final = 5.0
_MAX_SETUP_MS: Final = 11.0
"""The best a stock peer connection was measured at."""

_T = TypeVar("_T")
Samples = dict[str, list[float]]


class Silent:
    """`PeerEvents` of somebody who does not listen."""

    def rtp(self, packet: bytes, arrived_s: float) -> None:
        """Not heard."""

    def rtcp(self, packet: bytes) -> None:
        """Not heard."""

    def message(self, text: str) -> None:
        """Not read."""

    def connected(self) -> None:
        """Not noticed."""

    def lost(self) -> None:
        """Not noticed."""

    def closed(self, reason: str) -> None:
        """Not noticed."""


class Idle:
    """In a call's place: it takes packets and does nothing."""

    num_taken = 0

    def take_rtp(self, datagram: bytes, now_s: float) -> bool:
        """Taken."""
        return True


def main() -> None:
    """Measure, print and write the result."""
    parser_for("call_transport", __doc__).parse_args()
    samples = asyncio.run(_measure())
    setup_ms = _summary(samples.pop("setup"), 1e3)
    packets_us = {name: _summary(found, 1e6) for name, found in samples.items()}
    targets = {
        f"demultiplexing at most {_MAX_DEMUX_US:g} us": packets_us["demux"]["p50"] <= _MAX_DEMUX_US,
        f"set-up at most {_MAX_SETUP_MS:g} ms": setup_ms["p50"] <= _MAX_SETUP_MS,
    }
    body = {"calls": _NUM_CALLS, "us": packets_us, "setup_ms": setup_ms, "targets_met": targets}
    facts.save("call_transport", None, body)


async def _measure() -> Samples:
    samples: Samples = defaultdict(list)
    identity = Identity()
    port = await UdpPort.open("127.0.0.1", 0, limits=_LIMITS)
    for _ in range(_NUM_SETUPS):
        samples["setup"].append(await _setup_s(port, identity))
    pairs = [await _pair(port, identity) for _ in range(_NUM_CALLS)]
    port._loop.remove_reader(port._socket)
    for batch in range(_NUM_BATCHES):
        port.sweep()
        for name, seconds in _batch(port, pairs, batch):
            samples[name].append(seconds / _NUM_CALLS)
    for client, _ in pairs:
        client.close()
    port.close()
    return samples


async def _pair(port: UdpPort, identity: Identity) -> tuple[VoicePeer, PeerCall]:
    client = VoicePeer(identity, has_channel=True)
    call = port.accept(client.offer(), Silent(), call_id="measured")
    await client.connect(call.answer_sdp)
    return client, call


async def _setup_s(port: UdpPort, identity: Identity) -> float:
    """CPU seconds of the port from an offer to the open association, and to its end."""
    spent_s = 0.0

    def drain() -> None:
        nonlocal spent_s
        spent_s += _spent_s(port._drain)

    port._loop.add_reader(port._socket, drain)
    client = VoicePeer(identity, has_channel=True)
    offer = client.offer()
    calls: list[PeerCall] = []
    spent_s += _spent_s(lambda: calls.append(port.accept(offer, Silent(), call_id="measured")))
    await client.connect(calls[0].answer_sdp)
    channel = client.channel
    while channel is not None and channel._sctp.state != "connected":
        await client.next()
    spent_s += _spent_s(calls[0].close)
    client.close()
    port._loop.add_reader(port._socket, port._drain)
    return spent_s


def _batch(
    port: UdpPort, pairs: list[tuple[VoicePeer, PeerCall]], number: int
) -> Iterator[tuple[str, float]]:
    """CPU seconds of one packet of each kind for every call."""
    calls = [call for _, call in pairs]
    for client, _ in pairs:
        client.say(number, _SOUND)
    num_before = port.counters.received

    def drain() -> None:
        while port.counters.received - num_before < len(pairs):
            port._drain()

    def take(one: tuple[bytes, Address]) -> None:
        port._take(*one)

    yield "rtp_in", _spent_s(drain)
    packet = struct.pack("!BBHII", 0x80, PAYLOAD_TYPE, number, 960 * number, 5) + _SOUND
    yield "rtp_out", _spent_s(lambda: _each(lambda call: call.send_rtp(packet), calls))
    checks: list[tuple[bytes, Address]] = [
        (client.check(), client.sock.getsockname()) for client, _ in pairs
    ]
    yield "check", _spent_s(lambda: _each(take, checks))
    strange: list[tuple[bytes, Address]] = [(packet, ("192.0.2.1", n)) for n in range(len(pairs))]
    yield "stranger", _spent_s(lambda: _each(take, strange))
    port._by_address[("192.0.2.2", 9)] = cast("PeerCall", Idle())
    idle: list[tuple[bytes, Address]] = [(packet, ("192.0.2.2", 9))] * len(pairs)
    yield "demux", _spent_s(lambda: _each(take, idle))


def _each(do: Callable[[_T], None], things: Iterable[_T]) -> None:
    for thing in things:
        do(thing)


def _spent_s(work: Callable[[], object]) -> float:
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def _summary(samples: list[float], unit: float) -> dict[str, Any]:
    quantiles = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    found = {
        name: round(facts.percentile(samples, quantile) * unit, 3)
        for name, quantile in quantiles.items()
    }
    return {"n": len(samples), **found}


if __name__ == "__main__":
    main()
