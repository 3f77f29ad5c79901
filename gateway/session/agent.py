"""Answers turns: prompt in, tokens out, tools in between.

A turn is one or more rounds. Each round renders the conversation, has the router generate, and
turns tokens into text and tool calls. A call to one of the client's tools ends the turn; a call to
one of the server's runs here and the next round reads its result out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.core.errors import (
    CapacityError,
    ContextLengthExceeded,
    EngineError,
    EngineFault,
    InvalidRequest,
    RequestError,
    UnknownModel,
    UnsupportedTools,
)
from gateway.core.escalation import EscalationReason
from gateway.core.generation import FinishReason, GenerationRequest, TokenFrame
from gateway.core.stages import Stage
from gateway.core.turn import (
    Message,
    Role,
    ServerToolRun,
    TextDelta,
    ToolCallDelta,
    ToolChoice,
    ToolChoiceMode,
    TurnEnd,
    TurnFinish,
    Usage,
)
from gateway.engine.tool_format.parser import MalformedToolCall
from gateway.session import phrases
from gateway.session.said_values import SaidValues
from gateway.session.server_tools import Confirm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

    from gateway.core.generation import Constraint
    from gateway.core.stages import TurnTrail
    from gateway.core.turn import ModelInfo, ToolCall, ToolSpec, Turn, TurnEvent
    from gateway.engine.assembly import AnswerDelta, TurnAssembler
    from gateway.engine.text_model import TextModel
    from gateway.router.router import Router
    from gateway.session.core_tier import CoreTier
    from gateway.session.server_tools import ServerTools

_log = logging.getLogger(__name__)

_MAX_ROUNDS = 4
_ESCALATION_TOOL = "ask_core_model"
_LONG_PROMPT_CHARS = 16_384
"""A longer conversation is rendered and tokenised beside the event loop: about 1 ms per kB."""


@dataclass(slots=True)
class _Talk:
    """A turn's state between rounds."""

    messages: list[Message]
    tools: tuple[ToolSpec, ...]
    """What somebody can run: the client, or this server. The model may know more."""
    may_escalate: bool = True
    """False for a turn that another site escalated to this one."""
    last_run: ServerToolRun | None = None
    """What a tool of the server did. From then on the turn must be answered, however late."""

    @property
    def offered(self) -> frozenset[str]:
        """The names of `tools`."""
        return frozenset(tool.name for tool in self.tools)


@dataclass(slots=True)
class _Round:
    """One generation: what the model may call in it, and what came of it."""

    callable_tools: tuple[ToolSpec, ...]
    constraint: Constraint | None
    missing: dict[str, str]
    """By tool, what to ask if the model calls it: the caller has not said a value it needs."""
    clients: frozenset[str]
    """Tools whose calls are passed on to the client."""
    only_one: bool
    calls: tuple[ToolCall, ...] = ()
    reason: FinishReason = FinishReason.STOP
    _passed_on: set[int] = field(default_factory=set)

    def for_client(self, deltas: Iterable[AnswerDelta]) -> Iterator[AnswerDelta]:
        """Text, and those calls that the client is to run."""
        for delta in deltas:
            if isinstance(delta, ToolCallDelta):
                if delta.name in self.clients and not (self.only_one and delta.index):
                    self._passed_on.add(delta.index)
                if delta.index not in self._passed_on:
                    continue
            yield delta


