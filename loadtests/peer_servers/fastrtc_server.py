"""FastRTC: a handler for each call that judges and echoes.

FastRTC gets its Silero from a model hub. Here it is the file that comes with this project, judged
call by call on one thread, as FastRTC does.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from fastrtc import AsyncStreamHandler, Stream

from gateway.speech.voice_activity import WINDOW_SAMPLES, VoiceActivity
from loadtests.peer_servers.offers import serve_offers, use_loopback

if TYPE_CHECKING:
    from numpy.typing import NDArray

_RATE_HZ = 16_000


class Echo(AsyncStreamHandler):
    """Says what it hears."""

    def __init__(self) -> None:
        super().__init__("mono", output_sample_rate=_RATE_HZ, input_sample_rate=_RATE_HZ)
        self._judge = VoiceActivity(max_num_calls=1)
        self._row = self._judge.open()
        self._heard = np.zeros(0, np.float32)
        self._said: asyncio.Queue[tuple[int, NDArray[np.int16]]] = asyncio.Queue()

    async def receive(self, frame: tuple[int, NDArray[np.int16]]) -> None:
        """The caller's next frame."""
        rate, samples = frame
        self._said.put_nowait((rate, samples))
        new = samples.reshape(-1).astype(np.float32) / np.float32(32_768)
        self._heard = np.concatenate((self._heard, new))
        while len(self._heard) >= WINDOW_SAMPLES:
            window, self._heard = np.split(self._heard, [WINDOW_SAMPLES])
            self._judge.judge(window[None], [self._row])

    async def emit(self) -> tuple[int, NDArray[np.int16]]:
        """What is said next."""
        return await self._said.get()

    def copy(self) -> Echo:
        """For another call."""
        return Echo()


async def _main() -> None:
    use_loopback()
    stream = Stream(Echo(), modality="audio", mode="send-receive", concurrency_limit=1000)
    numbers = itertools.count()

    async def answer(offer: str) -> str:
        body: dict[str, Any] = {"sdp": offer, "type": "offer", "webrtc_id": str(next(numbers))}
        given = await stream.handle_offer(body, set_outputs=lambda *_: None)
        return str(given["sdp"])

    await serve_offers(answer)


if __name__ == "__main__":
    asyncio.run(_main())
