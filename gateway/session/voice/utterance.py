"""One utterance on its way from sound to words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import GatewayError
from gateway.core.voice_stages import HeardTiming

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.speech.port import Heard, Hearing, Recogniser


class Utterance:
    """What is being heard. It may still turn out to be none: then it has no number.

    A recogniser that fails is not an error of the call: `finish` raises what went wrong.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        sound: bytes,
        *,
        answers: bool,
        after: Utterance | None,
        partial: Callable[[Utterance, Heard], None],
    ) -> None:
        """Hear on from `sound`. `answers`: the agent had put a question when it began; `after`:
        one of the same caller that is finished."""
        self.answers = answers
        self.number = 0
        self.text = ""
        self.until_s = 0.0
        """The media time up to which `text` holds all that was said."""
        self.eager_text: str | None = None
        """The words with which an answer was begun early."""
        self._hearing: Hearing | None = None
        self._error: GatewayError | None = None
        try:
            self._hearing = recogniser.open(
                partial=lambda heard: partial(self, heard),
                after=None if after is None else after._hearing,
            )
            self._hearing.feed(sound)
        except GatewayError as error:
            self._error = error

    def feed(self, pcm: bytes) -> None:
        """More sound."""
        if self._hearing is not None and pcm:
            self._hearing.feed(pcm)

    def take(self, text: str, until_s: float) -> bool:
        """What the recogniser makes of it so far. Whether that is new."""
        is_new = text != self.text
        self.until_s = until_s if is_new else max(self.until_s, until_s)
        self.text = text
        return is_new

    async def so_far(self) -> Heard | None:
        """The words of all the sound until now; None when the recogniser has failed."""
        if self._hearing is None or self._error is not None:
            return None
        try:
            return await self._hearing.so_far()
        except GatewayError as error:
            self._error = error
            return None

    async def finish(self) -> Heard:
        """All its words. Raises what the recogniser failed with, at whatever time."""
        if self._error is not None:
            self.drop()
            raise self._error
        assert self._hearing is not None  # open, or the error says why not
        return await self._hearing.finish()

    def drop(self) -> None:
        """Nobody wants its words."""
        if self._hearing is not None:
            self._hearing.drop()


class Arrival:
    """When the newest speech of the caller came in. Instants."""

    def __init__(self) -> None:
        self._speech_ended_s = 0.0
        self._received_s = 0.0
        self._quiet_s = 0.0

    def note(self, speech_ended_s: float, received_s: float) -> None:
        """Speech that ended at the first instant on the line was here at the second."""
        self._speech_ended_s = speech_ended_s
        self._received_s = max(speech_ended_s, received_s)
        self._quiet_s = 0.0

    def note_quiet(self, quiet_s: float) -> None:
        """Of the speech, so much at its end was silence: voice activity sees the end late."""
        self._quiet_s = quiet_s

    def timing(self, ended_s: float) -> HeardTiming:
        """Of a turn that was found to have ended at this instant and whose words are there.

        The wait for voice activity is part of finding the end, not of the way here.
        """
        speech_ended_s = self._speech_ended_s - self._quiet_s
        return HeardTiming(speech_ended_s, self._received_s - self._quiet_s, ended_s, ended_s)
