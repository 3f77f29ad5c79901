"""Guesses how a text goes on: as it went on where its last tokens stood before.

Answers repeat their prompt and themselves: quoted values, lists, calls of the same tool. A guess
costs no model; a run that checks several tokens at once tells which of them hold (prompt lookup
decoding; Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding). Whether it pays depends on
the text, so every guess is judged, also those that were not tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIRST_HIT_RATIO: Final = {3: 0.5, 2: 0.35, 1: 0.25}
"""Assumed until a text has been guessed, by how many of its last tokens stood there before."""
_WEIGHT = 0.2  # of a new judgement; about the last five count


class PromptLookup:
    """One text, prompt and answer, and how well its tokens could be guessed so far."""

    def __init__(self, prompt: Sequence[int]) -> None:
        self._text = list(prompt)
        self._num_prompt = len(prompt)
        self._after: dict[tuple[int, ...], int] = {}
        """Where the token stands that last followed each one, two or three."""
        self._num_indexed = 0
        self._hit_ratio = dict(_FIRST_HIT_RATIO)
        self._guess: tuple[int, int, Sequence[int]] | None = None
        """How many tokens matched, where the first guessed one would stand, and the guess."""

    def follow(self, answer: Sequence[int]) -> None:
        """The answer is this by now: judge the last guess."""
        self._text += answer[len(self._text) - self._num_prompt :]
        if self._guess is not None:
            self._judge(*self._guess)
            self._guess = None
        for end in range(max(1, self._num_indexed), len(self._text)):
            for size in _FIRST_HIT_RATIO:
                if size <= end:
                    self._after[tuple(self._text[end - size : end])] = end
        self._num_indexed = len(self._text)

    def guess(self, num_tokens: int, *, least_hits: float) -> Sequence[int]:
        """The next tokens; none if nothing suggests any or fewer than `least_hits` may hold."""
        for size, hit_ratio in self._hit_ratio.items():
            end = self._after.get(tuple(self._text[-size:]))
            if end is not None:
                guess = self._copied(end, num_tokens)
                self._guess = size, len(self._text), guess
                expected = sum(hit_ratio**nth for nth in range(1, num_tokens + 1))
                return guess if expected > least_hits else ()
        return ()

    def _copied(self, start: int, num_tokens: int) -> list[int]:
        """What stands from `start` on; behind the end of the text it goes on as it did there."""
        guess = self._text[start : start + num_tokens]
        period = len(self._text) - start
        while len(guess) < num_tokens:
            guess.append(guess[len(guess) - period])
        return guess

    def _judge(self, size: int, start: int, guess: Sequence[int]) -> None:
        for token_id, guessed in zip(self._text[start:], guess, strict=False):
            is_hit = token_id == guessed
            self._hit_ratio[size] += _WEIGHT * (is_hit - self._hit_ratio[size])
            if not is_hit:
                return
