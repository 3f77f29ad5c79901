"""Answers turns: prompt in, tokens out, tools in between.

The conversation is rendered, the router generates, and tokens become text and tool calls. Calls to
the client's tools end the turn. Calls to the server's run here, and their results are read out by
rule; a reply to a read-back needs no model at all.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from gateway.core.errors import (
    ContextLengthExceeded,
    EngineFault,
    InvalidRequest,
    SloUnattainable,
    UnknownModel,
    UnsupportedTools,
)
from gateway.core.escalation import EscalationReason
from gateway.core.generation import FinishReason, GenerationRequest, TokenFrame
from gateway.core.route_choice import Reason
from gateway.core.shorter_talk import last_part
from gateway.core.stages import Stage
from gateway.core.turn import (
    Message,
    ServerToolRun,
    TextDelta,
    ToolCallDelta,
    ToolChoiceMode,
    TurnEnd,
    TurnFinish,
    Usage,
)
from gateway.engine.tool_format.parser import MalformedToolCall
from gateway.session import phrases
from gateway.session.own_answers import is_reply, to_nothing_asked, to_undoing_a_payment
from gateway.session.read_outs import read_out
from gateway.session.said_values import SaidValues
from gateway.session.server_tools import Confirm

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence

    from gateway.core.generation import Constraint
    from gateway.core.stages import TurnTrail
    from gateway.core.turn import ModelInfo, ToolCall, ToolSpec, Turn, TurnEvent
    from gateway.engine.assembly import AnswerDelta, TurnAssembler
    from gateway.engine.text_model import TextModel
    from gateway.engine.tool_format.toolset import ToolSet
    from gateway.router.router import Router
    from gateway.session.core_tier import CoreTier
    from gateway.session.server_tools import ServerTools

_ESCALATION_TOOL = "ask_core_model"
_LONG_PROMPT_CHARS = 16_384
"""A longer conversation is rendered and tokenised beside the event loop: about 1 ms per kB."""


@dataclass(slots=True)
class _Talk:
    """The conversation as the model is shown it, and who can run what in it."""

    messages: list[Message]
    tools: tuple[ToolSpec, ...]
    """What somebody can run: the client, or this server. The model may know more."""
    may_call: bool
    """Whether anything may run at all; the client may have ruled it out."""
    may_escalate: bool = True
    """False for a turn that another site escalated to this one."""
    is_verified: bool = True
    """Whether the caller may hear of the account."""
    said: tuple[Message, ...] = ()
    """The conversation as it may leave the site: without codes."""

    @property
    def offered(self) -> frozenset[str]:
        """The names of `tools`."""
        return frozenset(tool.name for tool in self.tools)


@dataclass(slots=True)
class _Round:
    """One generation: what the model may call in it, and what came of it."""

    callable_tools: Sequence[ToolSpec] | ToolSet
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
        keep_messages: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._said = SaidValues(model)
        self._info = info
        self._router = router
        self._server_tools = server_tools
        self._core = core
        self._keep_messages = keep_messages
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
        talk = self._open(turn)
        trail.model = self._info.full_name
        self._router.refuse_hopeless(turn.turn_class, turn.budget, trail)
        if self._server_tools is not None and turn.server_tools:
            async with aclosing(self._settle(self._server_tools, turn, talk, trail)) as settled:
                async for event in settled:
                    yield event
                    if isinstance(event, TurnEnd):
                        return
        prompt = await self._render(talk)  # first: it refuses what is too long to be read
        this = self._round(turn, talk)
        async with aclosing(self._answer(turn, talk, this, prompt, trail)) as deltas:
            async for delta in deltas:
                yield delta
        is_beyond_it = _ESCALATION_TOOL in {call.name for call in this.calls} - this.clients
        end = self._hand_over if is_beyond_it else partial(self._end, this)
        async with aclosing(end(turn, talk, trail)) as events:
            async for event in events:
                yield event

    async def _settle(
        self, tools: ServerTools, turn: Turn, talk: _Talk, trail: TurnTrail
    ) -> AsyncGenerator[TurnEvent, None]:
        """What needs no model: a call that was read back is run, and a reply to what only the
        session can say is answered, which ends the turn. `talk` is what is left for the model."""
        await self._render(talk)  # what cannot be answered must not be paid for either
        if turn.until_certain is not None and is_reply(talk.messages):
            await turn.until_certain()  # it may decide a call that was read back
        tenant = turn.principal.tenant
        review = await tools.review(tenant, turn.messages)
        answer, talk.said, talk.is_verified = review.answer, review.messages, review.is_verified
        if not answer:
            history = await tools.resolve(tenant, review.messages, may_run=talk.may_call)
            talk.messages = list(history.messages)
            if history.run is not None:
                yield self._ran(history.run, trail)
            answer = history.answer or to_nothing_asked(talk.messages)
        if answer := answer or to_undoing_a_payment(talk.messages):
            for said in self._say(answer, trail):
                yield said

    def _say(self, sentence: str, trail: TurnTrail) -> tuple[TurnEvent, ...]:
        """A turn that the session answers itself."""
        self._router.stay(trail)
        return TextDelta(sentence), TurnEnd(TurnFinish.STOP, _usage(trail))

    async def check(self, turn: Turn) -> None:
        """See `TurnRunner.check`."""
        await self._render(self._open(turn))

    async def _end(
        self, this: _Round, turn: Turn, talk: _Talk, trail: TurnTrail
    ) -> AsyncGenerator[TurnEvent, None]:
        """Whatever follows what the model said: its calls are run, passed on or answered."""
        is_cut = this.reason is FinishReason.LENGTH
        finish = TurnFinish.LENGTH if is_cut else TurnFinish.STOP
        calls: tuple[ToolCall, ...] = ()
        if sentence := self._cannot_run(turn, talk, this):
            yield TextDelta(sentence)
        elif self._server_tools is not None and turn.server_tools:
            async for event in self._run_calls(self._server_tools, turn, talk, this, trail):
                yield event
        elif this.calls:
            finish = finish if is_cut else TurnFinish.TOOL_CALLS
            calls = this.calls
        yield TurnEnd(finish, _usage(trail), calls)

    async def _run_calls(
        self, tools: ServerTools, turn: Turn, talk: _Talk, this: _Round, trail: TurnTrail
    ) -> AsyncGenerator[TurnEvent, None]:
        """Run the calls and read their results out, up to one that has to be confirmed first."""
        if this.calls and turn.until_certain is not None:
            await turn.until_certain()
        for index, call in enumerate(this.calls):
            gap = " " if index else ""
            outcome = await tools.call(
                turn.principal.tenant,
                call,
                tuple(talk.messages),
                run_key=turn.run_key,
                is_verified=talk.is_verified,
            )
            if isinstance(outcome, Confirm):
                trail.clock.mark(Stage.TOOL, self._monotonic())
                yield TextDelta(gap + outcome.question)
                return
            yield self._ran(outcome, trail)
            yield TextDelta(gap + read_out(call.name, outcome.result))

    def _open(self, turn: Turn) -> _Talk:
        if not self._info.answers_to(turn.model):
            raise UnknownModel(turn.model, (self._info.model_id, *self._info.aliases))
        limit_tokens = self._router.max_context_tokens
        if turn.max_tokens is not None and turn.max_tokens > limit_tokens:
            raise InvalidRequest(
                f"max_tokens is {turn.max_tokens}; this model's context holds {limit_tokens}",
                param="max_tokens",
            )
        self._model.check_sampling(turn.sampling)
        may_call = turn.tool_choice.mode is not ToolChoiceMode.NONE
        if not turn.server_tools:
            return _Talk(list(turn.messages), turn.tools, may_call, said=turn.messages)
        if self._server_tools is None:
            raise UnsupportedTools("this model has no tools of its own to run on the server")
        return _Talk(list(turn.messages), self._server_tools.specs, may_call)

    def _round(self, turn: Turn, talk: _Talk) -> _Round:
        """What the model may say and call.

        A model that was trained on fixed tools means what it does by calling one, offered or not:
        a call that nobody can run is answered honestly, where a forbidden one would come out as
        a sentence that claims it was done. Its values are narrowed to what the caller has said,
        also where a call is demanded: one that lacks a value becomes the question for it.
        """
        choice, missing = turn.tool_choice, dict[str, str]()
        if self._model.fixed_tools:
            demanded = choice.mode is ToolChoiceMode.REQUIRED
            narrowed = self._said.narrow(talk.messages, demanded=demanded)
            callable_tools: Sequence[ToolSpec] | ToolSet = narrowed.tools
            constraint = narrowed.constraint
            missing = narrowed.missing
            if demanded or turn.constraint is not None:
                callable_tools = tuple(t for t in callable_tools if t.name in talk.offered)
                constraint = self._model.constraint(callable_tools, choice, turn.constraint)
        else:
            callable_tools = talk.tools
            constraint = self._model.constraint(callable_tools, choice, turn.constraint)
        passed_on = talk.may_call and not turn.server_tools
        clients = talk.offered - missing.keys() if passed_on else frozenset()
        return _Round(
            callable_tools, constraint, missing, clients, only_one=not turn.parallel_tool_calls
        )

    async def _answer(
        self, turn: Turn, talk: _Talk, this: _Round, prompt: tuple[int, ...], trail: TurnTrail
    ) -> AsyncGenerator[AnswerDelta, None]:
        """What the model says, to the conversation's last part if all of it takes too long."""
        try:
            async with aclosing(self._generate(turn, this, prompt, trail)) as deltas:
                async for delta in deltas:
                    yield delta
            return
        except SloUnattainable as error:
            shorter = self._shortened(talk, error)
        trail.num_left_out = len(talk.messages) - len(shorter.messages)
        prompt = await self._render(shorter)
        async with aclosing(self._generate(turn, this, prompt, trail)) as deltas:
            async for delta in deltas:
                yield delta

    async def _generate(
        self, turn: Turn, this: _Round, prompt: tuple[int, ...], trail: TurnTrail
    ) -> AsyncGenerator[AnswerDelta, None]:
        request = self._request(turn, this, prompt)
        assembler = self._model.new_assembler(this.callable_tools, stop=turn.stop)
        trail.clock.mark(Stage.PROMPT, self._monotonic())
        cut_short = False
        async with aclosing(self._router.generate(request, turn.budget, trail)) as events:
            async for event in events:
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

    def _shortened(self, talk: _Talk, error: SloUnattainable) -> _Talk:
        """The conversation's last part. Raises the error of the whole, if less would not help."""
        kept = last_part(talk.messages, self._keep_messages)
        if len(kept) == len(talk.messages) or error.reason != Reason.NOTHING_FITS:
            raise error
        return replace(talk, messages=kept)

    def _request(self, turn: Turn, this: _Round, prompt: tuple[int, ...]) -> GenerationRequest:
        room_tokens = self._router.max_context_tokens - len(prompt)
        return GenerationRequest(
            request_id=turn.request_id,
            prompt=prompt,
            max_tokens=min(turn.max_tokens or room_tokens, room_tokens),
            sampling=turn.sampling,
            constraint=this.constraint,
            turn_class=turn.turn_class,
            first_token_deadline_s=turn.budget.first_token_deadline_s,
        )

    async def _hand_over(
        self, turn: Turn, talk: _Talk, trail: TurnTrail
    ) -> AsyncGenerator[TurnEvent, None]:
        """The model says the turn is beyond it: the core tier answers, or it is said why not."""
        if self._core is not None and talk.may_escalate:
            beyond = msgspec.structs.replace(turn, messages=talk.said)
            async with aclosing(self._core.take_over(beyond, trail)) as events:
                async for event in events:
                    yield event
            return
        trail.escalation, trail.escalation_error = EscalationReason.ASSISTANT, "no_core_model"
        yield TextDelta(phrases.NO_CORE_MODEL)
        yield TurnEnd(TurnFinish.STOP, _usage(trail))

    def _cannot_run(self, turn: Turn, talk: _Talk, this: _Round) -> str:
        """What to say instead, when nobody can run one of the calls; empty when all can run."""
        tools = self._server_tools if turn.server_tools else None
        for call in this.calls:
            runs = tools.runs(call.name) if tools is not None else call.name in talk.offered
            if not runs or not talk.may_call:
                return phrases.NO_ACCESS
            if tools is not None and tools.is_left_alone(call.name, talk.messages):
                return phrases.LEFT_ALONE
            if call.name in this.missing:
                return this.missing[call.name]
        return ""

    def _ran(self, run: ServerToolRun, trail: TurnTrail) -> ServerToolRun:
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
