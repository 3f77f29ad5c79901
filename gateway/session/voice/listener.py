"""The ears of a call: from the caller's sound to what he said in each turn.

Carries out what turn-taking decides: opens a hearing when speech begins, asks it for the words when
the caller pauses, finishes it when the turn has ended. Recognisers are waited for beside the sound,
never in its way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from gateway.core.backchannel import read_talk
from gateway.core.completeness import judge_completeness
from gateway.core.confirmation import unless_unsure
from gateway.core.errors import GatewayError
from gateway.core.turns import (
    EagerDiscard,
    EagerStart,
    HearFrom,
    HoldAgent,
    MaximumReached,
    ResumeAgent,
    SilentTooLong,
    SpeechBegan,
    TurnDropped,
    TurnEnded,
    TurnTaking,
    Understand,
    Words,
)
from gateway.core.voice_line import WINDOW_S
from gateway.runtime.inbox import Inbox
from gateway.session.voice.events import (
    CallTooLong,
    Committed,
    EagerTurn,
    EagerTurnDropped,
    Idle,
    Interrupted,
    Partial,
    Resumed,
    SpeechDropped,
    SpeechStarted,
    SpeechStopped,
    Unheard,
)
from gateway.session.voice.recent_sound import RecentSound
from gateway.session.voice.utterance import Arrival, Utterance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.completeness import Endings
    from gateway.core.turn_settings import TurnSettings
    from gateway.core.turns import Decision
    from gateway.core.voice_line import CallerSound
    from gateway.core.voice_stages import HeardTiming
    from gateway.session.voice.events import CallEvent
    from gateway.session.voice.speaker import Speaker
    from gateway.speech.port import Recogniser


class Listener:
    """Hears one caller.

    Sound comes in by `hear`; `run` waits for the recogniser beside it; events are told in order.
    `endings` are those of the assistant's callers, if it brings any.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        speaker: Speaker,
        settings: TurnSettings,
        *,
        endings: Endings | None,
        tell: Callable[[CallEvent], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recogniser = recogniser
        self._speaker = speaker
        self._turns = TurnTaking(settings)
        self._endings = endings
        self._tell = tell
        self._asked: Inbox[tuple[Utterance, float | HeardTiming]] = Inbox()
        """Of whom the words are wanted: those up to a media time, or all, its turn having ended."""
        self._monotonic = monotonic
        self._recent = RecentSound()
        self._arrival = Arrival()
        self._utterance: Utterance | None = None
        self._finished: Utterance | None = None
        """The last one whose words are known."""
        self._num_utterances = 0

    @property
    def settings(self) -> TurnSettings:
        """How turns are taken; may be replaced at any time."""
        return self._turns.settings

    @settings.setter
    def settings(self, settings: TurnSettings) -> None:
        self._turns.settings = settings

    async def run(self) -> None:
        """Wait for words, in the order in which they were asked for, until cancelled."""
        try:
            while True:
                utterance, wanted = await self._asked.next()
                if isinstance(wanted, float):
                    await self._ask(utterance, wanted)
                else:
                    await self._finish(utterance, wanted)
        finally:
            self.drop()
            self._finished = None

    def hear(self, sound: CallerSound) -> None:
        """The next stretch of the caller's sound."""
        end_s = sound.start_s + len(sound.speech) * WINDOW_S
        new = self._recent.add(sound.pcm, end_s)
        if self._utterance is not None:
            self._utterance.feed(new)
        received_s = self._monotonic()
        for index, probability in enumerate(sound.speech):
            start_s = sound.start_s + index * WINDOW_S
            if start_s < self._turns.now_s - WINDOW_S / 2:
                continue  # the gate repeats what it had kept back
            decisions = self._turns.hear(start_s, probability)
            if self._turns.speech_end_s == self._turns.now_s:
                self._arrival.note(sound.arrived_s - (end_s - self._turns.now_s), received_s)
            self._do(decisions)

    def agent_changed(self) -> None:
        """The agent's sound has begun to play, or has ended."""
        self._do(self._turns.agent(plays=self._speaker.is_playing))

    def commit(self) -> bool:
        """End the turn now. False: nothing was said."""
        decisions = self._turns.commit()
        self._do(decisions)
        return bool(decisions)

    def clear(self) -> None:
        """Drop what was said in this turn so far."""
        self._do(self._turns.clear())
        self.drop()  # one that nobody was told of yet

    def drop(self) -> None:
        """Nobody wants to know what is being said just now."""
        if self._utterance is not None:
            self._utterance.drop()
            self._utterance = None

    def _do(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            match decision:
                case HearFrom():
                    self._open(decision.start_s)
                case HoldAgent():
                    self._speaker.hold()
                case ResumeAgent():
                    self.drop()
                    self._speaker.go_on()
                    self._tell(Resumed(decision.kind))
                case SilentTooLong():
                    self._tell(Idle(decision.since_s, self._turns.now_s))
                case MaximumReached():
                    self._tell(CallTooLong())
                case _ if self._utterance is not None:
                    self._do_with(self._utterance, decision)

    def _do_with(self, utterance: Utterance, decision: Decision) -> None:
        match decision:
            case SpeechBegan():
                self._announce(utterance, decision)
            case Understand():
                self._arrival.note_quiet(self._recent.quiet_before(self._turns.speech_end_s))
                self._asked.put((utterance, self._turns.now_s))
            case EagerStart() if utterance.text and not utterance.answers:
                utterance.eager_text = utterance.text
                timing = self._arrival.timing(self._monotonic())
                self._tell(EagerTurn(utterance.number, utterance.text, timing))
            case EagerDiscard():
                self._drop_eager(utterance)
            case TurnEnded():
                self._utterance = None
                timing = self._arrival.timing(self._monotonic())
                end_s = decision.end_of_speech_s
                self._tell(SpeechStopped(utterance.number, end_s, decision.reason))
                self._asked.put((utterance, timing))
            case TurnDropped():
                self.drop()
                self._tell(SpeechDropped(utterance.number))

    def _open(self, start_s: float) -> None:
        """Begin to hear an utterance, or what may become one."""
        self.drop()
        self._utterance = Utterance(
            self._recogniser,
            self._recent.since(start_s),
            answers=self._speaker.has_asked,
            after=self._finished,
            partial=lambda utterance, heard: self._understood(utterance, heard.text, 0.0),
        )

    def _announce(self, utterance: Utterance, began: SpeechBegan) -> None:
        self._num_utterances += 1
        utterance.number = self._num_utterances
        self._tell(SpeechStarted(utterance.number, began.start_s))
        if began.is_interruption:
            self._tell(Interrupted(utterance.number))
        else:
            self._speaker.go_on()  # it may have ended while it was held
        if utterance.text:
            self._tell(Partial(utterance.number, utterance.text))

    async def _ask(self, utterance: Utterance, until_s: float) -> None:
        """Ask what was said until a pause."""
        if (heard := await utterance.so_far()) is not None:
            self._understood(utterance, heard.text, until_s)

    def _understood(self, utterance: Utterance, text: str, until_s: float) -> None:
        """What was said so far; all of it up to media time `until_s`, perhaps more."""
        if utterance is not self._utterance:
            return
        if utterance.take(text, until_s) and utterance.number:
            self._tell(Partial(utterance.number, text))
        words = Words(
            read_talk(text, answers=utterance.answers),
            judge_completeness(text, self._endings, answers=utterance.answers),
            utterance.until_s,
        )
        self._do(self._turns.understood(words))

    async def _finish(self, utterance: Utterance, timing: HeardTiming) -> None:
        """Tell what was said in a turn that has ended."""
        try:
            heard = await utterance.finish()
        except GatewayError as error:
            self._drop_eager(utterance)
            self._tell(Unheard(utterance.number, error))
            return
        self._finished = utterance
        is_as_begun = utterance.eager_text == heard.text
        if not is_as_begun:
            self._drop_eager(utterance)
        self._tell(
            Committed(
                utterance.number,
                unless_unsure(heard.text, heard.confidence),
                heard.confidence,
                is_as_begun,
                msgspec.structs.replace(timing, transcribed_s=self._monotonic()),
            )
        )

    def _drop_eager(self, utterance: Utterance) -> None:
        if utterance.eager_text is not None:
            utterance.eager_text = None
            self._tell(EagerTurnDropped(utterance.number))
