"""The event channel against clients that break its limits or its protocol; all in memory."""

from __future__ import annotations

import asyncio
import struct
from collections import deque

from aiortc import RTCDataChannel, RTCDataChannelParameters
from aiortc.rtcsctptransport import DataChunk, serialize_packet
from google_crc32c import value as crc32c
from hypothesis import given
from hypothesis import strategies as st

from gateway.media.worker.data_channel import EventChannel
from tests.media.raw_client import run


class Wire:
    """A server's channel and a client's, and the packets between them."""

    def __init__(self, *, client_takes_bytes: int = 0) -> None:
        self.there: deque[bytes] = deque()
        self.back: deque[bytes] = deque()
        self.received: list[str] = []
        self.failures: list[str] = []
        self._sent = asyncio.Event()
        self.server = EventChannel(
            is_server=True,
            port=5000,
            max_sent_bytes=client_takes_bytes,
            send=self._send_back,
            on_message=self.received.append,
            on_failure=self.failures.append,
        )
        self.client = EventChannel(
            is_server=False,
            port=5000,
            max_sent_bytes=0,
            send=self.there.append,
            on_message=self.received.append,
            on_failure=self.failures.append,
        )
        self.server.start()
        self.client.start()

    @property
    def failure(self) -> str:
        """What a channel broke on; empty where none did."""
        return "".join(self.failures)

    async def carry(self) -> None:
        """Carry packets until none is left, and nothing on the loop makes more."""
        for _ in range(3):
            await asyncio.sleep(0)
            while self.there or self.back:
                while self.there:
                    self.server.receive(self.there.popleft())
                while self.back:
                    self.client.receive(self.back.popleft())
                await asyncio.sleep(0)

    async def lose(self) -> None:
        """Lose what is on its way, and wait until the server sends again."""
        self.there.clear()
        self.back.clear()
        self._sent.clear()
        await self._sent.wait()

    def _send_back(self, packet: bytes) -> None:
        self.back.append(packet)
        self._sent.set()

    def open(self, label: str) -> RTCDataChannel:
        return RTCDataChannel(self.client._sctp, RTCDataChannelParameters(label=label))

    def close(self) -> None:
        self.server.close()
        self.client.close()


def test_the_longest_message_passes_and_a_longer_one_costs_the_channel() -> None:
    async def main() -> None:
        wire = Wire()
        channel = wire.open("oai-events")
        await wire.carry()
        channel.send("x" * 262144)
        await wire.carry()
        assert [len(message) for message in wire.received] == [262144]
        assert wire.failure == ""
        channel.send("x" * 270000)
        await wire.carry()
        assert wire.failure == "a message of the client is longer than 262144 bytes"
        assert channel.readyState == "closed"
        wire.server.send("goes nowhere")
        wire.close()

    run(main())


def test_a_lost_packet_is_sent_again_soon() -> None:
    async def main() -> None:
        wire = Wire()
        assert wire.server._sctp._rto == 0.5
        await wire.lose()
        channel = wire.open("oai-events")
        got: list[str] = []
        channel.on("message", got.append)
        await wire.carry()
        assert channel.readyState == "open"
        assert wire.server._sctp._rto < 1.0
        wire.server.send("lost at first")
        await asyncio.sleep(0)
        await wire.lose()
        await wire.carry()
        assert got == ["lost at first"]
        wire.close()

    run(main())


def test_nothing_is_sent_after_the_end() -> None:
    async def main() -> None:
        wire = Wire()
        wire.server._sctp._t1_expired()  # a timer that was up when the channel ended
        wire.close()
        num_sent = len(wire.back)
        await asyncio.sleep(0)
        assert len(wire.back) == num_sent

    run(main())


def test_a_client_may_close_its_channel_and_open_another() -> None:
    async def main() -> None:
        wire = Wire()
        channel = wire.open("one")
        await wire.carry()
        channel.close()
        await asyncio.sleep(0)
        while wire.there:
            wire.server.receive(wire.there.popleft())
        wire.server.send("waits for the next")
        await wire.carry()
        again = wire.open("two")
        got: list[str] = []
        again.on("message", got.append)
        await wire.carry()
        assert got == ["waits for the next"]
        assert wire.failure == ""
        wire.close()

    run(main())


def test_bytes_are_not_messages() -> None:
    async def main() -> None:
        wire = Wire()
        channel = wire.open("oai-events")
        await wire.carry()
        channel.send(b"\xff\xfe")
        channel.send("text")
        await wire.carry()
        assert wire.received == ["text"]
        wire.close()

    run(main())


def test_a_client_that_opens_channel_after_channel_loses_them() -> None:
    async def main() -> None:
        wire = Wire()
        for number in range(20):
            wire.open(str(number))
        await wire.carry()
        assert "streams" in wire.failure
        wire.close()

    run(main())


def test_what_waits_for_a_client_is_bounded() -> None:
    async def main() -> None:
        unopened = Wire()
        for _ in range(20):
            unopened.server.send("x" * 60_000)
        assert unopened.failure == "the client has not opened its channel"
        unread = Wire()
        unread.open("oai-events")
        await unread.carry()
        for _ in range(20):
            unread.server.send("x" * 60_000)
        assert unread.failure == "the client does not read its events"
        small = Wire(client_takes_bytes=100)
        small.server.send("x" * 101)
        assert "longer than the client takes" in small.failure
        for wire in (unopened, unread, small):
            wire.close()

    run(main())


def test_gaps_without_end_cost_the_channel() -> None:
    async def main() -> None:
        wire = Wire()
        wire.open("oai-events")
        await wire.carry()
        chunk = DataChunk(flags=3)
        chunk.user_data = b"x"
        for number in range(310):
            chunk.tsn = (wire.client._sctp._local_tsn + 2 + 2 * number) % 2**32
            tag = wire.client._sctp._remote_verification_tag
            wire.server.receive(serialize_packet(5000, 5000, tag, chunk))
        assert "gaps" in wire.failure
        wire.close()

    run(main())


def test_the_reader_of_messages_has_its_own_errors() -> None:
    async def main() -> None:
        wire = Wire()
        channel = wire.open("oai-events")
        await wire.carry()

        def fail(text: str) -> None:
            raise ValueError(text)

        wire.server._on_message = fail
        channel.send("boom")
        await asyncio.sleep(0)
        try:
            await wire.carry()
        except ValueError as error:
            caught = str(error)
        assert caught == "boom"
        assert wire.failure == ""
        wire.close()

    run(main())


@given(
    st.lists(
        st.tuples(st.integers(0, 14) | st.sampled_from([130, 192]), st.binary(max_size=60)),
        min_size=1,
        max_size=6,
    ),
    st.booleans(),
)
def test_no_packet_raises_or_hangs(chunks: list[tuple[int, bytes]], is_open: bool) -> None:
    async def main() -> None:
        wire = Wire()
        if is_open:
            wire.open("oai-events")
            await wire.carry()
        tag = wire.server._sctp._local_verification_tag
        for kind, body in chunks:
            header = struct.pack("!HHLL", 5000, 5000, 0 if kind == 1 else tag, 0)
            raw = header + struct.pack("!BBH", kind, 3, len(body) + 4) + body
            raw += bytes(-len(body) % 4)
            wire.server.receive(raw[:8] + struct.pack("<L", crc32c(raw)) + raw[12:])
        await asyncio.sleep(0)
        wire.close()

    run(main())
