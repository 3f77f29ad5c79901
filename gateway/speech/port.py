"""What a call needs of speech engines, whichever they are.

A recogniser hears one stretch of speech at a time in a `Hearing`; a synthesiser says one clause at
a time. Both do their work in processes of their own: nothing here blocks the event loop, and what
waits raises `SpeechLost` when that process ends.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable


class SpeechGrade(StrEnum):
    """What an engine is good for. Doctor and the talk page say it."""

    DEMONSTRATION = "demonstration grade; its accuracy with human voices was not measured"
    OPERATOR = "the operator's own model"


class TimedWord(msgspec.Struct, frozen=True, array_like=True):
    """A word and where it lies, in seconds from the first sample of its hearing or clause."""

    text: str
    start_s: float
    end_s: float


class Heard(msgspec.Struct, frozen=True, array_like=True, tag="heard"):
    """What was understood of one hearing."""

    text: str
    """Words as the recogniser writes them; empty: nothing that sounds like words."""
    is_final: bool = False
    confidence: float | None = None
    """0 to 1; None: the engine does not say, or not yet."""
    words: tuple[TimedWord, ...] = ()
    """With a final result, where the engine has times."""


class Spoken(msgspec.Struct, frozen=True, array_like=True, tag="spoken"):
    """The next piece of a clause's sound."""

    pcm: bytes
    """int16, little endian, mono, `core.voice_line.SAID_HZ`."""
    words: tuple[TimedWord, ...] = ()
    """The words of the clause that begin in this piece; empty where the engine has no times."""
    prompt: int | None = None
    """The number under which lines have this sound ready; None: they have not."""


class Hearing(Protocol):
    """One stretch of a caller's speech on its way to words. Ends with `finish` or `drop`."""

    def feed(self, pcm: bytes) -> None:
        """More sound: int16, little endian, mono, `core.voice_line.HEARD_HZ`. Never waits."""
        ...

    async def so_far(self) -> Heard:
        """What all the sound that was fed says until now. More may follow."""
        ...

    async def finish(self) -> Heard:
        """The final result. Nothing may be fed afterwards."""
        ...

    def drop(self) -> None:
        """Nobody wants the result. Harmless after the end."""
        ...


class Recogniser(Protocol):
    """Makes text of speech."""

    @property
    def name(self) -> str:
        """The engine and its model, for records and pages."""
        ...

    @property
    def grade(self) -> SpeechGrade:
        """What it is good for."""
        ...

    async def back(self) -> None:
        """Return when a process of it runs, at once if one does: after SpeechLost, `open` can."""
        ...

    def open(
        self, *, partial: Callable[[Heard], None] | None = None, after: Hearing | None = None
    ) -> Hearing:
        """Begin to hear. `partial` is called on the event loop whenever the text so far changes.

        `after` is a hearing of the same caller that was finished: some engines hear better when
        they know voice and line, and its result says nothing otherwise.
        Raises SpeechLost while the process is started again, and SpeechBusy.
        """
        ...


class Synthesiser(Protocol):
    """Makes speech of text."""

    @property
    def name(self) -> str:
        """The engine and its voice, for records and pages."""
        ...

    @property
    def grade(self) -> SpeechGrade:
        """What it is good for."""
        ...

    def say(self, text: str) -> AsyncGenerator[Spoken, None]:
        """A clause as sound, piece by piece as it is made. Closing the iterator stops the work.

        Text may hold amounts, dates and numbers as they are written. Raises SpeechLost, SpeechBusy
        and, when the engine fails on this clause, SpeechError.
        """
        ...
