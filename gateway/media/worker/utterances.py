"""What is still to be said on a line: utterances cut into frames. Instants are passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.core.voice_line import SAID_HZ, PlayBegan, PlayEnded

if TYPE_CHECKING:
    from collections.abc import Callable

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

    @property
    def num_bytes(self) -> int:
        return len(self.sound) - self.at

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
    is_first: bool


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
        newest = self._waiting[-1] if self._waiting else None
        if number > self._newest:
            if newest is not None:
                newest.is_complete = True  # nothing can follow it any more
            newest = _Utterance(number)
            self._waiting.append(newest)
            self._newest = number
        elif newest is None or newest.number != number or newest.is_complete:
            return
        room = MAX_QUEUED_BYTES - self._num_bytes
        newest.is_whole &= len(pcm) <= room
        newest.sound += pcm[:room]
        self._num_bytes += min(len(pcm), room)
        newest.is_complete = is_last
        self._settle(now_s)

    def take(self) -> Frame:
        """The next frame, filled up with silence at an utterance's end; only where there is one."""
        head = self._waiting[0]
        pcm = head.cut(self._frame_bytes)
        self._num_bytes -= len(pcm)
        return Frame(head.number, pcm.ljust(self._frame_bytes, b"\0"), head.left_s is None)

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
