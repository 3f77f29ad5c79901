"""The mouth of a call: an answer's text becomes sound while it is still being written.

Clause by clause goes to the synthesiser, and what it makes goes to the line, which paces it. The
speaker knows which text lies where in the sound, and so what the caller has heard of an answer that
was cut off.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.core.clauses import Clauses, spoken_form
from gateway.core.errors import GatewayError
from gateway.core.voice_line import SAID_HZ, PlayBegan, PlayEnded
from gateway.runtime.inbox import Inbox
from gateway.session.voice.events import AudioBegan, AudioEnded
from gateway.session.voice.played_text import SaidClause, played_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.stages import StageClock
    from gateway.core.voice_line import VoiceLine
    from gateway.session.voice.events import CallEvent
    from gateway.speech.port import Synthesiser

_BYTES_PER_S = 2 * SAID_HZ
_TAIL_S = 0.4
"""An answer counts as heard when no more than so much of its sound is left: people reply to a
question into its last word."""


@dataclass(slots=True)
class _Saying:
    """One answer on its way through the mouth."""

    number: int
    clock: StageClock | None
    cut: Clauses = field(default_factory=Clauses)
    said: list[SaidClause] = field(default_factory=list)
    made_s: float | None = None
    """The instant at which its first sound was made."""
    began_s: float | None = None
    is_made: bool = False
    """There is no more text, and the sound of all of it is on the line."""
    is_over: bool = False
    """Hushed or played: nothing more is said of it."""
    was_whole: bool = False
    error: GatewayError | None = None

    @property
    def text(self) -> str:
        return "".join(clause.text for clause in self.said)

    @property
    def sound_s(self) -> float:
        """How much sound there is of it."""
        return self.said[-1].end_s if self.said else 0.0


class Speaker:
    """Says one answer after the other on a line.

    `run` does the work; it lives as long as the call. The line's play events come in by `played`;
    `AudioBegan` and `AudioEnded` are told.
    """

    def __init__(
        self,
        line: VoiceLine,
        synthesiser: Synthesiser,
        *,
        tell: Callable[[CallEvent], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = line
        self._synthesiser = synthesiser
        self._tell = tell
        self._monotonic = monotonic
        self._clauses: Inbox[tuple[_Saying, str | None]] = Inbox()
        self._sayings: dict[int, _Saying] = {}
        """Those that were begun and are not over, by number."""
        self._num_begun = 0
        self._work: asyncio.Task[None] | None = None
        self._last: _Saying | None = None
        """The last one of which something was played."""
        self._held_since_s: float | None = None
        self._num_held_s = 0.0

    @property
    def is_playing(self) -> bool:
        """Whether sound of an answer is under way to the caller, held or not."""
        return any(saying.began_s is not None for saying in self._sayings.values())

    @property
    def has_asked(self) -> bool:
        """Whether the last thing the caller has heard, to its end, is a question."""
        last = self._last
        if last is None or not spoken_form(last.text).endswith("?"):
            return False
        return last.was_whole or (not last.is_over and self._left_s(last) <= _TAIL_S)

    def begin(self, *, clock: StageClock | None = None) -> int:
        """Begin an answer; its number. It is played after those before it.

        With `clock`, what is spent until its first sound has left is marked there as the turn's
        first content. An acknowledgement ("one moment") is an answer of its own without a clock.
        """
        self._num_begun += 1
        self._sayings[self._num_begun] = _Saying(self._num_begun, clock)
        return self._num_begun

    def add(self, answer: int, text: str) -> None:
        """More text of an answer. Of one that is over it goes nowhere."""
        if (saying := self._sayings.get(answer)) is not None:
            for clause in saying.cut.feed(text):
                self._put(saying, clause)

    def finish(self, answer: int) -> None:
        """That was all of its text. `AudioEnded` follows when it has been played."""
        if (saying := self._sayings.get(answer)) is not None:
            if rest := saying.cut.finish():
                self._put(saying, rest)
            self._clauses.put((saying, None))

    def hold(self) -> None:
        """Play nothing for now: the caller may be interrupting."""
        if self._held_since_s is None:
            self._held_since_s = self._monotonic()
        self._line.hold()

    def go_on(self) -> None:
        """Play on."""
        if self._held_since_s is not None:
            self._num_held_s += self._monotonic() - self._held_since_s
            self._held_since_s = None
        self._line.go_on()

    def hush(self) -> None:
        """Drop every answer that is not wholly played, and the synthesiser's work on it.

        Of one that has begun to play the line tells how far it came, then its `AudioEnded` does.
        """
        unplayed = [saying for saying in self._sayings.values() if saying.began_s is None]
        for saying in self._sayings.values():
            saying.is_over = True
        if self._work is not None:
            self._work.cancel()
        self._line.hush()
        self.go_on()
        for saying in unplayed:
            self._end(saying, 0.0, is_whole=False)

    def played(self, event: PlayBegan | PlayEnded) -> None:
        """What the line tells of an answer."""
        saying = self._sayings.get(event.utterance)
        if saying is None:
            return
        if isinstance(event, PlayEnded):
            self._end(saying, event.played_s, is_whole=event.is_whole)
            return
        saying.began_s, self._last = event.left_s, saying
        self._num_held_s = 0.0
        if saying.clock is not None and saying.made_s is not None:
            saying.clock.mark_first_sound(saying.made_s, event.left_s)
        self._tell(AudioBegan(saying.number, event.left_s))

    async def run(self) -> None:
        """Make sound of what is to be said, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                saying, clause = await self._clauses.next()
                if saying.is_over:
                    continue
                self._work = tasks.create_task(self._make(saying, clause))
                await asyncio.wait([self._work])
                self._work = None

    def _put(self, saying: _Saying, clause: str) -> None:
        if saying.clock is not None:
            saying.clock.hand_to_speech(self._monotonic())
        self._clauses.put((saying, clause))

    async def _make(self, saying: _Saying, clause: str | None) -> None:
        """The sound of one clause; None: there are no more."""
        if clause is None:
            saying.is_made = True
            if saying.sound_s:
                self._line.say(saying.number, b"", is_last=True)
            else:
                self._end(saying, 0.0, is_whole=True)
            return
        spoken = spoken_form(clause)
        said = SaidClause(clause, saying.sound_s, saying.sound_s, is_spoken=bool(spoken))
        saying.said.append(said)
        if not spoken or saying.error is not None:
            return
        try:
            async with aclosing(self._synthesiser.say(spoken)) as pieces:
                async for piece in pieces:
                    if saying.made_s is None:
                        saying.made_s = self._monotonic()
                    said.end_s += len(piece.pcm) / _BYTES_PER_S
                    said.words += piece.words
                    if piece.prompt is None:
                        self._line.say(saying.number, piece.pcm)
                    else:
                        self._line.say_prompt(saying.number, piece.prompt, piece.pcm)
        except GatewayError as error:
            saying.error = error

    def _end(self, saying: _Saying, played_s: float, *, is_whole: bool) -> None:
        is_made = saying.is_made and saying.error is None
        is_whole = is_whole and is_made
        saying.is_over, saying.was_whole = True, is_whole
        del self._sayings[saying.number]
        is_heard = is_made and saying.sound_s - played_s <= _TAIL_S
        text = saying.text if is_heard else played_text(saying.said, played_s)
        self._tell(AudioEnded(saying.number, text, played_s, is_whole, saying.error))

    def _left_s(self, saying: _Saying) -> float:
        """How much of its sound is still to be played, as far as there is sound."""
        if saying.began_s is None:
            return saying.sound_s
        now_s = self._held_since_s or self._monotonic()
        return saying.sound_s - (now_s - saying.began_s - self._num_held_s)
