"""One response: a turn at the desk, told as the events of its items."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec import UNSET

from gateway.core.errors import ClientStalled, GatewayError
from gateway.core.turn import (
    ServerToolRun,
    TextDelta,
    ToolCallDelta,
    TurnEnd,
    TurnFinish,
    Usage,
    is_content,
)
from gateway.edge.firsthop_word import final_word, ttft_stages_ms
from gateway.edge.realtime.answer_items import AnswerItems
from gateway.wire.realtime import response_events as out
from gateway.wire.realtime.items import fresh_id
from gateway.wire.status import status_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.stages import StageClock
    from gateway.core.turn import Message, Turn, TurnEvent
    from gateway.core.voice_stages import HeardTiming
    from gateway.edge.desk import Desk, Visit
    from gateway.edge.firsthop_word import FirsthopWord
    from gateway.edge.realtime.answer_items import Mouth, Send
    from gateway.edge.realtime.caller import Caller
    from gateway.edge.realtime.conversation import Conversation
    from gateway.edge.realtime.early_answer import EarlyAnswer
    from gateway.wire.realtime.session_config import SessionConfig

_logger = logging.getLogger(__name__)

StopReason = Literal["client_cancelled", "turn_detected"]
Status = Literal["completed", "cancelled", "failed", "incomplete"]
Fate = Literal[Status, "discarded"]
"""Of a response; nobody is told of one that was discarded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseTerms:
    """What one response is made with."""

    config: SessionConfig
    """The session's, with what `response.create` wants different."""
    messages: tuple[Message, ...]
    metadata: dict[str, str] | None = None
    clock: StageClock | None = None
    """Of a turn that was spoken: it began when the caller fell silent."""
    voice: str | None = None
    sentence: str = ""
    """Said in place of a turn's answer: the session speaks, and no model."""
    is_aside: bool = False
    """No model is shown the sentence."""
    number: int = 0
    """Among the session's."""
    seed: int | None = None
    run_key: str = ""
    """See `Turn.run_key`."""
    early: EarlyAnswer | None = None
    """Begun before the caller's turn has ended for certain; nothing is told before it has."""


