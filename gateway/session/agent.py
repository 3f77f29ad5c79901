"""Answers turns: prompt in, tokens out, tools in between.

A turn is one or more rounds. Each round renders the conversation, has the router generate, and
turns tokens into text and tool calls. A call to one of the client's tools ends the turn; a call to
one of the server's runs here and the next round reads its result out.
"""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gateway.core.errors import (
    ContextLengthExceeded,
    EngineFault,
    InvalidRequest,
    UnknownModel,
    UnsupportedTools,
)
from gateway.core.generation import (
    FinishReason,
    GenerationEnd,
    GenerationRequest,
    TokenFrame,
)
from gateway.core.stages import Stage
from gateway.core.turn import (
    Message,
    Role,
    ServerToolRun,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolChoiceMode,
    TurnEnd,
    TurnFinish,
    Usage,
)
from gateway.engine.tool_format.parser import MalformedToolCall
from gateway.session.phrases import NO_ACCESS, NO_CORE_MODEL, TOOL_LOOP
from gateway.session.said_values import narrow
from gateway.session.server_tools import Confirm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from gateway.core.generation import Constraint
    from gateway.core.stages import TurnTrail
    from gateway.core.turn import ModelInfo, ToolSpec, Turn, TurnEvent
    from gateway.engine.assembly import AnswerDelta, TurnAssembler
    from gateway.engine.text_model import TextModel
    from gateway.router.router import Router
    from gateway.session.server_tools import ServerTools

_MAX_ROUNDS = 4
_ESCALATION_TOOL = "ask_core_model"


@dataclass(slots=True)
class _Round:
    """What one generation of a turn left behind."""

    calls: tuple[ToolCall, ...] = ()
    reason: FinishReason = FinishReason.STOP


@dataclass(slots=True)
class _Conversation:
    """A turn's state between rounds."""

    messages: list[Message]
    tools: tuple[ToolSpec, ...]
    offered: frozenset[str]
    """Names of tools that somebody can run; the model may know more."""
    missing: dict[str, str] = field(default_factory=dict)
    """What to ask for if this round calls a tool for which a value has not been said."""
    may_shed: bool = True
    """False once a tool has run: what was done must be told, however late."""
    usage: Usage = field(default_factory=Usage)


