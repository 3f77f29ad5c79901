"""A voice with prompts: what is said often is made once, and lies ready where the lines are."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from gateway.core.clauses import Clauses, spoken_form
from gateway.core.errors import GatewayError
from gateway.core.voice_line import SAID_HZ
from gateway.speech.port import Spoken

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable

    from gateway.speech.port import SpeechGrade, Synthesiser

_log = logging.getLogger(__name__)

_FRAME_BYTES: Final = 2 * SAID_HZ // 50
"""Prompts are whole frames of 20 ms, so that no packet of a call has anything else in it."""


class ReadyVoice:
    """A `port.Synthesiser` that has some clauses ready; others go to the `voice` behind it.

    `keep` gets every prompt's number and sound.
    """

    def __init__(self, voice: Synthesiser, keep: Callable[[int, bytes], None]) -> None:
        self._voice = voice
        self._keep = keep
        self._ready: dict[str, Spoken] = {}

    @property
    def name(self) -> str:
        """See the port."""
        return self._voice.name

    @property
    def grade(self) -> SpeechGrade:
        """See the port."""
        return self._voice.grade

    async def prepare(self, sentences: Iterable[str]) -> None:
        """Make prompts of sentences. What the voice fails on is said without one."""
        for sentence in sentences:
            for clause in _clauses(sentence):
                if clause in self._ready:
                    continue
                try:
                    await self._make(clause)
                except GatewayError as error:
                    _log.warning("no prompt of %r: %s", clause, error)

    async def say(self, text: str) -> AsyncGenerator[Spoken, None]:
        """See the port."""
        if (ready := self._ready.get(text)) is not None:
            yield ready
            return
        async with aclosing(self._voice.say(text)) as pieces:
            async for piece in pieces:
                yield piece

    async def _make(self, clause: str) -> None:
        pieces = [piece async for piece in self._voice.say(clause)]
        pcm = b"".join(piece.pcm for piece in pieces)
        pcm += bytes(-len(pcm) % _FRAME_BYTES)
        words = tuple(word for piece in pieces for word in piece.words)
        number = len(self._ready)
        self._keep(number, pcm)
        self._ready[clause] = Spoken(pcm, words, number)


def _clauses(sentence: str) -> list[str]:
    """As they are cut when the sentence is said."""
    cut = Clauses()
    spoken = map(spoken_form, [*cut.feed(sentence), cut.finish()])
    return [clause for clause in spoken if clause]
