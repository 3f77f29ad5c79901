"""What a call tells whoever runs its conversation.

One stream, in the order in which it happened. Of each utterance of the caller come, with its number,

    SpeechStarted · Partial* · (EagerTurn · EagerTurnDropped)* · EagerTurn? · SpeechStopped
    · Partial* · EagerTurnDropped? · Committed | Unheard

and nothing of one that was only a cough or an "uh-huh" into the agent's words: `Resumed` tells of
it. Utterances have growing numbers. Times named `audio_…` are media time, the others instants; see
`core.voice_line`, whose `Digit`, `ClientMessage` and `LineChange` are part of the stream. A closed
line ends it; an utterance that was still open is then never committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.core.turns import EndReason, FalseInterruption
from gateway.core.voice_line import ClientMessage, Digit, LineChange
from gateway.core.voice_stages import HeardTiming

if TYPE_CHECKING:
    from gateway.core.errors import GatewayError


class SpeechStarted(msgspec.Struct, frozen=True):
    """The caller has begun to say something."""

    utterance: int
    audio_start_s: float
    """Where the sound of the utterance begins: the padding before the speech is included."""


class Interrupted(msgspec.Struct, frozen=True):
    """The caller talks over the agent and means it; follows `SpeechStarted`.

    The line is held already. Whoever runs the conversation hushes the speaker and gives the answer
    up, or lets it go on.
    """

    utterance: int


class Resumed(msgspec.Struct, frozen=True):
    """The agent was held for a moment and goes on: the caller did not mean to interrupt."""

    kind: FalseInterruption


class Partial(msgspec.Struct, frozen=True):
    """The text of an utterance so far, anew each time."""

    utterance: int
    text: str


class EagerTurn(msgspec.Struct, frozen=True):
    """The turn has probably ended with these words: an answer may be begun, but not be played.

    Settled by `EagerTurnDropped`, or by a `Committed` that `is_as_begun`.
    """

    utterance: int
    transcript: str
    timing: HeardTiming


class EagerTurnDropped(msgspec.Struct, frozen=True):
    """The caller went on, or said something else in the end: what was begun is for nothing."""

    utterance: int


class SpeechStopped(msgspec.Struct, frozen=True):
    """The turn has ended; its final transcript follows."""

    utterance: int
    audio_end_s: float
    """Where the speech ended, without the pause that showed it."""
    reason: EndReason


class Committed(msgspec.Struct, frozen=True):
    """What the caller said in a turn."""

    utterance: int
    transcript: str
    """Empty: nothing that sounds like words."""
    confidence: float | None
    """0 to 1; None: the recogniser does not say."""
    is_as_begun: bool
    """The same words as the `EagerTurn` before: what was begun for that is the answer."""
    timing: HeardTiming


class Unheard(msgspec.Struct, frozen=True):
    """No transcript of a turn: its recogniser failed or is not there. The caller may be asked to
    say it again."""

    utterance: int
    error: GatewayError


class Idle(msgspec.Struct, frozen=True):
    """Nobody has said anything for the settings' idle timeout."""

    audio_start_s: float
    audio_end_s: float


class CallTooLong(msgspec.Struct, frozen=True):
    """The call has lasted for as long as calls may. Said once; ending it is the conversation's."""


class AudioBegan(msgspec.Struct, frozen=True):
    """The first packet of an answer left for the caller."""

    answer: int
    left_s: float


class AudioEnded(msgspec.Struct, frozen=True):
    """Nothing more of an answer will be played."""

    answer: int
    played_text: str
    """The text that was played: all of it, or up to the word that was cut off."""
    played_s: float
    is_whole: bool


CallEvent = (
    SpeechStarted
    | Interrupted
    | Resumed
    | Partial
    | EagerTurn
    | EagerTurnDropped
    | SpeechStopped
    | Committed
    | Unheard
    | Idle
    | CallTooLong
    | AudioBegan
    | AudioEnded
    | Digit
    | ClientMessage
    | LineChange
)
