"""A caller with aiortc, a path that loses and delays, and speech to say."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import time
import wave
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from gateway.media.worker.rtp import RtpPacket, build
from tests.requirements import require

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from numpy.typing import NDArray

KEYS = 110
"""The payload type the client offers for keys."""
_HZ, _FRAME = 48_000, 960


def speech(text: str, folder: Path) -> NDArray[np.int16]:
    """A sentence at 16 kHz."""
    require("flite", shutil.which("flite") is not None, "apt-get install flite")
    path = folder / "speech.wav"
    subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(path)], check=True, timeout=30)
    with wave.open(str(path)) as file:
        assert file.getframerate() == 16_000
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


class Microphone(MediaStreamTrack):
    """Says what it is given, at 16 kHz, and silence before and after."""

    kind = "audio"

    def __init__(self, pcm: NDArray[np.int16]) -> None:
        super().__init__()
        self._pcm = np.repeat(pcm, _HZ // 16_000)
        self._at = 0
        self._begun_s: float | None = None

    async def recv(self) -> AudioFrame:
        if self._begun_s is None:
            self._begun_s = time.monotonic()
        await asyncio.sleep(self._begun_s + self._at / _HZ - time.monotonic())
        piece = self._pcm[self._at : self._at + _FRAME]
        whole = np.pad(piece, (0, _FRAME - len(piece)))
        frame = AudioFrame.from_ndarray(whole.reshape(1, -1), "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = _HZ, self._at, Fraction(1, _HZ)
        self._at += _FRAME
        return frame


class Client:
    """A browser's part. `loud_s` are the instants of frames with sound."""

    def __init__(self, pcm: NDArray[np.int16]) -> None:
        self.messages: list[str] = []
        self.loud_s: list[float] = []
        self._num_presses = 0
        self._news = asyncio.Event()
        self._peer = RTCPeerConnection()
        self._sender = self._peer.addTrack(Microphone(pcm))
        self.channel = self._peer.createDataChannel("oai-events")
        self.channel.on("message", self._hear_message)
        self._peer.on("track", self._hear_track)
        self._listening: asyncio.Task[None] | None = None

    async def connect(
        self, accept: Callable[[str], Awaitable[str]], *, through: int | None = None
    ) -> None:
        """Place the call; `through` is a port to send to instead of the answered one."""
        await self._peer.setLocalDescription(await self._peer.createOffer())
        offer = self._peer.localDescription.sdp
        line = next(line for line in offer.split("\r\n") if line.startswith("m=audio"))
        offer = offer.replace(line, f"{line} {KEYS}\r\na=rtpmap:{KEYS} telephone-event/48000")
        answer = await accept(offer)
        if through is not None:
            candidate = next(x for x in answer.split("\r\n") if x.startswith("a=candidate"))
            parts = candidate.split()
            parts[5] = str(through)
            answer = answer.replace(candidate, " ".join(parts))
        await self._peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def press(self, event: int) -> None:
        """Press a key: three packets of the same press."""
        for number in range(3):
            payload = bytes((event, 10, 0, number))
            sequence = 60_000 + 3 * self._num_presses + number
            at = 4711 + 9600 * self._num_presses
            packet = RtpPacket(KEYS, not number, sequence, at, 4242, payload)
            await cast("Any", self._sender.transport)._send_rtp(build(packet))
        self._num_presses += 1

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for news that make something so."""
        while not is_so():
            self._news.clear()
            await self._news.wait()

    async def close(self) -> None:
        await self._peer.close()
        if self._listening is not None:
            await self._listening

    def _hear_message(self, text: str) -> None:
        self.messages.append(text)
        self._news.set()

    def _hear_track(self, track: MediaStreamTrack) -> None:
        self._listening = asyncio.get_running_loop().create_task(self._listen(track))

    async def _listen(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, AudioFrame)
            if np.abs(frame.to_ndarray()).max() > 1000:
                self.loud_s.append(time.monotonic())
                self._news.set()


class BadPath(asyncio.DatagramProtocol):
    """Between a client and a worker: media packets to the worker are lost and delayed."""

    def __init__(self, port: int, *, loss: float, jitter_s: float) -> None:
        self._to = ("127.0.0.1", port)
        self._loss, self._jitter_s = loss, jitter_s
        self._client: tuple[str, int] | None = None
        self._chance = random.Random(3)
        self._transport: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if addr == self._to:
            if self._client is not None:
                self._transport.sendto(data, self._client)
            return
        self._client = addr
        if not 128 <= data[0] < 192:
            self._transport.sendto(data, self._to)
        elif self._chance.random() >= self._loss:
            delay_s = self._chance.uniform(0.0, self._jitter_s)
            asyncio.get_running_loop().call_later(delay_s, self._forward, data)

    def _forward(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(data, self._to)

    @classmethod
    async def open(cls, port: int, *, loss: float, jitter_s: float) -> tuple[BadPath, int]:
        """The path and the port that the client sends to."""
        transport, path = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: cls(port, loss=loss, jitter_s=jitter_s), local_addr=("127.0.0.1", 0)
        )
        return path, transport.get_extra_info("sockname")[1]

    def close(self) -> None:
        self._transport.close()
