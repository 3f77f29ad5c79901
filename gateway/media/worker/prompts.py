"""Sentences that are said often, as packets that are ready: nothing is coded when they are said."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.core.voice_line import SAID_HZ
from gateway.media.worker.audio_terms import Codec
from gateway.media.worker.codecs import encoder_of

if TYPE_CHECKING:
    from gateway.media.frames import SoundSettings

_USUAL_FRAME_BYTES: Final = 2 * SAID_HZ // 50
"""20 ms, as nearly every client wants it."""


class Prompt:
    """A sentence's sound, and its packets in the codecs that callers have."""

    def __init__(self, pcm: bytes, sound: SoundSettings) -> None:
        self.pcm = pcm
        """int16, mono, `SAID_HZ`."""
        self._sound = sound
        self._coded = cache(self._code)
        self.packets(Codec.OPUS, _USUAL_FRAME_BYTES)

    def packets(self, codec: Codec, frame_bytes: int) -> tuple[bytes, ...]:
        """One for each whole frame of the sound; coded when first asked for, but for Opus."""
        return self._coded(codec, frame_bytes)

    def _code(self, codec: Codec, frame_bytes: int) -> tuple[bytes, ...]:
        encoder = encoder_of(
            codec, bitrate_bps=self._sound.bitrate_bps, complexity=self._sound.complexity
        )
        last = len(self.pcm) - frame_bytes
        places = range(0, last + 1, frame_bytes)
        return tuple(encoder.encode(self.pcm[at : at + frame_bytes]) for at in places)


class ReadyFrame(NamedTuple):
    """One frame of a prompt."""

    prompt: Prompt
    number: int

    def packet(self, codec: Codec, frame_bytes: int) -> bytes:
        """As it is sent."""
        return self.prompt.packets(codec, frame_bytes)[self.number]
