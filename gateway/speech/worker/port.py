"""What an engine has to do inside a speech process. All of it may block; one thread calls it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.speech.port import Heard, SpeechGrade, Spoken

    Emit = Callable[[Spoken], bool]
    """Takes the next piece; False: nobody wants more."""


class EngineFailed(Exception):
    """The engine could not do this one thing."""


class EngineHearing(Protocol):
    """One hearing inside an engine; ends with `finish` or `drop`."""

    caller: str
    """After `finish`: what helps to hear this caller again; empty if nothing does."""

    def feed(self, pcm: bytes) -> None:
        """More sound: int16, mono, 16 kHz. Raises EngineFailed."""
        ...

    def so_far(self) -> Heard:
        """What was heard of all that was fed."""
        ...

    def finish(self) -> Heard:
        """The final result."""
        ...

    def drop(self) -> None:
        """End without a result."""
        ...


class Ear(Protocol):
    """A recogniser's engine."""

    name: str
    grade: SpeechGrade

    def begin(self, caller: str) -> EngineHearing:
        """Begin a hearing; an earlier one of the same caller said `caller`. Raises EngineFailed."""
        ...


class Voice(Protocol):
    """A synthesiser's engine."""

    name: str
    grade: SpeechGrade

    def say(self, text: str, emit: Emit) -> None:
        """Make a clause's sound, piece by piece, until `emit` says no. Raises EngineFailed."""
        ...
