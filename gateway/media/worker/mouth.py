"""Saying utterances at the pace of sound.

Frames leave on absolute deadlines, so that a late timer delays one frame and not all that follow.
A line that has been silent begins at once: its deadlines start anew with the first frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from gateway.core.voice_line import SAID_HZ
from gateway.media.worker.utterances import Frame, Utterances

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.voice_line import PlayBegan, PlayEnded
    from gateway.media.worker.prompts import Prompt

EARLY_S: Final = 0.0015
"""A frame leaves so much before its time rather than a whole timer tick after it."""
_MAX_BEHIND_S = 0.1
"""Sound that is later than this is not caught up with: the pace begins anew."""
_NEVER_S = float("inf")


class Carrier(Protocol):
    """Where frames go."""

    def send(self, frame: Frame, at_s: float) -> None:
        """A frame whose place in time is `at_s`."""
        ...

    def pause(self) -> None:
        """No frame follows for now."""
        ...


class Mouth:
    """One line's saying, while it is `open`. Instants are monotonic seconds, passed in.

    `step` must be called when `due_s` has come, or soon after. After the last word come
    `num_tail_frames` of silence, which push it out of a client's buffer.
    """

    def __init__(
        self,
        carrier: Carrier,
        *,
        frame_s: float,
        num_tail_frames: int,
        tell: Callable[[PlayBegan | PlayEnded], None],
    ) -> None:
        self._carrier = carrier
        self._frame_s = frame_s
        self._num_tail_frames = num_tail_frames
        self._silence = bytes(2 * round(SAID_HZ * frame_s))
        self._utterances = Utterances(frame_bytes=len(self._silence), tell=tell)
        self._is_open = False
        self._is_held = False
        self._num_tail = 0
        self._last = -1
        self._free_s = 0.0
        """When what has left is over, with the frame that announces a pause."""
        self.due_s = _NEVER_S
        """When the next frame leaves; infinite while nothing is being said."""
        self.num_late = 0
        """Frames that left more than a frame after their time."""

    def open(self, now_s: float) -> None:
        """Somebody can hear from now on."""
        self._is_open = True
        self._wake(now_s)

    def shut(self) -> None:
        """Nobody hears; what is to be said is kept."""
        self._is_open = False
        self._rest()

    def say(self, utterance: int, pcm: bytes, *, is_last: bool, now_s: float) -> None:
        """More of an utterance; see `core.voice_line`."""
        self._utterances.add(utterance, pcm, is_last=is_last, now_s=now_s)
        self._wake(now_s)

    def say_prompt(self, utterance: int, prompt: Prompt, *, now_s: float) -> None:
        """Likewise a prompt."""
        self._utterances.add_prompt(utterance, prompt, now_s=now_s)
        self._wake(now_s)

    def hold(self) -> None:
        """Say nothing, and keep it."""
        self._is_held = True
        self._rest()

    def go_on(self, now_s: float) -> None:
        """Say on after `hold`."""
        self._is_held = False
        self._wake(now_s)

    def hush(self, now_s: float) -> None:
        """Drop what was not said, and what holds."""
        self._utterances.hush(now_s)
        self._is_held = False
        self._rest()

    def step(self, now_s: float) -> None:
        """Let the frames leave that are due."""
        if now_s - self.due_s > _MAX_BEHIND_S:
            self.num_late += 1
            self.due_s = now_s
        while self.due_s - now_s <= EARLY_S:
            self.num_late += now_s - self.due_s > self._frame_s
            if self._utterances.has_frame:
                self._speak(now_s)
            elif self._num_tail:
                self._num_tail -= 1
                self._carrier.send(Frame(self._last, self._silence), self.due_s)
                self.due_s += self._frame_s
            else:
                self._rest()

    def _wake(self, now_s: float) -> None:
        """Begin at once where nothing was being said."""
        if self._is_held or not self._is_open or not self._utterances.has_frame:
            return
        if self.due_s == _NEVER_S:
            self.due_s = max(now_s, self._free_s)
            self.step(now_s)

    def _speak(self, now_s: float) -> None:
        frame = self._utterances.take()
        self._carrier.send(frame, self.due_s)
        self._last, self._num_tail = frame.utterance, self._num_tail_frames
        self.due_s += self._frame_s
        self._utterances.left(frame, now_s)

    def _rest(self) -> None:
        if self.due_s != _NEVER_S:
            self._free_s = self.due_s + self._frame_s
            self.due_s = _NEVER_S
            self._carrier.pause()
