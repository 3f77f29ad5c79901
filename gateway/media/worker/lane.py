"""A line without a network of its own: sound comes and goes in pieces, as by WebSocket."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gateway.core.call_errors import InvalidOffer
from gateway.core.voice_line import HEARD_HZ, SAID_HZ, LineChange, LineState
from gateway.media.frames import LaneFormat, LaneSound
from gateway.media.worker.g711 import G711Decoder, G711Encoder
from gateway.media.worker.hearing import Hearing
from gateway.media.worker.mouth import Mouth
from gateway.speech.resample import Resampler

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.voice_line import LineEvent
    from gateway.media.worker.prompts import Prompt
    from gateway.media.worker.utterances import Frame

_FRAME_S = 0.02


class Lane:
    """A line of one format, in and out. `deliver` gets what is said, `tell` the line's events.

    What is not paced is delivered when it is given, as whoever plays it keeps it; the events come
    as if it were played from then on, and `hold` cannot stop it.
    """

    is_waiting = False

    def __init__(
        self,
        number: int,
        format_: LaneFormat,
        *,
        is_paced: bool,
        deliver: Callable[[LaneSound], None],
        tell: Callable[[LineEvent], None],
    ) -> None:
        self.hearing = Hearing()
        self._number = number
        self._is_paced = is_paced
        self._deliver = deliver
        self._tell = tell
        self._hears, self._says = _coders(format_)
        self._hushed = -1
        self._newest = -1
        self.mouth = Mouth(self, frame_s=_FRAME_S, num_tail_frames=0, tell=tell)
        tell(LineChange(LineState.CONNECTED))
        self.mouth.open(time.monotonic())

    def feed(self, sound: bytes) -> None:
        """The caller's next sound."""
        self.hearing.add(self._hears(sound), time.monotonic())

    def say(self, utterance: int, pcm: bytes, *, is_last: bool, now_s: float) -> None:
        """More of an utterance; see `core.voice_line`."""
        if not self._is_paced and utterance > self._hushed:
            self._deliver(LaneSound(self._number, utterance, self._says(pcm)))
        self._newest = max(self._newest, utterance)
        self.mouth.say(utterance, pcm, is_last=is_last, now_s=now_s)

    def say_prompt(self, utterance: int, prompt: Prompt, *, now_s: float) -> None:
        """Likewise a prompt."""
        self.say(utterance, prompt.pcm, is_last=False, now_s=now_s)

    def hold(self) -> None:
        """Say nothing, and keep it."""
        if self._is_paced:
            self.mouth.hold()

    def hush(self, now_s: float) -> None:
        """Drop what was not played."""
        self._hushed = self._newest
        self.mouth.hush(now_s)

    def send(self, frame: Frame, at_s: float) -> None:
        """From the mouth: a frame's time has come."""
        if self._is_paced:
            self._deliver(LaneSound(self._number, frame.utterance, self._says(frame.pcm)))

    def pause(self) -> None:
        """From the mouth."""

    def advance(self, now_s: float) -> None:
        """Nothing is ever due: sound comes when it comes."""

    def report(self, now_s: float) -> None:
        """There is nobody who counts packets."""

    def restart(self, offer_sdp: str) -> str:
        """A lane is no call. Raises InvalidOffer."""
        raise InvalidOffer("the line is no call")

    def write(self, text: str) -> None:
        """There is no data channel."""

    def close(self, reason: str) -> None:
        """End the line; its last events follow."""
        self.mouth.hush(time.monotonic())
        self._tell(LineChange(LineState.CLOSED, reason))


class _Pcm24:
    """16-bit samples at 24 kHz, whose pieces may end within a sample."""

    def __init__(self) -> None:
        self._resampler = Resampler(SAID_HZ, HEARD_HZ, is_live=True)
        self._half = b""

    def hear(self, sound: bytes) -> bytes:
        sound = self._half + sound
        end = len(sound) - len(sound) % 2
        self._half = sound[end:]
        return self._resampler.feed(sound[:end])


def _coders(
    format_: LaneFormat,
) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """From the format to `HEARD_HZ`, and from `SAID_HZ` to the format."""
    match format_:
        case LaneFormat.PCM:
            return _Pcm24().hear, bytes
        case LaneFormat.PCMU:
            return G711Decoder("pcmu").decode, G711Encoder("pcmu").encode
        case LaneFormat.PCMA:
            return G711Decoder("pcma").decode, G711Encoder("pcma").encode
