"""What passes between a call's media and its conversation.

Two clocks are used. *Media time* counts the caller's sound, in seconds since the call began: it
stands still with the caller's clock and is what turn-taking runs on. *Instants* are monotonic
seconds of this machine, the same in all its processes: they are what latency is measured on.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEARD_HZ: Final = 16_000
"""Samples a second of what callers say: what voice activity and recognisers take."""
SAID_HZ: Final = 24_000
"""Samples a second of what is said to callers: the Realtime API's rate, which Opus takes."""
WINDOW_S: Final = 0.032
"""One judgement of voice activity: 512 samples at `HEARD_HZ`, as Silero VAD takes them."""


class CallerSound(msgspec.Struct, frozen=True, array_like=True, tag="sound"):
    """The next stretch of the caller's sound, one window after the other without a gap."""

    start_s: float
    """Media time at which its first window begins."""
    speech: tuple[float, ...]
    """For each window of `WINDOW_S`, the probability that somebody speaks in it, 0 to 1."""
    pcm: bytes
    """int16, little endian, mono, `HEARD_HZ`; empty while nobody has spoken for a while. It ends
    where the last window does. The first after such a silence also has what led up to the speech,
    some 0.3 s, and so begins before `start_s`."""
    arrived_s: float
    """The instant at which the last packet of it came in."""


class Digit(msgspec.Struct, frozen=True, array_like=True, tag="digit"):
    """The caller pressed a key (telephone-event, RFC 4733)."""

    digit: str
    """One of 0-9, *, #, A-D."""
    at_s: float
    """Media time."""


class ClientMessage(msgspec.Struct, frozen=True, array_like=True, tag="message"):
    """What the client wrote on the call's data channel."""

    text: str


class PlayBegan(msgspec.Struct, frozen=True, array_like=True, tag="play_began"):
    """The first packet of an utterance left for the caller."""

    utterance: int
    left_s: float
    """The instant."""


class PlayEnded(msgspec.Struct, frozen=True, array_like=True, tag="play_ended"):
    """Nothing more of an utterance will leave: all of it did, or it was hushed."""

    utterance: int
    played_s: float
    """How much of its sound has left, in seconds."""
    is_whole: bool
    left_s: float
    """The instant at which its last packet left."""


class LineState(StrEnum):
    """Whether the caller is there."""

    CONNECTED = "connected"
    """Sound can flow; said again when a lost line has come back."""
    LOST = "lost"
    """Nothing comes from the client; it may come back within the grace period."""
    CLOSED = "closed"
    """For good. The line's last event."""


class LineChange(msgspec.Struct, frozen=True, array_like=True, tag="line"):
    """The line has another state."""

    state: LineState
    reason: str = ""


LineEvent = CallerSound | Digit | ClientMessage | PlayBegan | PlayEnded | LineChange


class VoiceLine(Protocol):
    """One call's sound both ways, whatever carries it."""

    def events(self) -> AsyncIterator[LineEvent]:
        """What happens on the line, in order, until it is closed. Iterated once."""
        ...

    def say(self, utterance: int, pcm: bytes, *, is_last: bool = False) -> None:
        """More of an utterance: int16, little endian, mono, `SAID_HZ`.

        It is played after what was given before, paced as sound is. Utterances have growing
        numbers. What is given for one that was hushed goes nowhere.
        """
        ...

    def say_prompt(self, utterance: int, prompt: int, pcm: bytes) -> None:
        """Likewise sound that lies ready where the line is, as the prompt of that number."""
        ...

    def hold(self) -> None:
        """Play nothing from now on and keep it: whoever interrupts may not mean it."""
        ...

    def go_on(self) -> None:
        """Play on where `hold` stopped."""
        ...

    def hush(self) -> None:
        """Drop everything that was not played yet: `PlayEnded` says how far that came."""
        ...

    def write(self, text: str) -> None:
        """A message on the data channel; where there is none it goes nowhere."""
        ...

    def close(self, reason: str = "") -> None:
        """End the call. The line's last event follows."""
        ...