class ResponseRun:
    """A response while it is made. `conversation` None: it stands beside the conversation."""

    def __init__(
        self,
        send: Send,
        *,
        desk: Desk,
        caller: Caller,
        session_id: str,
        terms: ResponseTerms,
        conversation: Conversation | None,
        new_mouth: Callable[[str, StageClock], Mouth] | None = None,
        on_whole: Callable[[], None] | None = None,
    ) -> None:
        self.response_id = fresh_id("resp")
        self._send = send
        self._desk = desk
        self._caller = caller
        self.terms = terms
        self._conversation = conversation
        self._on_whole = on_whole
        self.is_whole = False
        """Nothing will be added; the client may not know that yet."""
        self._visit = desk.visit(
            interface="realtime",
            session=session_id,
            request_id=self.response_id,
            traceparent=(terms.metadata or {}).get("traceparent", caller.traceparent),
            clock=terms.clock,
        )
        if terms.early is not None:
            self._visit.trail.begun_early, self._visit.trail.is_certain = True, False
        self._mouth = None
        if new_mouth is not None:
            self._mouth = new_mouth(self.response_id, self._visit.trail.clock)
        self.items = AnswerItems(
            send, self.response_id, conversation=conversation, mouth=self._mouth
        )
        self._waiting: asyncio.Timeout | None = None
        self._stopped: StopReason | None = None
        self._told = asyncio.Event()
        self._end: TurnEnd | None = None

    def stop(self, reason: StopReason) -> None:
        """Have it end where it is. Once is enough."""
        if self._stopped is None:
            self._stopped = reason
            if self._waiting is not None:
                self._waiting.reschedule(asyncio.get_running_loop().time())

    def may_become(self, terms: ResponseTerms) -> bool:
        """Whether it was begun early with just these terms, and has not failed."""
        mine, early = self.terms, self.terms.early
        is_alike = (mine.config, mine.messages) == (terms.config, terms.messages)
        return early is not None and is_alike and not (early.has_failed or self._told.is_set())

    def confirm(self, timing: HeardTiming) -> None:
        """The turn that it was begun for has ended: tell it."""
        if self.terms.early is not None:
            timing.confirm(self._visit.trail.clock)
            self._visit.trail.is_certain = True
            self.terms.early.confirm()

    async def over(self) -> None:
        """Return once it has been told to its end, if it was stopped; else at once."""
        if self._stopped is not None:
            await self._told.wait()

    async def run(self) -> Fate:
        """Tell the whole response, and how it ended. Raises what the channel raises."""
        try:
            return await self._run()
        finally:
            self._told.set()

    async def _run(self) -> Fate:
        early = self.terms.early
        if early is None:
            await self._begin()
        status, details = await self._answered()
        if early is not None and not early.is_certain:
            return "discarded"
        if status in ("cancelled", "failed"):
            if self._mouth is not None:
                self._mouth.hush()
            await self.items.break_off()
        self.is_whole = True
        if self._on_whole is not None:
            self._on_whole()
        await self._send(out.ResponseDone(response=self._facts(status, details)))
        return status

    async def _begin(self) -> None:
        await self._send(out.ResponseCreated(response=self._facts("in_progress")))

    async def _answered(self) -> tuple[Status, out.StatusDetails | None]:
        try:
            async with asyncio.timeout(None if self._stopped is None else 0.0) as waiting:
                self._waiting = waiting
                if self.terms.sentence:
                    await self._recite(self.terms.sentence)
                else:
                    with self._visit as visit:
                        await self._answer(visit)
        except TimeoutError:
            if not waiting.expired():
                raise
            return "cancelled", out.StatusDetails(type="cancelled", reason=self._stopped)
        except ClientStalled:
            raise
        except GatewayError as error:
            return "failed", _failure(error)
        except Exception:
            _logger.exception("response failed", extra={"request_id": self.response_id})
            return "failed", _failure(GatewayError("the site failed on this response"))
        finally:
            self._waiting = None
        if self._end is not None and self._end.finish is TurnFinish.LENGTH:
            return "incomplete", out.StatusDetails(type="incomplete", reason="max_output_tokens")
        return "completed", None

    async def _answer(self, visit: Visit) -> None:
        visit.authenticate(self._caller.authorization)
        visit.speaks_for(self._caller.user)
        terms = self.terms
        turn = self._caller.turn(visit, terms.config, terms.messages, terms.seed)
        turn = msgspec.structs.replace(turn, run_key=terms.run_key)
        has_content = False
        async with aclosing(self._events(visit, turn)) as events:
            async for event in events:
                await self._tell(event)
                is_heard = self._mouth is not None and isinstance(event, TextDelta)
                if is_content(event) and not (is_heard or has_content):
                    has_content = True
                    visit.content_out()
        if self._mouth is not None:
            await self._mouth.first_heard()
        visit.trail.clock.end(self._desk.monotonic())

    def _events(self, visit: Visit, turn: Turn) -> AsyncGenerator[TurnEvent, None]:
        if (early := self.terms.early) is None:
            return visit.run(turn)
        turn = msgspec.structs.replace(turn, until_certain=early.until_certain)
        return early.held(visit.run(turn), self._begin)

    async def _recite(self, sentence: str) -> None:
        await self._tell(TextDelta(sentence, is_acknowledgement=self.terms.is_aside))
        await self._tell(TurnEnd(TurnFinish.STOP, Usage()))

    async def _tell(self, event: TurnEvent) -> None:
        match event:
            case TextDelta(text=text, is_acknowledgement=True):
                await self.items.acknowledge(text)
            case TextDelta(text=text) if text:
                await self.items.say(text)
            case ToolCallDelta():
                await self.items.call(event)
            case ServerToolRun():
                await self.items.ran(event)
            case TurnEnd():
                self._end = event
                await self.items.finish(event.calls)

    def _facts(
        self,
        status: Literal["in_progress"] | Status,
        details: out.StatusDetails | None = None,
    ) -> out.Response:
        config = self.terms.config
        is_done, is_turn = status != "in_progress", not self.terms.sentence
        sound = out.AudioOutputFacts(config.audio.output.format, self.terms.voice)
        return out.Response(
            id=self.response_id,
            status=status,
            status_details=details,
            output_modalities=config.output_modalities,
            output=self.items.items,
            conversation_id=self._conversation.id if self._conversation is not None else None,
            max_output_tokens=config.max_output_tokens,
            metadata=self.terms.metadata,
            audio=out.ResponseAudio(sound) if self._mouth is not None else UNSET,
            usage=self._usage() if is_done else None,
            firsthop=self._word() if is_turn and is_done else UNSET,
        )

    def _word(self) -> FirsthopWord:
        finish = None if self._end is None else self._end.finish
        word = final_word(self._visit.trail, finish)
        word.ttft_stages = ttft_stages_ms(self._visit.trail)
        return word

    def _usage(self) -> out.ResponseUsage:
        trail = self._visit.trail
        return out.ResponseUsage(
            input_tokens=trail.prompt_tokens,
            output_tokens=trail.completion_tokens,
            total_tokens=trail.prompt_tokens + trail.completion_tokens,
            input_token_details=out.InputTokens(trail.prompt_tokens, trail.cached_tokens),
            output_token_details=out.TextTokens(trail.completion_tokens),
        )


def _failure(error: GatewayError) -> out.StatusDetails:
    said = out.StatusError(status_of(error).openai_type, error.code, error.message)
    return out.StatusDetails(type="failed", error=said)
