"""The port under all calls: limits, strangers, hostile datagrams, and nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call_errors import CallsTooFast, InvalidOffer, LinesBusy
from gateway.core.errors import PortInUse, SetupError
from gateway.media.worker.peer_call import PeerCall
from gateway.media.worker.secure import SecureLink
from gateway.media.worker.udp_port import PortLimits, UdpPort
from loadtests.voice_peer import attribute
from tests.media.raw_client import Heard, RawClient, run

UNHURRIED = PortLimits(calls_per_s=1e6, max_num_at_once=1000)


def test_addresses_that_cannot_be_used_are_named() -> None:
    async def main() -> None:
        with pytest.raises(SetupError, match=r"not 'edge\.example'"):
            await UdpPort.open("edge.example", 0)
        with pytest.raises(SetupError, match="advertised"):
            await UdpPort.open("0.0.0.0", 0)
        port = await UdpPort.open("127.0.0.1", 0)
        with pytest.raises(PortInUse):
            await UdpPort.open("127.0.0.1", port.advertised[1])
        port.close()

    run(main())


def test_clients_are_told_the_advertised_address() -> None:
    async def main() -> None:
        port = await UdpPort.open("127.0.0.1", 0, advertised=("203.0.113.5", 4000))
        client = RawClient()
        call = port.accept(client.offer(), Heard(), call_id="a")
        assert attribute(call.answer_sdp, "candidate").split()[4:6] == ["203.0.113.5", "4000"]
        client.close()
        port.close()

    run(main())


def test_lines_and_their_pace_are_limited_and_a_bad_offer_takes_none() -> None:
    async def main() -> None:
        now = [0.0]
        limits = PortLimits(max_num_calls=3, calls_per_s=2.0, max_num_at_once=2)
        port = await UdpPort.open("127.0.0.1", 0, limits=limits, clock=lambda: now[0])
        client = RawClient()
        for _ in range(5):
            with pytest.raises(InvalidOffer):
                port.accept("nonsense", Heard(), call_id="bad")
        first = port.accept(client.offer(), Heard(), call_id="1")
        port.accept(client.offer(), Heard(), call_id="2")
        with pytest.raises(CallsTooFast) as caught:
            port.accept(client.offer(), Heard(), call_id="too fast")
        assert caught.value.retry_after_s == pytest.approx(0.5)
        now[0] = 0.5
        port.accept(client.offer(), Heard(), call_id="3")
        now[0] = 5.0
        with pytest.raises(LinesBusy, match="3 lines"):
            port.accept(client.offer(), Heard(), call_id="too many")
        first.close()
        port.accept(client.offer(), Heard(), call_id="in its place")
        client.close()
        port.close()
        assert port.num_calls == 0

    run(main())


def test_no_stranger_is_answered_or_reaches_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        port = await UdpPort.open("127.0.0.1", 0)
        client, stranger, heard = RawClient(), RawClient(), Heard()
        call = port.accept(client.offer(), heard, call_id="a")
        await client.connect(call.answer_sdp)
        stranger.answer = call.answer_sdp
        copied = client.check()
        client.send(copied)
        await client.until(lambda: client.num_checks_answered == 2)

        def reached(self: SecureLink, packet: bytes) -> None:
            raise AssertionError("a stranger's packet reached the link")

        for method in ("receive", "unprotect", "unprotect_rtcp"):
            monkeypatch.setattr(SecureLink, method, reached)
        num_sent = port.counters.sent
        chance = random.Random(7)
        flood = [bytes([chance.randrange(20, 256)]) + chance.randbytes(50) for _ in range(40)]
        flood += [stranger.check(), client.check(password="a guess" * 4), copied]
        for datagram in flood:
            stranger.send(datagram)
        monkeypatch.undo()
        client.say(1, b"sound")
        await heard.until(lambda: bool(heard.packets))
        assert port.counters.sent == num_sent
        assert port.counters.strangers == 40
        assert port.counters.forged == 3
        with pytest.raises(BlockingIOError):
            stranger.sock.recv(100)
        for end in (client, stranger, port):
            end.close()

    run(main())


def test_an_answer_is_never_longer_than_its_request() -> None:
    async def main() -> None:
        port = await UdpPort.open("::1", 0)
        client = RawClient(host="::1")
        client.answer = port.accept(client.offer(), Heard(), call_id="a").answer_sdp
        request = client.check(nominate=False)
        client.send(request)
        loop = asyncio.get_running_loop()
        assert len(await loop.sock_recv(client.sock, 2000)) <= len(request)
        client.close()
        port.close()

    run(main())


def test_a_client_that_floods_is_cut_down_to_what_a_call_can_need() -> None:
    async def main() -> None:
        port = await UdpPort.open("127.0.0.1", 0)
        client, heard = RawClient(), Heard()
        call = port.accept(client.offer(), heard, call_id="a")
        await client.connect(call.answer_sdp)
        address = client.sock.getsockname()
        for number in range(1500):
            packet = struct.pack("!BBHII", 0x80, 111, number, number * 960, 77) + b"sound"
            port._take(client.link.protect(packet), address)
        assert len(heard.packets) < 1000 <= len(heard.packets) + 10
        assert port.counters.flooded >= 500
        num_sent = port.counters.sent
        port._take(client.check(), address)
        assert port.counters.sent == num_sent, "nor is a check of it answered"
        port.sweep()
        client.say(1500, b"sound")
        num_before = len(heard.packets)
        await heard.until(lambda: len(heard.packets) > num_before)
        client.close()
        port.close()

    run(main())


class Harmless(Heard):
    def rtp(self, packet: bytes, arrived_s: float) -> None:
        raise AssertionError("noise became sound")


@given(st.lists(st.binary(max_size=80) | st.binary(min_size=1200, max_size=1500), max_size=20))
def test_any_datagram_is_survived_also_from_a_calls_own_address(noise: list[bytes]) -> None:
    async def main() -> None:
        port = await UdpPort.open("127.0.0.1", 0)
        client, heard = RawClient(has_channel=True), Harmless()
        client.answer = port.accept(client.offer(), heard, call_id="a").answer_sdp
        client.send(client.check())
        await client.until(lambda: client.num_checks_answered == 1)
        address = client.sock.getsockname()
        for datagram in noise:
            port._take(datagram, address)
            port._take(datagram, ("192.0.2.1", 9))
        assert not heard.states or heard.states[0].startswith("closed")
        client.close()
        port.close()

    run(main())


def test_two_hundred_calls_leave_nothing_behind() -> None:
    async def one(port: UdpPort, number: int) -> None:
        client, heard = RawClient(has_channel=True), Heard()
        call = port.accept(client.offer(), heard, call_id=str(number))
        await client.connect(call.answer_sdp)
        client.say(number, b"sound")
        await heard.until(lambda: bool(heard.packets))
        if number % 2:
            call.close()
        else:
            client.link.close()
            client.flush()
            await heard.until(lambda: len(heard.states) == 2)
        client.close()

    async def main() -> None:
        port = await UdpPort.open("127.0.0.1", 0, limits=UNHURRIED)
        await one(port, 0)
        num_descriptors = len(os.listdir("/proc/self/fd"))
        num_threads = threading.active_count()
        for number in range(1, 201):
            await one(port, number)
        # What SCTP has begun on the loop ends with the loop's next turn.
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1
        assert port.num_calls == 0
        assert not port._by_name
        assert not port._by_address
        assert len(os.listdir("/proc/self/fd")) == num_descriptors
        assert threading.active_count() == num_threads
        gc.collect()
        kept = [o for o in gc.get_objects() if isinstance(o, PeerCall | SecureLink)]
        assert len(kept) <= 2, "what the last call's scenario still holds"
        port.close()

    run(main())
