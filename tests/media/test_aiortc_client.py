"""A stock aiortc peer connection as the client: sound and events both ways, and its goodbye."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

import aioice.ice
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack

from gateway.media.worker.audio_terms import Codec
from gateway.media.worker.udp_port import UdpPort
from tests.media.raw_client import Heard, run

if TYPE_CHECKING:
    from aiortc.mediastreams import MediaStreamTrack

pytestmark = pytest.mark.flow

SILENCE = b"\xf8\xff\xfe"
"""20 ms of Opus that says nothing."""


@pytest.fixture(autouse=True)
def _loopback_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    # aioice offers no loopback addresses by itself.
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"])


def test_sound_and_events_both_ways() -> None:
    async def main() -> None:
        port = await UdpPort.open("127.0.0.1", 0)
        client, heard, got = RTCPeerConnection(), Heard(), Heard()
        tracks: list[MediaStreamTrack] = []
        client.on("track", tracks.append)
        channel = client.createDataChannel("oai-events")
        channel.on("open", lambda: channel.send("hello"))
        channel.on("message", got.message)
        client.addTrack(AudioStreamTrack())
        await client.setLocalDescription(await client.createOffer())
        call = port.accept(client.localDescription.sdp, heard, call_id="a")
        call.send_message("session.created")
        await client.setRemoteDescription(RTCSessionDescription(call.answer_sdp, "answer"))

        await heard.until(lambda: heard.messages == ["hello"] and len(heard.packets) > 5)
        await got.until(lambda: got.messages == ["session.created"])
        assert call.audio.codec is Codec.OPUS
        assert {packet[1] & 0x7F for packet in heard.packets} == {call.audio.payload_type}

        async def speak() -> None:
            for number in range(100):
                header = struct.pack(
                    "!BBHII", 0x80, call.audio.payload_type, number, number * 960, call.audio.ssrc
                )
                call.send_rtp(header + SILENCE)
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as group:
            speaking = group.create_task(speak())
            frame = await tracks[0].recv()
            assert frame.sample_rate == 48000  # type: ignore[union-attr]
            speaking.cancel()

        await heard.until(lambda: bool(heard.reports))
        await client.close()
        await heard.until(lambda: heard.states == ["connected", "closed: "])
        assert port.num_calls == 0
        assert port.counters.forged == port.counters.strangers == port.counters.not_genuine == 0
        port.close()

    run(main())
