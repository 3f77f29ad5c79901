"""What a session's ears and mouth tell, as the events and items of its conversation."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gateway.core.caller_check import KeyedCode, asks_for_code
from gateway.core.certainty import Understanding
from gateway.core.realtime_errors import SessionExpired
from gateway.core.turns import EndReason
from gateway.core.voice_line import ClientMessage, Digit
from gateway.core.voice_stages import HeardTiming
from gateway.edge.realtime.turn_taking import answers_by_itself
from gateway.session import phrases
from gateway.session.voice import events as heard
from gateway.session.voice.played_text import SaidClause, played_text
from gateway.wire.realtime import response_events as out
from gateway.wire.realtime import server_events as said
from gateway.wire.realtime.items import InputAudio, InputText, Message, fresh_id
from gateway.wire.status import status_of

if TYPE_CHECKING:
    from gateway.core.stages import StageClock
    from gateway.edge.realtime.answer_items import Send
    from gateway.edge.realtime.call_channel import CallChannel
    from gateway.edge.realtime.call_voice import CallVoice, Saying
    from gateway.edge.realtime.conversation import Conversation
    from gateway.edge.realtime.responses import StopReason
    from gateway.edge.realtime.session_terms import SessionTerms

_MAX_SPOKEN = 64
"""Messages of which is known how long they sound: what clients truncate is one of the last."""


class Answering(Protocol):
    """The session, as far as its ears need it."""

    async def begin_early(self, text: str, timing: HeardTiming) -> None:
        """Begin to answer what the caller has probably said; nobody is told before he has."""
        ...

    def discard_early(self) -> None:
        """He has not: what was begun is for nothing."""
        ...

    async def answer_turn(self, timing: HeardTiming) -> None:
        """Respond to what the caller has said."""
        ...

    async def say(self, sentence: str, *, is_aside: bool = False) -> None:
        """Respond with a sentence of the session's own, unless something is being answered.

        An aside is no part of the conversation for a model.
        """
        ...

    def stop(self, reason: StopReason) -> None:
        """End the response that is being made."""
        ...


@dataclass(slots=True)
class _Utterance:
    """What the caller says in one turn."""

    item_id: str
    start_s: float
    end_s: float = 0.0
    is_answered: bool = True
    told: str = ""
    """How much of its text the client has read."""


class Heard:
    """Tells a client what is heard and what was played, and keeps the conversation true to it.

    `channel` is a call's, whose client writes on the line too.
    """

    def __init__(
        self,
        send: Send,
        session: Answering,
        voice: CallVoice,
        *,
        conversation: Conversation,
        terms: SessionTerms,
        channel: CallChannel | None,
    ) -> None:
        self._send = send
        self._session = session
        self._voice = voice
        self._conversation = conversation
        self._terms = terms
        self._channel = channel
        self._utterances: dict[int, _Utterance] = {}
        self._spoken: dict[str, Saying] = {}
        """Messages that were spoken, by item."""
        self._cut: dict[str, str] = {}
        """What the caller has heard of items that he has not heard to their end."""
        self._clock: StageClock | None = None
        self._understanding = Understanding()
        self._code = KeyedCode()
        self._num_wordless = 0
        """Turns that have ended and have no words yet."""
        self._settled = asyncio.Event()
        self._settled.set()

    def turn_ended(self) -> None:
        """A turn has ended, and its words will come."""
        self._num_wordless += 1
        self._settled.clear()

    async def settled(self) -> StageClock | None:
        """Return once all turns that have ended have their words: the clock of the last one."""
        await self._settled.wait()
        clock, self._clock = self._clock, None
        return clock

    async def follow(self) -> None:
        """Tell everything, up to the end of the line. Raises SessionExpired."""
        async for event in self._voice.events():
            await self._tell(event)
        if self._channel is not None:
            self._channel.closed()

    async def _tell(self, event: heard.CallEvent) -> None:
        match event:
            case heard.SpeechStarted():
                await self._speech_started(event)
            case heard.Interrupted():
                self._voice.speaker.hush()
                self._session.stop("turn_detected")
            case heard.Partial(utterance=number, text=text) if number in self._utterances:
                await self._tell_words(self._utterances[number], text)
            case heard.EagerTurn() if answers_by_itself(self._terms.config):
                await self._session.begin_early(event.transcript, event.timing)
            case heard.EagerTurnDropped():
                self._session.discard_early()
            case heard.SpeechStopped():
                await self._speech_stopped(event)
            case heard.Committed():
                await self._committed(event)
            case heard.Unheard():
                await self._unheard(event)
            case heard.SpeechDropped(utterance=number):
                self._utterances.pop(number, None)
            case _:
                await self._tell_beside(event)

    async def _tell_beside(self, event: heard.CallEvent) -> None:
        """What is not about an utterance of the caller's."""
        match event:
            case heard.Idle():
                await self._idle(event)
            case heard.CallTooLong():
                raise SessionExpired(self._voice.listener.settings.max_call_s)
            case heard.AudioBegan(answer=answer):
                await self._began(answer)
            case heard.AudioEnded():
                await self._ended(event)
            case ClientMessage(text=text) if self._channel is not None:
                self._channel.wrote(text)
            case Digit():
                await self._key(event)

    async def truncate(self, item_id: str, content_index: int, audio_end_s: float) -> None:
        """The client has played only so much. Raises ItemNotFound, InvalidRequest."""
        saying = self._spoken.get(item_id)
        if item_id not in self._cut and saying is not None:
            clauses = [SaidClause(saying.text, 0.0, saying.sound_s)]
            self._cut[item_id] = played_text(clauses, audio_end_s)
        if self._channel is None:
            self._voice.speaker.hush()
        if not self.cut(item_id):
            self._conversation.truncate(item_id, content_index, "")

    def cut(self, item_id: str) -> bool:
        """Leave of an item what the caller has heard. False: nothing is known of it."""
        if item_id not in self._cut:
            return False
        self._conversation.heard_only(item_id, self._cut[item_id])
        return True

    async def _speech_started(self, event: heard.SpeechStarted) -> None:
        utterance = _Utterance(fresh_id("item"), event.audio_start_s)
        self._utterances[event.utterance] = utterance
        await self._send(
            said.SpeechStarted(item_id=utterance.item_id, audio_start_ms=_ms(event.audio_start_s))
        )

    async def _speech_stopped(self, event: heard.SpeechStopped) -> None:
        utterance = self._utterances[event.utterance]
        utterance.end_s = event.audio_end_s
        utterance.is_answered = event.reason is not EndReason.COMMITTED
        if utterance.is_answered:
            self.turn_ended()
        item = Message(id=utterance.item_id, role="user", content=(InputAudio(),))
        await self._send(
            said.SpeechStopped(item_id=utterance.item_id, audio_end_ms=_ms(event.audio_end_s))
        )
        before = self._conversation.add(item)
        await self._send(said.AudioCommitted(item_id=utterance.item_id, previous_item_id=before))
        await self._send(said.ItemAdded(item=item, previous_item_id=before))

    async def _tell_words(self, utterance: _Utterance, text: str) -> None:
        """What is new in the text. What the recogniser takes back is right in the whole transcript
        only: deltas cannot unsay anything."""
        is_wanted = self._terms.config.wants_transcripts
        if is_wanted and text.startswith(utterance.told) and text != utterance.told:
            delta, utterance.told = text.removeprefix(utterance.told), text
            await self._send(said.TranscriptionDelta(item_id=utterance.item_id, delta=delta))

    async def _committed(self, event: heard.Committed) -> None:
        utterance = self._utterances.pop(event.utterance)
        text = event.transcript
        await self._tell_words(utterance, text)
        item = Message(id=utterance.item_id, role="user", content=(InputAudio(text),))
        self._conversation.replace(item)
        if text:
            self._clock = event.timing.new_clock()
        self._settle()
        if self._terms.config.wants_transcripts:
            await self._send(
                said.TranscriptionCompleted(
                    item_id=utterance.item_id,
                    transcript=text,
                    usage=said.DurationUsage(max(0.0, utterance.end_s - utterance.start_s)),
                )
            )
        before = self._conversation.previous_id(utterance.item_id)
        await self._send(said.ItemDone(item=item, previous_item_id=before))
        is_answered = utterance.is_answered and answers_by_itself(self._terms.config)
        if text and is_answered:
            self._clock = None
            if self._understanding.is_clear(event.confidence):
                await self._session.answer_turn(event.timing)
            else:
                await self._ask_again(utterance.item_id)

    async def _unheard(self, event: heard.Unheard) -> None:
        """Ask the caller to say it again, where the session answers by itself."""
        utterance = self._utterances.pop(event.utterance)
        self._settle()
        error = event.error
        fault = said.TranscriptionFault(status_of(error).openai_type, error.code, error.message)
        await self._send(said.TranscriptionFailed(item_id=utterance.item_id, error=fault))
        if answers_by_itself(self._terms.config):
            await self._ask_again(utterance.item_id)

    async def _ask_again(self, item_id: str) -> None:
        """Have the caller say it again, as if he had said nothing: a question stays open."""
        self._conversation.set_aside(item_id)
        await self._session.say(self._conversation.again(phrases.NOT_CAUGHT), is_aside=True)

    async def _idle(self, event: heard.Idle) -> None:
        await self._send(
            said.TimeoutTriggered(
                item_id=fresh_id("item"),
                audio_start_ms=_ms(event.audio_start_s),
                audio_end_ms=_ms(event.audio_end_s),
            )
        )
        await self._session.say(phrases.STILL_THERE)

    async def _key(self, key: Digit) -> None:
        """Tell that a key was pressed; a code that was asked for is the caller's turn."""
        await self._send(said.DtmfReceived(event=key.digit, received_at=_unix_s()))
        code = self._code.press(key.digit, key.at_s)
        is_asked = asks_for_code(self._conversation.open_question)
        if not (code and is_asked and answers_by_itself(self._terms.config)):
            return
        item = Message(id=fresh_id("item"), role="user", content=(InputText(code),))
        before = self._conversation.add(item)
        await self._send(said.ItemAdded(item=item, previous_item_id=before))
        await self._send(said.ItemDone(item=item, previous_item_id=before))
        now_s = time.monotonic()
        await self._session.answer_turn(HeardTiming(now_s, now_s, now_s, now_s))

    async def _began(self, answer: int) -> None:
        saying = self._voice.saying(answer)
        if saying is not None and self._channel is not None:
            await self._send(out.OutputStarted(response_id=saying.response_id))

    async def _ended(self, event: heard.AudioEnded) -> None:
        saying = self._voice.over(event.answer)
        if saying is None:
            return
        self._conversation.changed()
        self._spoken[saying.item_id] = saying
        if len(self._spoken) > _MAX_SPOKEN:
            oldest = next(iter(self._spoken))
            self._spoken.pop(oldest)
            self._cut.pop(oldest, None)
        if not event.is_whole:
            self._cut[saying.item_id] = event.played_text
            self.cut(saying.item_id)
        if self._channel is not None:
            if not event.is_whole:
                end_ms = _ms(event.played_s)
                await self._send(
                    said.ItemTruncated(item_id=saying.item_id, content_index=0, audio_end_ms=end_ms)
                )
            kind = out.OutputStopped if event.is_whole else out.OutputCleared
            await self._send(kind(response_id=saying.response_id))

    def _settle(self) -> None:
        self._num_wordless -= 1
        if not self._num_wordless:
            self._settled.set()


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1e3))


def _unix_s() -> int:
    return int(time.time())  # noqa: TID251 - the event has wall-clock time
