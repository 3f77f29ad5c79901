"""A caller of a site: places a call, says recordings at the pace of sound, notes what comes back.

What is said is coded once, as browsers code it: for voice, with redundancy, and silent where nobody
speaks. All instants are monotonic seconds; those of packets that came are the kernel's.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gateway.core.voice_line import HEARD_HZ, SAID_HZ
from gateway.media.worker.opus import MAX_QUIET_BYTES, OpusDecoder, OpusEncoder
from gateway.media.worker.rtp import RtpPacket, build, parse
from gateway.speech.resample import Resampler
from loadtests.clients.webrtc import WebRtcCaller
from loadtests.voice_peer import PAYLOAD_TYPE, SSRC

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway.media.worker.secure import Identity
    from loadtests.synthetic_speech import Utterance

FRAME_S: Final = 0.02
_FRAME_TICKS: Final = 960
_FRAME_BYTES: Final = 2 * round(SAID_HZ * FRAME_S)
_COMFORT_FRAMES: Final = 20
"""In silence every so many frames one is sent that says so (RFC 6716 section 2.1.9)."""
_LOUD: Final = 0.003
"""Root mean square, of full scale, from which a frame of the agent's can be heard."""
_CONNECT_LIMIT_S: Final = 20.0
_QUIET: Final = bytes((0x78,))
"""A packet without sound: one empty frame of 20 ms (RFC 6716 section 3.1)."""


@dataclass(frozen=True, slots=True)
class Recording:
    """An utterance as packets."""

    said: Utterance
    packets: tuple[bytes, ...]

    @classmethod
    def of(cls, said: Utterance) -> Recording:
        """Code what is said."""
        resampler = Resampler(HEARD_HZ, SAID_HZ)
        samples = (np.clip(said.sound, -1.0, 1.0) * 32767).astype("<i2")
        pcm = resampler.feed(samples.tobytes()) + resampler.flush()
        encoder = OpusEncoder(bitrate_bps=24_000, complexity=9)
        encoder.adapt(0.05)
        places = range(0, len(pcm) - _FRAME_BYTES + 1, _FRAME_BYTES)
        return cls(said, tuple(encoder.encode(pcm[at : at + _FRAME_BYTES]) for at in places))


@dataclass(slots=True)
class Saying:
    """A recording that is being said."""

    recording: Recording
    num_sent: int = 0
    sent_s: dict[int, float] = field(default_factory=dict)
    """When each frame that was sent left."""
    _said: asyncio.Event = field(default_factory=asyncio.Event)

    def at_s(self, recorded_s: float) -> float | None:
        """When the sample at a place of the recording was spoken; None: not yet.

        The packet leaves when its last sample has been spoken, so the first of its samples is
        20 ms older than it.
        """
        frame = max(0, ceil(recorded_s / FRAME_S) - 1)
        left_s = self.sent_s.get(frame)
        return None if left_s is None else left_s - ((frame + 1) * FRAME_S - recorded_s)

    def sent(self, now_s: float) -> None:
        """The next frame has left."""
        self.sent_s[self.num_sent] = now_s
        self.num_sent += 1
        if self.at_s(self.recording.said.end_s) is not None:
            self._said.set()

    async def over(self) -> float:
        """Return when the last sample of speech was spoken, once it was."""
        await self._said.wait()
        ended_s = self.at_s(self.recording.said.end_s)
        assert ended_s is not None  # that is what was waited for
        return ended_s


class Talker:
    """One call."""

    def __init__(self, identity: Identity) -> None:
        self._client = WebRtcCaller(identity, self._take, read=self._read)
        self._decoder = OpusDecoder()
        self._num_frames = 0
        self._num_sent = 0
        self._news = asyncio.Event()
        self._to_monotonic_s = time.monotonic() - time.clock_gettime(time.CLOCK_REALTIME)
        self.saying: Saying | None = None
        self.frames: list[tuple[float, bool]] = []
        """Of the agent: when each came, and whether it can be heard."""
        self.events: list[tuple[float, dict[str, Any]]] = []
        """What the site told, and when it came."""

    @property
    def offer(self) -> str:
        """What a call is placed with, or taken up again."""
        return self._client.offer

    async def connect(self, answer: str) -> None:
        """Connect to where the answer says."""
        await self._client.connect(answer)

    def move(self) -> None:
        """Be at another address from now on, and want to be found under another name."""
        self._client.move()

    async def come_back(self, answer: str) -> None:
        """Go on with the call after `move`."""
        await self._client.come_back(answer)

    async def call(self, place: Callable[[str], Awaitable[str]]) -> None:
        """Place the call: `place` takes an offer and returns the answer. Raises TimeoutError."""
        async with asyncio.timeout(_CONNECT_LIMIT_S):
            await self.connect(await place(self.offer))
            await self.told("session.created")

    def say(self, recording: Recording) -> Saying:
        """Begin to say it with the next frame."""
        self.saying = Saying(recording)
        return self.saying

    def frame(self) -> None:
        """Send the frame that is due."""
        number, self._num_frames = self._num_frames, self._num_frames + 1
        payload = b""
        saying = self.saying
        if saying is not None and saying.num_sent < len(saying.recording.packets):
            payload = saying.recording.packets[saying.num_sent]
            saying.sent(time.monotonic())
        if len(payload) <= MAX_QUIET_BYTES:
            if number % _COMFORT_FRAMES:
                return
            payload = payload or _QUIET
        ticks = number * _FRAME_TICKS
        packet = RtpPacket(PAYLOAD_TYPE, False, self._num_sent, ticks, SSRC, payload)
        self._num_sent += 1
        self._client.send(build(packet))

    def write(self, kind: str, **fields: object) -> None:
        """Write an event."""
        self._client.write(json.dumps({"type": kind, **fields}))

    async def told(self, kind: str, *, since_s: float = 0.0) -> dict[str, Any]:
        """The first event of a kind from an instant on, when it has come."""
        while True:
            for at_s, event in self.events:
                if at_s >= since_s and event["type"] == kind:
                    return event
            await self.news()

    async def news(self) -> None:
        """Return when something else has come, sound or event."""
        self._news.clear()
        await self._news.wait()

    def heard_from(self, since_s: float) -> float | None:
        """When the first frame came that can be heard, from an instant on."""
        return next((at_s for at_s, is_loud in self.frames if is_loud and at_s >= since_s), None)

    def forget(self) -> None:
        """Forget what has come so far."""
        self.frames.clear()
        self.events.clear()

    def close(self) -> None:
        """Leave; the site notices."""
        self._client.close()

    def _take(self, packet: bytes, at_ns: int) -> None:
        parsed = parse(packet)
        if parsed is None:
            return
        pcm = np.frombuffer(self._decoder.decode(parsed.payload), "<i2").astype(np.float32)
        loudness = float(np.sqrt(np.mean(np.square(pcm / 32768.0)))) if len(pcm) else 0.0
        self.frames.append((at_ns / 1e9 + self._to_monotonic_s, loudness >= _LOUD))
        self._news.set()

    def _read(self, text: str) -> None:
        self.events.append((time.monotonic(), json.loads(text)))
        self._news.set()


async def keep_pace(talkers: Sequence[Talker]) -> None:
    """Send every talker's frames on absolute deadlines, spread over the 20 ms, until cancelled."""
    began_s = time.monotonic()
    number = 0
    while True:
        for place, talker in enumerate(talkers):
            due_s = began_s + FRAME_S * (number + place / len(talkers))
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            talker.frame()
        number += 1
