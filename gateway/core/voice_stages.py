"""The stages of a voice turn before its conversation is asked.

A voice turn begins with the end of the caller's speech, long before anybody knows that it was the
end. What was spent until the words are there is the turn's like everything after it.
"""

from __future__ import annotations

import msgspec

from gateway.core.stages import Stage, StageClock


class HeardTiming(msgspec.Struct, frozen=True):
    """When an utterance went through the ears. Instants, in order."""

    speech_ended_s: float
    """The last of the speech came in: the turn's start, from which its budget counts."""
    received_s: float
    """It had passed the media path: decoded, judged and brought here."""
    ended_s: float
    """The turn was found to have ended, for certain or probably."""
    transcribed_s: float
    """Its words were there."""

    def new_clock(self) -> StageClock:
        """The clock of the turn, with what the ears took marked on it."""
        clock = StageClock(self.speech_ended_s)
        clock.mark(Stage.INGRESS, self.received_s)
        clock.mark(Stage.ENDPOINT, self.ended_s)
        clock.mark(Stage.ASR, self.transcribed_s)
        return clock

    def confirm(self, clock: StageClock) -> None:
        """Mark, on the clock of an answer that was begun early, the wait for the turn's end."""
        clock.mark(Stage.ENDPOINT, self.ended_s)
        clock.mark(Stage.ASR, self.transcribed_s)
