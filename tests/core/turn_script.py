"""Plays a call's windows, words and the agent's sound to turn-taking, in media time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.backchannel import read_talk
from gateway.core.completeness import Completeness
from gateway.core.turns import Decision, TurnTaking, Understand, Words
from gateway.core.voice_line import WINDOW_S

if TYPE_CHECKING:
    from gateway.core.turn_settings import TurnSettings


class Script:
    """A caller; `took` holds each decision with the media time at which it was taken."""

    def __init__(self, settings: TurnSettings | None = None) -> None:
        self.turns = TurnTaking(settings)
        self.took: list[tuple[float, Decision]] = []
        self.completeness = Completeness.UNCLEAR
        self.text = ""
        self.answers_at_once = True
        """Whether the recogniser answers within the window in which it is asked."""
        self._num_windows = 0

    def sound(self, length_s: float, probability: float) -> Script:
        for _ in range(round(length_s / WINDOW_S)):
            start_s = self._num_windows * WINDOW_S
            self._num_windows += 1
            self.note(self.turns.hear(start_s, probability))
        return self

    def say(self, length_s: float, text: str = "", complete: Completeness | None = None) -> Script:
        """Speech; what the recogniser will answer when it is asked."""
        self.text = text
        self.completeness = complete or Completeness.UNCLEAR
        return self.sound(length_s, 0.95)

    def pause(self, length_s: float) -> Script:
        return self.sound(length_s, 0.02)

    def agent(self, *, plays: bool) -> Script:
        return self.note(self.turns.agent(plays=plays))

    def understand(self, text: str, until_s: float | None = None) -> Script:
        until_s = self.turns.now_s if until_s is None else until_s
        words = Words(read_talk(text), self.completeness, until_s)
        return self.note(self.turns.understood(words))

    def note(self, decisions: list[Decision]) -> Script:
        self.took += [(self.turns.now_s, decision) for decision in decisions]
        if self.answers_at_once and any(isinstance(one, Understand) for one in decisions):
            self.understand(self.text)
        return self

    @property
    def decisions(self) -> list[Decision]:
        """All that matter to a caller."""
        return [one for _, one in self.took if not isinstance(one, Understand)]

    @property
    def kinds(self) -> list[str]:
        return [type(one).__name__ for one in self.decisions]

    def at_s(self, kind: type) -> float:
        """When the first of a kind was taken."""
        return next(at_s for at_s, one in self.took if isinstance(one, kind))
