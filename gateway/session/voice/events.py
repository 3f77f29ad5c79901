"""What a call tells whoever runs its conversation.

One stream, in the order in which it happened. Of each utterance of the caller come, by its number,

    SpeechStarted · Partial* · (EagerTurn · EagerTurnDropped)* · EagerTurn? · SpeechStopped
    · EagerTurnDropped? · Committed | Unheard

or, where the client clears it, `SpeechDropped` in place of all that is missing;
and nothing of one that was only a cough or an "uh-huh" into the agent's words: `Resumed` tells of
it. Utterances have growing numbers. Times named `audio_…` are media time, the others instants; see
`core.voice_line`, whose `Digit`, `ClientMessage` and `LineChange` are part of the stream. A closed
line ends it; an utterance that was still open is then never committed.
"""

from __future__ import annotations

import msgspec

from gateway.core.errors import GatewayError
from gateway.core.turns import EndReason, FalseInterruption
from gateway.core.voice_line import ClientMessage, Digit, LineChange
from gateway.core.voice_stages import HeardTiming


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

    No tool may run for it, since the caller may go on with "no, wait". A reply to a question, which
    may be a consent, is never told so early.

    Settled by `EagerTurnDropped`, or by a `Committed` that `is_as_begun`. The answer's clock is
    `timing.new_clock()`; `Committed.timing.confirm(clock)` adds what waiting for the end took.
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


class SpeechDropped(msgspec.Struct, frozen=True):
    """The client wants nothing of this utterance."""

    utterance: int


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
    error: GatewayError | None = None
    """Why the synthesiser broke off."""


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
    | SpeechDropped
    | Idle
    | CallTooLong
    | AudioBegan
    | AudioEnded
    | Digit
    | ClientMessage
    | LineChange
)
