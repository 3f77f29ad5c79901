"""A line of a voice worker as the site holds it: `core.voice_line.VoiceLine` over frames."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, Protocol

from gateway.core.call_errors import InvalidOffer, VoiceUnavailable
from gateway.core.voice_line import LineChange, LineState
from gateway.media.frames import (
    Answer,
    Close,
    Feed,
    GoOn,
    Hold,
    Hush,
    Offer,
    Refused,
    Say,
    SayPrompt,
    Write,
)
from gateway.media.refusals import error_of
from gateway.runtime.inbox import Inbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.core.voice_line import LineEvent
    from gateway.media.frames import LaneSound, SiteFrame

_log = logging.getLogger(__name__)

MAX_NUM_WAITING: Final = 4096
"""Events that nobody has taken, a minute's; with more the line ends."""
_ANSWER_LIMIT_S: Final = 5.0


class Wire(Protocol):
    """The way to a line's worker."""

    def send(self, frame: SiteFrame) -> None:
        """Queue a frame; where there is no worker any more it goes nowhere."""
        ...


class WorkerLine:
    """A VoiceLine whose sound a worker has."""

    def __init__(self, number: int, wire: Wire) -> None:
        self.number = number
        """By which site and worker know it."""
        self._wire = wire
        self._events: Inbox[LineEvent] = Inbox()
        self._num_waiting = 0
        self._is_closed = False
        self.is_orphaned = False
        """Whether it was closed because its worker had ended, and not by anybody's wish."""
        self._answer: asyncio.Future[Answer | Refused] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether its last event has come."""
        return self._is_closed

    async def events(self) -> AsyncIterator[LineEvent]:
        """See VoiceLine."""
        while True:
            event = await self._events.next()
            self._num_waiting -= 1
            yield event
            if isinstance(event, LineChange) and event.state is LineState.CLOSED:
                return

    def say(self, utterance: int, pcm: bytes, *, is_last: bool = False) -> None:
        """See VoiceLine."""
        self._wire.send(Say(self.number, utterance, pcm, is_last))

    def say_prompt(self, utterance: int, prompt: int, pcm: bytes) -> None:
        """See VoiceLine."""
        self._wire.send(SayPrompt(self.number, utterance, prompt))

    def hold(self) -> None:
        """See VoiceLine."""
        self._wire.send(Hold(self.number))

    def go_on(self) -> None:
        """See VoiceLine."""
        self._wire.send(GoOn(self.number))

    def hush(self) -> None:
        """See VoiceLine."""
        self._wire.send(Hush(self.number))

    def write(self, text: str) -> None:
        """See VoiceLine."""
        self._wire.send(Write(self.number, text))

    def close(self, reason: str = "") -> None:
        """See VoiceLine."""
        self._wire.send(Close(self.number, reason))

    async def ask(self, question: SiteFrame) -> str:
        """Send what is answered: an offer, or a lane to be opened. Raises OfferRefused."""
        if self._answer is not None:
            raise InvalidOffer("the call's last offer has not been answered yet")
        self._answer = asyncio.get_running_loop().create_future()
        self._wire.send(question)
        try:
            async with asyncio.timeout(_ANSWER_LIMIT_S):
                answer = await self._answer
        except TimeoutError as error:
            raise VoiceUnavailable("the voice worker does not answer; call again") from error
        finally:
            self._answer = None
        if isinstance(answer, Refused):
            raise error_of(answer)
        return answer.sdp

    def answered(self, answer: Answer | Refused) -> None:
        """From the worker."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(answer)

    def happened(self, event: LineEvent) -> None:
        """From the worker: the line's next event."""
        if self._is_closed:
            return
        self._num_waiting += 1
        self._events.put(event)
        if isinstance(event, LineChange) and event.state is LineState.CLOSED:
            self._is_closed = True
        elif self._num_waiting > MAX_NUM_WAITING:
            _log.warning("line %d: nobody takes its events, closed", self.number)
            self.close("nobody listens")

    def worker_lost(self) -> None:
        """The worker is gone, and the line with it."""
        lost = Refused(self.number, VoiceUnavailable.code, "the voice worker ended; call again")
        self.answered(lost)
        self.is_orphaned = not self._is_closed
        self.happened(LineChange(LineState.CLOSED, "worker lost"))


class CallLine(WorkerLine):
    """A WebRTC call."""

    async def take_up(self, offer_sdp: str) -> str:
        """Another offer of the same client, as after a loss of its network: the answer to it.

        Raises OfferRefused, and the call stays as it was.
        """
        return await self.ask(Offer(self.number, offer_sdp))


class LaneLine(WorkerLine):
    """A line whose sound comes and goes in pieces. `sounds` has what the caller is to hear."""

    def __init__(self, number: int, wire: Wire) -> None:
        super().__init__(number, wire)
        self.sounds: Inbox[LaneSound] = Inbox()

    def feed(self, sound: bytes) -> None:
        """The caller's next sound, in the lane's format."""
        self._wire.send(Feed(self.number, sound))