class Agent:
    """A `TurnRunner` over one model of one site."""

    def __init__(
        self,
        *,
        model: TextModel,
        info: ModelInfo,
        router: Router,
        server_tools: ServerTools | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._info = info
        self._router = router
        self._server_tools = server_tools
        self._monotonic = monotonic

    @property
    def models(self) -> tuple[ModelInfo, ...]:
        """The one model this site serves."""
        return (self._info,)

    async def run(self, turn: Turn, trail: TurnTrail) -> AsyncGenerator[TurnEvent, None]:
        """See `TurnRunner.run`."""
        talk = self._open(turn, trail)
        self._router.refuse_hopeless(turn.budget, trail)
        if self._server_tools is not None and turn.server_tools:
            history = await self._server_tools.resolve(turn.principal.tenant, turn.messages)
            talk.messages = list(history.messages)
            if history.run is not None:
                yield self._ran(history.run, talk, trail)
        for _ in range(_MAX_ROUNDS):
            result = _Round()
            async with aclosing(self._generate(turn, talk, trail, result)) as deltas:
                async for delta in deltas:
                    yield delta
            if not result.calls:
                yield TurnEnd(_finish_of(result.reason), talk.usage)
                return
            async with aclosing(self._settle(turn, talk, trail, result.calls)) as events:
                async for event in events:
                    yield event
                    if isinstance(event, TurnEnd):
                        return
        yield TextDelta(TOOL_LOOP)
        yield TurnEnd(TurnFinish.STOP, talk.usage)

    def _open(self, turn: Turn, trail: TurnTrail) -> _Conversation:
        if not self._info.answers_to(turn.model):
            raise UnknownModel(turn.model, (self._info.model_id, *self._info.aliases))
        trail.model = self._info.full_name
        limit_tokens = self._router.max_context_tokens
        if turn.max_tokens is not None and turn.max_tokens > limit_tokens:
            raise InvalidRequest(
                f"max_tokens is {turn.max_tokens}; this model's context holds {limit_tokens}",
                param="max_tokens",
            )
        tools = turn.tools
        if turn.server_tools:
            if self._server_tools is None:
                raise UnsupportedTools("this model has no tools of its own to run on the server")
            tools = self._server_tools.specs
        return _Conversation(list(turn.messages), tools, frozenset(tool.name for tool in tools))

    async def _generate(
        self, turn: Turn, talk: _Conversation, trail: TurnTrail, result: _Round
    ) -> AsyncGenerator[AnswerDelta, None]:
        """One round. Deltas of calls that the client is to run are passed on, others kept."""
        callable_tools = self._callable(turn, talk)
        request = self._request(turn, talk, callable_tools)
        trail.clock.mark(Stage.PROMPT, self._monotonic())
        assembler = self._model.new_assembler(callable_tools, stop=turn.stop)
        only_one = not turn.parallel_tool_calls
        passed_on: set[int] = set()
        num_tokens = 0
        async with aclosing(self._router.generate(request, turn.budget, trail)) as events:
            async for event in events:
                if isinstance(event, TokenFrame):
                    num_tokens += len(event.ids)
                    deltas = assembler.feed(event.ids, event.logprobs)
                else:
                    deltas = _last_deltas(assembler, event)
                    result.reason = event.reason
                    _count(talk, trail, event)
                for delta in deltas:
                    if isinstance(delta, ToolCallDelta):
                        if delta.name and self._is_clients(turn, talk, delta):
                            passed_on.add(delta.index)
                        if delta.index not in passed_on:
                            continue
                    yield delta
                enough = assembler.stopped or (only_one and assembler.tool_calls)
                if enough and isinstance(event, TokenFrame):
                    # Leaving the loop aborts the generation; its end will not be seen.
                    prompt_tokens = len(request.prompt)
                    _count(talk, trail, GenerationEnd(FinishReason.STOP, prompt_tokens, num_tokens))
                    break
        result.calls = tuple(assembler.tool_calls[: 1 if only_one else None])

    def _request(
        self, turn: Turn, talk: _Conversation, callable_tools: tuple[ToolSpec, ...]
    ) -> GenerationRequest:
        prompt = self._model.render(talk.messages, talk.tools)
        limit_tokens = self._router.max_context_tokens
        room_tokens = limit_tokens - len(prompt)
        if room_tokens < 1:
            raise ContextLengthExceeded(limit_tokens=limit_tokens, given_tokens=len(prompt))
        deadline_s = turn.budget.first_token_deadline_s if talk.may_shed else None
        return GenerationRequest(
            request_id=turn.request_id,
            prompt=prompt,
            max_tokens=min(turn.max_tokens or room_tokens, room_tokens),
            sampling=turn.sampling,
            constraint=self._constraint(turn, talk, callable_tools),
            turn_class=turn.turn_class,
            first_token_deadline_s=deadline_s,
        )

    def _callable(self, turn: Turn, talk: _Conversation) -> tuple[ToolSpec, ...]:
        """The tools the model may call in this round.

        A model that was trained on fixed tools means what it does by calling one, offered or not:
        a call that nobody can run is answered honestly, where a forbidden one would come out as
        a sentence that claims it was done. Its values are narrowed to what the caller has said.
        """
        talk.missing = {}
        must_call = turn.tool_choice.mode is ToolChoiceMode.REQUIRED and talk.may_shed
        if not self._model.fixed_tools or must_call or turn.constraint is not None:
            return talk.tools
        narrowed = narrow(self._model.fixed_tools, talk.messages)
        talk.missing = narrowed.missing
        return narrowed.tools

    def _constraint(
        self, turn: Turn, talk: _Conversation, callable_tools: tuple[ToolSpec, ...]
    ) -> Constraint | None:
        fixed = bool(self._model.fixed_tools)
        choice = turn.tool_choice if talk.may_shed else ToolChoice()
        if fixed and choice.mode is ToolChoiceMode.NONE:
            choice = ToolChoice()
        return self._model.constraint(callable_tools, choice, turn.constraint)

    def _is_clients(self, turn: Turn, talk: _Conversation, delta: ToolCallDelta) -> bool:
        """Whether the client runs the call that this delta opens."""
        if turn.server_tools or delta.name not in talk.offered or delta.name in talk.missing:
            return False
        return turn.parallel_tool_calls or delta.index == 0

    async def _settle(
        self, turn: Turn, talk: _Conversation, trail: TurnTrail, calls: tuple[ToolCall, ...]
    ) -> AsyncGenerator[TurnEvent, None]:
        """Do what the model called for; ends with TurnEnd unless another round is due."""
        sentence = self._cannot_run(turn, talk, calls)
        if sentence:
            yield TextDelta(sentence)
            yield TurnEnd(TurnFinish.STOP, talk.usage)
            return
        if self._server_tools is None or not turn.server_tools:
            yield TurnEnd(TurnFinish.TOOL_CALLS, talk.usage)
            return
        tools = self._server_tools
        for call in calls:
            outcome = await tools.call(turn.principal.tenant, call, talk.messages)
            if isinstance(outcome, Confirm):
                trail.clock.mark(Stage.TOOL, self._monotonic())
                yield TextDelta(outcome.question)
                yield TurnEnd(TurnFinish.STOP, talk.usage)
                return
            talk.messages.append(Message(Role.ASSISTANT, tool_calls=(call,)))
            talk.messages.append(Message(Role.TOOL, outcome.result, tool_call_id=call.call_id))
            yield self._ran(outcome, talk, trail)

    def _cannot_run(self, turn: Turn, talk: _Conversation, calls: tuple[ToolCall, ...]) -> str:
        """What to say instead, when nobody can run one of the calls; empty when all can run."""
        for call in calls:
            offered = call.name in talk.offered
            if turn.server_tools and self._server_tools is not None:
                offered = self._server_tools.runs(call.name)
            if not offered:
                return NO_CORE_MODEL if call.name == _ESCALATION_TOOL else NO_ACCESS
            if call.name in talk.missing:
                return talk.missing[call.name]
        return ""

    def _ran(self, run: ServerToolRun, talk: _Conversation, trail: TurnTrail) -> ServerToolRun:
        talk.may_shed = False
        trail.tools_run.append(run.call.name)
        trail.clock.mark(Stage.TOOL, self._monotonic())
        return run


def _count(talk: _Conversation, trail: TurnTrail, end: GenerationEnd) -> None:
    talk.usage = Usage(
        talk.usage.prompt_tokens + end.prompt_tokens,
        talk.usage.completion_tokens + end.completion_tokens,
        talk.usage.cached_tokens + end.cached_tokens,
    )
    trail.prompt_tokens = talk.usage.prompt_tokens
    trail.completion_tokens = talk.usage.completion_tokens
    trail.cached_tokens = talk.usage.cached_tokens


def _last_deltas(assembler: TurnAssembler, end: GenerationEnd) -> list[AnswerDelta]:
    try:
        return assembler.finish(cut_off=end.reason is FinishReason.LENGTH)
    except MalformedToolCall as error:
        raise EngineFault(str(error)) from error


def _finish_of(reason: FinishReason) -> TurnFinish:
    return TurnFinish.LENGTH if reason is FinishReason.LENGTH else TurnFinish.STOP
