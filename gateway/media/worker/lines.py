"""All lines of a worker under one timer: what is due is done for all of them, in one go.

There is no task, thread or timer per line. A line whose own part fails ends alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, Protocol

from gateway.core.voice_line import LineChange, LineState

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.voice_line import LineEvent
    from gateway.media.worker.hearing import Hearing
    from gateway.media.worker.judge import Judge, Listener
    from gateway.media.worker.mouth import Mouth
    from gateway.media.worker.prompts import Prompt

_log = logging.getLogger(__name__)

TICK_S: Final = 0.005
"""Frames leave at most so much after their time, and on average half of it."""
_JUDGED_EVERY = 2
"""Windows wait so many ticks at most: larger batches cost less for each (1.8 ms CPU for a second of
sound in batches of 32, 3.8 alone)."""
_ADVANCED_EVERY = 4
_REPORTED_EVERY = 500


class Line(Protocol):
    """A call or a lane, as the timer sees it."""

    @property
    def hearing(self) -> Hearing:
        """The caller's sound."""
        ...

    @property
    def mouth(self) -> Mouth:
        """What is said to the caller."""
        ...

    @property
    def is_waiting(self) -> bool:
        """Whether `advance` is wanted at every tick and not at every fourth only."""
        ...

    def advance(self, now_s: float) -> None:
        """Hand on the sound that is due."""
        ...

    def report(self, now_s: float) -> None:
        """Tell the other end what its stream looks like from here."""
        ...

    def say(self, utterance: int, pcm: bytes, *, is_last: bool, now_s: float) -> None:
        """More of an utterance; this and what follows as in `core.voice_line`."""
        ...

    def say_prompt(self, utterance: int, prompt: Prompt, *, now_s: float) -> None:
        """Likewise a prompt."""
        ...

    def hold(self) -> None:
        """Say nothing, and keep it."""
        ...

    def hush(self, now_s: float) -> None:
        """Drop what was not played."""
        ...

    def restart(self, offer_sdp: str) -> str:
        """Another offer of the same client; its answer. Raises OfferRefused."""
        ...

    def write(self, text: str) -> None:
        """A message on the data channel, where there is one."""
        ...

    def close(self, reason: str) -> None:
        """End the line; its last events follow."""
        ...


class Lines:
    """The lines there are. `tell` gets their events by the number they were added under."""

    def __init__(self, judge: Judge, tell: Callable[[int, LineEvent], None]) -> None:
        self.num_late_ticks = 0
        self._judge = judge
        self._tell = tell
        self._lines: dict[int, tuple[Line, Listener]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next_s = 0.0
        self._num_ticks = 0

    def __len__(self) -> int:
        return len(self._lines)

    def get(self, number: int) -> Line | None:
        """The line of this number, while there is one."""
        found = self._lines.get(number)
        return None if found is None else found[0]

    def all(self) -> list[Line]:
        """The lines there are."""
        return [line for line, _ in self._lines.values()]

    def add(self, number: int, line: Line) -> None:
        """A new line. Raises IndexError beyond the judge's number."""
        self._lines[number] = line, self._judge.enter(line.hearing)
        if self._timer is None:
            self._next_s = time.monotonic()
            self._set_timer()

    def remove(self, number: int) -> None:
        """The line has ended."""
        found = self._lines.pop(number, None)
        if found is not None:
            self._judge.leave(found[1])

    def close(self, reason: str) -> None:
        """End all lines and the timer."""
        for line, _ in tuple(self._lines.values()):
            line.close(reason)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def tick(self, now_s: float) -> None:
        """Do what is due by now."""
        self._num_ticks += 1
        is_full = self._num_ticks % _ADVANCED_EVERY == 0
        for number, (line, _) in tuple(self._lines.items()):
            try:
                if line.mouth.due_s <= now_s + TICK_S / 2:
                    line.mouth.step(now_s)
                if is_full or line.is_waiting:
                    line.advance(now_s)
                if (self._num_ticks + number) % _REPORTED_EVERY == 0:
                    line.report(now_s)
            except Exception:  # noqa: BLE001 (a defect of one line; the others go on)
                self.abandon(number, line)
        if self._num_ticks % _JUDGED_EVERY == 0:
            self._judge_all()

    def abandon(self, number: int, line: Line) -> None:
        """End a line that fails, whatever its end does; called where the exception is caught."""
        _log.exception("line %d failed", number)
        try:
            line.close("the line failed")
        except Exception:  # noqa: BLE001 (as above)
            _log.exception("line %d does not end", number)
        if number in self._lines:  # else it has told of its end itself
            self._tell(number, LineChange(LineState.CLOSED, "the line failed"))
            self.remove(number)

    def _judge_all(self) -> None:
        ready = {
            number: listener
            for number, (line, listener) in self._lines.items()
            if line.hearing.has_window
        }
        if not ready:
            return
        self._judge.judge(tuple(ready.values()))
        for number, listener in ready.items():
            sound = listener.hearing.heard()
            if sound is not None:
                self._tell(number, sound)

    def _set_timer(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, self._next_s - time.monotonic()), self._wake)

    def _wake(self) -> None:
        now_s = time.monotonic()
        self.tick(now_s)
        self._next_s += TICK_S
        if now_s > self._next_s:  # missed ticks are not made up for
            self.num_late_ticks += 1
            self._next_s = now_s + TICK_S
        if self._lines:
            self._set_timer()
        else:
            self._timer = None
