"""When a caller's turn begins and ends, and whether the agent is interrupted.

A state machine on media time: the windows of voice activity are its clock. It is told what was
heard and says what to do, as data.

    QUIET ── speech ──────────────────────────────► TALKING ── pause, maximum, commit ──► QUIET
      │                                                ▲
      └── speech over the agent ──► HELD ── it means it ┘
                                     └── it does not ──► QUIET

- **Speech** is one window that is quite certain or two that are likely; over the agent, one that
  is possible. It ends with the first window that is not; a turn ends when the pause is as long as
  its words ask for (`core.turn_settings`). Words count for a pause only if they cover all sound
  before it.
- **HELD**: speech over the agent holds it at once, because 150 ms later is too late, and then it is
  decided whether that was meant. Words that say something, or a long speech without any, interrupt;
  signs of listening and short noises let the agent go on.
- **Eager start**: the turn has probably ended. Each is settled, by `EagerDiscard` when the caller
  goes on or by `TurnEnded`.
"""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import NamedTuple

import msgspec

from gateway.core.backchannel import Talk
from gateway.core.completeness import Completeness
from gateway.core.turn_settings import TurnMode, TurnSettings
from gateway.core.voice_line import WINDOW_S


class EndReason(StrEnum):
    """Why a turn has ended."""

    COMPLETE = "complete"
    """A short pause after what is a whole request."""
    SILENCE = "silence"
    """A pause that is long enough after anything."""
    TOO_LONG = "too_long"
    """The turn has reached its maximum duration."""
    COMMITTED = "committed"
    """The client said so."""


class FalseInterruption(StrEnum):
    """What sounded like an interruption and was none."""

    NOISE = "noise"
    """Nothing like words: a cough, a door."""
    BACKCHANNEL = "backchannel"
    """Words that only say "I am listening": "uh-huh", "okay"."""


class Words(NamedTuple):
    """What was understood of the speech so far."""

    talk: Talk
    completeness: Completeness
    until_s: float
    """All sound before this media time is in them."""


class HearFrom(msgspec.Struct, frozen=True):
    """Speech: recognise the sound from here on."""

    start_s: float


class HoldAgent(msgspec.Struct, frozen=True):
    """The caller may be interrupting: play nothing for now."""


class ResumeAgent(msgspec.Struct, frozen=True):
    """It was no interruption: play on, and forget what was heard."""

    kind: FalseInterruption


class SpeechBegan(msgspec.Struct, frozen=True):
    """A turn of the caller has begun; `TurnEnded` or `TurnDropped` ends it."""

    start_s: float
    """Where its sound begins, padding included."""
    is_interruption: bool


class Understand(msgspec.Struct, frozen=True):
    """The caller has paused: say what the words so far are (`TurnTaking.understood`)."""


class EagerStart(msgspec.Struct, frozen=True):
    """The turn has probably ended: an answer may be begun."""

    end_of_speech_s: float


class EagerDiscard(msgspec.Struct, frozen=True):
    """The caller went on: what was begun is for nothing."""


class TurnEnded(msgspec.Struct, frozen=True):
    """The turn has ended. It settles an eager start."""

    start_s: float
    end_of_speech_s: float
    reason: EndReason


class TurnDropped(msgspec.Struct, frozen=True):
    """The client wants nothing of this turn."""


class SilentTooLong(msgspec.Struct, frozen=True):
    """Nobody has said anything for the idle timeout."""

    since_s: float


class MaximumReached(msgspec.Struct, frozen=True):
    """The call has reached its maximum duration. Said once."""


Decision = (
    HearFrom | HoldAgent | ResumeAgent | SpeechBegan | Understand | EagerStart | EagerDiscard
    | TurnEnded | TurnDropped | SilentTooLong | MaximumReached
)  # fmt: skip

_ONSET_EVIDENCE = 0.8
"""Probabilities of consecutive windows of speech add up to this before it is believed."""
_HOLD_SHARE = 0.6
"""Of the threshold, from which a single window holds the agent. Waiting for believable speech
instead, the 95th percentile from onset to hold was 147 ms and not 72; noise stays far below, and a
hold for nothing is over after 160 ms."""
_HYSTERESIS = 0.15
"""Speech goes on down to so much below the threshold, as in Silero's own iterator."""
_UNDERSTAND_AFTER_S = 2 * WINDOW_S
"""A pause from which the words are asked for: shorter ones are inside words."""
_EAGER_UNCLEAR_S = 0.3
"""A pause after unclear words at which an answer is begun, to be there when the turn ends."""
_MAX_WORDLESS_S = 1.0
"""Speech over the agent that long interrupts it, whatever the recogniser makes of it."""
_MAX_BACKCHANNEL_S = 2.0
_MIN_FRAGMENT_S = 0.45
"""One odd word of at least this duration interrupts; a shorter one is taken for noise."""
_BLIP_S = 0.2
"""Speech shorter than that is no word."""
_RESUME_AFTER_BLIP_S = 0.16
_RESUME_AFTER_S = 0.3
"""Silence after speech without words over the agent until it goes on."""
_RESUME_UNHEARD_S = 0.8
"""The same while a slow recogniser has not said whether there were words."""

