"""What is still to be said on a line: utterances cut into frames. Instants are passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.core.voice_line import SAID_HZ, PlayBegan, PlayEnded
from gateway.media.worker.prompts import ReadyFrame

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.media.worker.prompts import Prompt

MAX_QUEUED_BYTES: Final = 300 * 2 * SAID_HZ
"""Five minutes. What is said beyond is dropped, and its utterance did not play whole."""

_COMPACT_BYTES = 1 << 17


@dataclass(slots=True)
class _Utterance:
    number: int
    sound: bytearray = field(default_factory=bytearray)
    at: int = 0
    """What lies before it in `sound` has left."""
    played_bytes: int = 0
    left_s: float | None = None
    is_complete: bool = False
    is_whole: bool = True
    prompts: deque[tuple[int, Prompt]] = field(default_factory=deque)
    """What of the sound is a prompt, by how many bytes lie before it."""

    @property
    def num_bytes(self) -> int:
        return len(self.sound) - self.at

    def ready(self, frame_bytes: int) -> ReadyFrame | None:
        """The next frame's packet, if it is a whole frame of a prompt."""
        while self.prompts:
            begins, prompt = self.prompts[0]
            at = self.played_bytes - begins
            if at + frame_bytes <= len(prompt.pcm):
                is_one = at >= 0 and at % frame_bytes == 0
                return ReadyFrame(prompt, at // frame_bytes) if is_one else None
            self.prompts.popleft()
        return None

    def cut(self, num_bytes: int) -> bytes:
        """At most so much of its beginning."""
        piece = bytes(self.sound[self.at : self.at + num_bytes])
        self.at += len(piece)
        self.played_bytes += len(piece)
        if self.at >= _COMPACT_BYTES:
            del self.sound[: self.at]
            self.at = 0
        return piece


class Frame(NamedTuple):
    """The next frame's sound and what to tell once it has left."""

    utterance: int
    pcm: bytes
    """int16, mono, `SAID_HZ`."""
    is_first: bool = False
    ready: ReadyFrame | None = None


class Utterances:
    """A line's utterances in order; `tell` hears where each begins and ends.

    A frame that has left must be told by `left` before the next is taken.
    """

    def __init__(self, *, frame_bytes: int, tell: Callable[[PlayBegan | PlayEnded], None]) -> None:
        self._frame_bytes = frame_bytes
        self._tell = tell
        self._waiting: deque[_Utterance] = deque()
        self._newest = -1
        self._num_bytes = 0

    @property
    def has_frame(self) -> bool:
        """Whether `take` gives a frame."""
        if not self._waiting:
            return False
        head = self._waiting[0]
        return head.num_bytes >= self._frame_bytes or (head.is_complete and head.num_bytes > 0)

    def add(self, number: int, pcm: bytes, *, is_last: bool, now_s: float) -> None:
        """More of an utterance. What is given for one that has ended goes nowhere."""
        growing = self._growing(number)
        if growing is None:
            return
        room = MAX_QUEUED_BYTES - self._num_bytes
        growing.is_whole &= len(pcm) <= room
        growing.sound += pcm[:room]
        self._num_bytes += min(len(pcm), room)
        growing.is_complete = is_last
        self._settle(now_s)

    def add_prompt(self, number: int, prompt: Prompt, *, now_s: float) -> None:
        """Likewise a prompt."""
        growing = self._growing(number)
        if growing is not None:
            growing.prompts.append((growing.played_bytes + growing.num_bytes, prompt))
            self.add(number, prompt.pcm, is_last=False, now_s=now_s)

    def _growing(self, number: int) -> _Utterance | None:
        """The utterance of that number, if it is not over; begins it."""
        newest = self._waiting[-1] if self._waiting else None
        if number > self._newest:
            if newest is not None:
                newest.is_complete = True  # nothing can follow it any more
            newest = _Utterance(number)
            self._waiting.append(newest)
            self._newest = number
        elif newest is None or newest.number != number or newest.is_complete:
            return None
        return newest

    def take(self) -> Frame:
        """The next frame, filled up with silence at an utterance's end; only where there is one."""
        head = self._waiting[0]
        ready = head.ready(self._frame_bytes)
        pcm = head.cut(self._frame_bytes)
        self._num_bytes -= len(pcm)
        padded = pcm.ljust(self._frame_bytes, b"\0")
        return Frame(head.number, padded, head.left_s is None, ready)

    def left(self, frame: Frame, now_s: float) -> None:
        """A frame that was taken has left."""
        self._waiting[0].left_s = now_s
        if frame.is_first:
            self._tell(PlayBegan(frame.utterance, now_s))
        self._settle(now_s)

    def hush(self, now_s: float) -> None:
        """Drop all that is left."""
        while self._waiting:
            self._end(now_s, is_whole=False)

    def _settle(self, now_s: float) -> None:
        """Utterances at the front that have no more sound are over."""
        while self._waiting and self._waiting[0].is_complete and not self._waiting[0].num_bytes:
            self._end(now_s, is_whole=self._waiting[0].is_whole)

    def _end(self, now_s: float, *, is_whole: bool) -> None:
        ended = self._waiting.popleft()
        self._num_bytes -= ended.num_bytes
        played_s = ended.played_bytes / (2 * SAID_HZ)
        left_s = now_s if ended.left_s is None else ended.left_s
        self._tell(PlayEnded(ended.number, played_s, is_whole, left_s))