class Agent:
    """A `TurnRunner` over one model of one site."""

    def __init__(
        self,
        *,
        model: TextModel,
        info: ModelInfo,
        router: Router,
        server_tools: ServerTools | None,
        core: CoreTier | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._said = SaidValues(model)
        self._info = info
        self._router = router
        self._server_tools = server_tools
        self._core = core
        self._monotonic = monotonic

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The one model this site serves."""
        return (self._info,)

    @property
    def usual_constraint(self) -> Constraint | None:
        """The grammar of a turn in which the caller says no value, as most do."""
        return self._said.narrow(()).constraint if self._model.fixed_tools else None

    async def run(self, turn: Turn, trail: TurnTrail) -> AsyncGenerator[TurnEvent, None]:
        """See `TurnRunner.run`."""
        talk = self._open(turn, trail)
        self._router.refuse_hopeless(turn.turn_class, turn.budget, trail)
        if self._server_tools is not None and turn.server_tools:
            await self._render(talk)  # what cannot be answered must not be paid for either
            history = await self._server_tools.resolve(turn.principal.tenant, turn.messages)
            talk.messages = list(history.messages)
            if history.run is not None:
                yield self._ran(history.run, talk, trail)
        try:
            async with aclosing(self._rounds(turn, talk, trail)) as events:
                async for event in events:
                    yield event
        except (RequestError, CapacityError, EngineError) as error:
            if talk.last_run is None:
                raise
            _log.warning("a tool ran but its result was not read out: %s", error)
            yield TextDelta(phrases.told_plainly(talk.last_run.result))
            yield TurnEnd(TurnFinish.STOP, _usage(trail))

    async def _rounds(
        self, turn: Turn, talk: _Talk, trail: TurnTrail
    ) -> AsyncGenerator[TurnEvent, None]:
        for _ in range(_MAX_ROUNDS):
            prompt = await self._render(talk)  # first: it refuses what is too long to be read
            this = self._round(turn, talk)
            async with aclosing(self._generate(turn, talk, this, prompt, trail)) as deltas:
                async for delta in deltas:
                    yield delta
            if not this.calls:
                length = this.reason is FinishReason.LENGTH
                yield TurnEnd(TurnFinish.LENGTH if length else TurnFinish.STOP, _usage(trail))
                return
            if _ESCALATION_TOOL in {call.name for call in this.calls} - this.clients:
                async with aclosing(self._hand_over(turn, talk, trail)) as events:
                    async for event in events:
                        yield event
                return
            sentence = self._cannot_run(turn, talk, this)
            if sentence:
                yield TextDelta(sentence)
                yield TurnEnd(TurnFinish.STOP, _usage(trail))
                return
            if not turn.server_tools or self._server_tools is None:
                yield TurnEnd(TurnFinish.TOOL_CALLS, _usage(trail), this.calls)
                return
            for call in this.calls:
                outcome = await self._server_tools.call(
                    turn.principal.tenant, call, tuple(talk.messages)
                )
                if isinstance(outcome, Confirm):
                    trail.clock.mark(Stage.TOOL, self._monotonic())
                    yield TextDelta(outcome.question)
                    yield TurnEnd(TurnFinish.STOP, _usage(trail))
                    return
                talk.messages.append(Message(Role.ASSISTANT, tool_calls=(call,)))
                talk.messages.append(Message(Role.TOOL, outcome.result, tool_call_id=call.call_id))
                yield self._ran(outcome, talk, trail)
        yield TextDelta(phrases.TOOL_LOOP)
        yield TurnEnd(TurnFinish.STOP, _usage(trail))

    def _open(self, turn: Turn, trail: TurnTrail) -> _Talk:
        if not self._info.answers_to(turn.model):
            raise UnknownModel(turn.model, (self._info.model_id, *self._info.aliases))
        trail.model = self._info.full_name
        limit_tokens = self._router.max_context_tokens
        if turn.max_tokens is not None and turn.max_tokens > limit_tokens:
            raise InvalidRequest(
                f"max_tokens is {turn.max_tokens}; this model's context holds {limit_tokens}",
                param="max_tokens",
            )
        may_escalate = not trail.path
        if not turn.server_tools:
            return _Talk(list(turn.messages), turn.tools, may_escalate)
        if self._server_tools is None:
            raise UnsupportedTools("this model has no tools of its own to run on the server")
        return _Talk(list(turn.messages), self._server_tools.specs, may_escalate)

    def _round(self, turn: Turn, talk: _Talk) -> _Round:
        """What the model may say and call in the next generation.

        A model that was trained on fixed tools means what it does by calling one, offered or not:
        a call that nobody can run is answered honestly, where a forbidden one would come out as
        a sentence that claims it was done. Its values are narrowed to what the caller has said.
        """
        # What a client insists on, it has got once a tool ran.
        choice = turn.tool_choice if talk.last_run is None else ToolChoice()
        must_call = choice.mode is ToolChoiceMode.REQUIRED
        missing: dict[str, str] = {}
        if self._model.fixed_tools and not must_call and turn.constraint is None:
            narrowed = self._said.narrow(talk.messages)
            callable_tools, constraint = narrowed.tools, narrowed.constraint
            missing = narrowed.missing
        else:
            callable_tools = talk.tools
            constraint = self._model.constraint(callable_tools, choice, turn.constraint)
        clients = frozenset() if turn.server_tools else talk.offered - missing.keys()
        return _Round(
            callable_tools, constraint, missing, clients, only_one=not turn.parallel_tool_calls
        )

    async def _generate(
        self, turn: Turn, talk: _Talk, this: _Round, prompt: tuple[int, ...], trail: TurnTrail
    ) -> AsyncGenerator[AnswerDelta, None]:
        request = self._request(turn, talk, this, prompt)
        assembler = self._model.new_assembler(this.callable_tools, stop=turn.stop)
        trail.clock.mark(Stage.PROMPT, self._monotonic())
        cut_short = False
        num_events = 0
        async with aclosing(
            self._router.generate(
                request, turn.budget, trail, must_answer=talk.last_run is not None
            )
        ) as events:
            async for event in events:
                num_events += 1
                if num_events == 1:
                    trail.prompt_tokens += len(prompt)
                if not isinstance(event, TokenFrame):
                    trail.cached_tokens += event.cached_tokens
                    this.reason = event.reason
                    break
                trail.completion_tokens += len(event.ids)
                for delta in this.for_client(assembler.feed(event.ids, event.logprobs)):
                    yield delta
                cut_short = this.only_one and bool(assembler.tool_calls)
                if cut_short or assembler.stopped:
                    break  # closing the events aborts the generation
        if not cut_short:
            for delta in this.for_client(_last_deltas(assembler, this.reason)):
                yield delta
        this.calls = tuple(assembler.tool_calls[: 1 if this.only_one else None])

    async def _render(self, talk: _Talk) -> tuple[int, ...]:
        """The prompt's tokens. Raises ContextLengthExceeded when no answer would fit."""
        num_chars = sum(len(message.content) for message in talk.messages)
        if num_chars > _LONG_PROMPT_CHARS:
            prompt = await asyncio.to_thread(self._model.render, talk.messages, talk.tools)
        else:
            prompt = self._model.render(talk.messages, talk.tools)
        limit_tokens = self._router.max_context_tokens
        if len(prompt) >= limit_tokens:
            raise ContextLengthExceeded(limit_tokens=limit_tokens, given_tokens=len(prompt))
        return prompt

    def _request(
        self, turn: Turn, talk: _Talk, this: _Round, prompt: tuple[int, ...]
    ) -> GenerationRequest:
        room_tokens = self._router.max_context_tokens - len(prompt)
        may_wait = talk.last_run is not None
        return GenerationRequest(
            request_id=turn.request_id,
            prompt=prompt,
            max_tokens=min(turn.max_tokens or room_tokens, room_tokens),
            sampling=turn.sampling,
            constraint=this.constraint,
            turn_class=turn.turn_class,
            first_token_deadline_s=None if may_wait else turn.budget.first_token_deadline_s,
        )

    async def _hand_over(
        self, turn: Turn, talk: _Talk, trail: TurnTrail
    ) -> AsyncGenerator[TurnEvent, None]:
        """The model says the turn is beyond it: the core tier answers, or it is said why not."""
        if self._core is not None and talk.may_escalate:
            async with aclosing(self._core.take_over(turn, trail)) as events:
                async for event in events:
                    yield event
            return
        trail.escalation, trail.escalation_error = EscalationReason.ASSISTANT, "no_core_model"
        yield TextDelta(phrases.NO_CORE_MODEL)
        yield TurnEnd(TurnFinish.STOP, _usage(trail))

    def _cannot_run(self, turn: Turn, talk: _Talk, this: _Round) -> str:
        """What to say instead, when nobody can run one of the calls; empty when all can run."""
        for call in this.calls:
            runs = call.name in talk.offered
            if turn.server_tools and self._server_tools is not None:
                runs = self._server_tools.runs(call.name)
            if not runs:
                return phrases.NO_ACCESS
            if call.name in this.missing:
                return this.missing[call.name]
        return ""

    def _ran(self, run: ServerToolRun, talk: _Talk, trail: TurnTrail) -> ServerToolRun:
        talk.last_run = run
        trail.tools_run.append(run.call.name)
        trail.clock.mark(Stage.TOOL, self._monotonic())
        return run


def _usage(trail: TurnTrail) -> Usage:
    return Usage(trail.prompt_tokens, trail.completion_tokens, trail.cached_tokens)


def _last_deltas(assembler: TurnAssembler, reason: FinishReason) -> list[AnswerDelta]:
    try:
        return assembler.finish(cut_off=reason is FinishReason.LENGTH)
    except MalformedToolCall as error:
        raise EngineFault(str(error)) from error