_ROUNDING_S = 1e-6
"""A pause of four windows is one of 128 ms, also where sums of floats fall short of it."""


class _Phase(Enum):
    QUIET = auto()
    HELD = auto()
    TALKING = auto()


class TurnTaking:
    """One call's turns. Every method answers with what is to be done, in order."""

    def __init__(self, settings: TurnSettings | None = None) -> None:
        self.settings = settings or TurnSettings()
        """May be replaced at any time; holds from the next window on."""
        self._phase = _Phase.QUIET
        self._now_s = 0.0
        self._agent_plays = False
        self._start_s = 0.0
        self._evidence = 0.0
        self._burst_s = 0.0
        """Where the windows that make up the evidence begin."""
        self._voiced_s = 0.0
        self._speech_end_s = 0.0
        self._words: Words | None = None
        self._has_asked = False
        self._is_announced = False
        self._is_eager = False
        self._quiet_since_s: float | None = None
        self._has_reached_maximum = False

    @property
    def speech_end_s(self) -> float:
        """The media time at which the last speech ended; that of now while somebody speaks."""
        return self._speech_end_s

    @property
    def now_s(self) -> float:
        """The media time up to which it has heard."""
        return self._now_s

    def hear(self, start_s: float, probability: float) -> list[Decision]:
        """The next window of voice activity, at most one of each media time."""
        self._now_s = max(self._now_s, start_s + WINDOW_S)
        is_speech = self._is_speech(start_s, probability)
        decisions: list[Decision] = []
        if not self._has_reached_maximum and self._now_s >= self.settings.max_call_s:
            self._has_reached_maximum = True
            decisions.append(MaximumReached())
        if self._phase is _Phase.QUIET:
            return decisions + (self._begin() if is_speech else self._wait_for_somebody())
        if is_speech:
            decisions += self._go_on()
        return decisions + self._judge()

    def understood(self, words: Words) -> list[Decision]:
        """What the recogniser makes of the speech so far: asked for, or by itself."""
        if self._phase is _Phase.QUIET:
            return []
        self._words = words
        return self._judge()

    def agent(self, *, plays: bool) -> list[Decision]:
        """The agent's sound began to play, or has ended."""
        self._agent_plays = plays
        self._quiet_since_s = None if plays else self._now_s
        return [] if plays or self._phase is not _Phase.HELD else self._announce()

    def commit(self) -> list[Decision]:
        """The client ends the turn. Nothing, when nothing was said."""
        if self._phase is _Phase.QUIET:
            return []
        return self._end(EndReason.COMMITTED)

    def clear(self) -> list[Decision]:
        """The client drops what was said in this turn so far."""
        if self._phase is _Phase.QUIET:
            return []
        if self._phase is _Phase.HELD:
            return self._resume(FalseInterruption.NOISE)
        was_announced = self._is_announced
        settled = self._unsettle()
        self._fall_quiet()
        return [*settled, TurnDropped()] if was_announced else settled

    @property
    def _may_hold(self) -> bool:
        """Whether speech that begins now holds the agent."""
        settings = self.settings
        is_hands_free = settings.mode is not TurnMode.MANUAL
        return self._agent_plays and settings.may_interrupt and is_hands_free

    def _is_speech(self, start_s: float, probability: float) -> bool:
        """Whether this window is speech that can be believed."""
        threshold = self.settings.threshold
        is_running = self._phase is not _Phase.QUIET and _reaches(self._speech_end_s, start_s)
        if is_running:
            return probability >= threshold - _HYSTERESIS
        if self._phase is _Phase.QUIET and self._may_hold:
            is_possible = probability >= threshold * _HOLD_SHARE
            self._burst_s, self._evidence = start_s, probability if is_possible else 0.0
            return is_possible
        if probability < threshold:
            self._evidence = 0.0
            return False
        if not self._evidence:
            self._burst_s = start_s
        self._evidence += probability
        return self._evidence >= _ONSET_EVIDENCE

    def _begin(self) -> list[Decision]:
        self._start_s = max(self._speech_end_s, self._burst_s - self.settings.prefix_padding_s)
        self._voiced_s = 0.0
        self._words = None
        self._go_on()
        heard: list[Decision] = [HearFrom(self._start_s)]
        if self._may_hold:
            self._phase = _Phase.HELD
            return [*heard, HoldAgent()]
        self._phase = _Phase.TALKING
        self._is_announced = False
        return heard if self.settings.mode is TurnMode.MANUAL else heard + self._announce()

    def _announce(self, *, is_interruption: bool = False) -> list[Decision]:
        self._phase = _Phase.TALKING
        self._is_announced = True
        self._quiet_since_s = None
        return [SpeechBegan(self._start_s, is_interruption)]

    def _go_on(self) -> list[Decision]:
        """Speech up to now."""
        since_s = self._burst_s if self._evidence else self._speech_end_s
        self._voiced_s += self._now_s - max(since_s, self._speech_end_s)
        self._speech_end_s = self._now_s
        self._evidence = 0.0
        self._has_asked = False
        return self._unsettle()

    def _unsettle(self) -> list[Decision]:
        if not self._is_eager:
            return []
        self._is_eager = False
        return [EagerDiscard()]

    def _judge(self) -> list[Decision]:
        """What follows from the speech, the pause after it and the words."""
        asked: list[Decision] = []
        pause_s = self._now_s - self._speech_end_s + _ROUNDING_S
        if pause_s >= _UNDERSTAND_AFTER_S and not self._has_asked:
            self._has_asked = True
            asked.append(Understand())
        if self._phase is _Phase.HELD:
            return asked + self._judge_interruption(pause_s)
        if self._now_s - self._start_s >= self.settings.max_turn_s:
            return asked + self._end(EndReason.TOO_LONG)
        return asked + self._judge_pause(pause_s)

    def _judge_interruption(self, pause_s: float) -> list[Decision]:
        talk = self._words.talk if self._words is not None else Talk.NOTHING
        is_long = self._voiced_s >= (
            _MAX_BACKCHANNEL_S if talk is Talk.BACKCHANNEL else _MAX_WORDLESS_S
        )
        is_known = self._covering() is not None
        is_all = is_known and pause_s >= _UNDERSTAND_AFTER_S
        is_odd_word = talk is Talk.FRAGMENT and self._voiced_s >= _MIN_FRAGMENT_S
        if talk is Talk.WORDS or is_long or (is_odd_word and is_all):
            return self._announce(is_interruption=True)
        if talk is Talk.BACKCHANNEL and is_all:
            return self._resume(FalseInterruption.BACKCHANNEL)
        is_blip = self._voiced_s < _BLIP_S and pause_s >= _RESUME_AFTER_BLIP_S
        if is_blip or pause_s >= (_RESUME_AFTER_S if is_known else _RESUME_UNHEARD_S):
            is_sign = talk is Talk.BACKCHANNEL
            kind = FalseInterruption.BACKCHANNEL if is_sign else FalseInterruption.NOISE
            return self._resume(kind)
        return []

    def _resume(self, kind: FalseInterruption) -> list[Decision]:
        self._fall_quiet()
        return [ResumeAgent(kind)]

    def _judge_pause(self, pause_s: float) -> list[Decision]:
        words = self._covering()
        completeness = words.completeness if words is not None else Completeness.UNCLEAR
        if pause_s >= self.settings.pause_s(completeness):
            is_complete = completeness is Completeness.COMPLETE
            is_short = is_complete and self.settings.mode is TurnMode.SEMANTIC
            return self._end(EndReason.COMPLETE if is_short else EndReason.SILENCE)
        if self._is_eager or words is None or self.settings.mode is TurnMode.MANUAL:
            return []
        waits_s = {Completeness.COMPLETE: 0.0, Completeness.UNCLEAR: _EAGER_UNCLEAR_S}
        if pause_s >= _UNDERSTAND_AFTER_S and pause_s >= waits_s.get(completeness, float("inf")):
            self._is_eager = True
            return [EagerStart(self._speech_end_s)]
        return []

    def _covering(self) -> Words | None:
        """The words, if they are all that was said so far."""
        words = self._words
        is_all = words is not None and _reaches(words.until_s, self._speech_end_s)
        return words if is_all else None

    def _end(self, reason: EndReason) -> list[Decision]:
        began = [] if self._is_announced else self._announce()
        self._is_eager = False
        ended = TurnEnded(self._start_s, self._speech_end_s, reason)
        self._fall_quiet()
        return [*began, ended]

    def _fall_quiet(self) -> None:
        self._phase = _Phase.QUIET
        self._evidence = 0.0
        self._is_announced = False
        self._has_asked = False

    def _wait_for_somebody(self) -> list[Decision]:
        limit_s, since_s = self.settings.idle_timeout_s, self._quiet_since_s
        if limit_s is None or since_s is None or self._now_s - since_s < limit_s:
            return []
        self._quiet_since_s = self._now_s
        return [SilentTooLong(since_s)]


def _reaches(media_s: float, other_s: float) -> bool:
    """Whether one media time is at another or later, up to rounding."""
    return media_s > other_s - WINDOW_S / 2
