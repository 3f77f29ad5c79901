"""An agent over a router that plays a script, and turns for it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec

from gateway.core.budget import Budget, TurnClass
from gateway.core.generation import (
    FinishReason,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    TokenFrame,
)
from gateway.core.stages import StageClock, TurnTrail
from gateway.core.turn import (
    Message,
    ModelInfo,
    Role,
    TextDelta,
    Turn,
    TurnEnd,
    TurnEvent,
    TurnFinish,
)
from gateway.session.account import AccountStore
from gateway.session.agent import Agent
from gateway.session.server_tools import ServerTools

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path

    from gateway.engine.text_model import TextModel

CONTEXT_TOKENS = 512
PAY_40 = "<c><t:pay_bill>40"


class ScriptedRouter:
    """Answers each round with the next text, one token a frame."""

    max_context_tokens = CONTEXT_TOKENS

    def __init__(self, model: TextModel, *answers: str, reason: FinishReason) -> None:
        self._model = model
        self._answers = list(answers)
        self._reason = reason
        self.requests: list[GenerationRequest] = []
        self.fails_with: Exception | None = None
        self.num_frames = 0
        self.num_closed = 0

    def refuse_hopeless(self, turn_class: TurnClass, budget: Budget, trail: TurnTrail) -> None:
        """Nothing is hopeless here."""

    def stay(self, trail: TurnTrail) -> None:
        trail.site = "here"

    async def generate(
        self, request: GenerationRequest, budget: Budget, trail: TurnTrail
    ) -> AsyncGenerator[GenerationEvent, None]:
        self.requests.append(request)
        if self.fails_with is not None:
            raise self.fails_with
        trail.prompt_tokens += len(request.prompt)
        ids = self._model.tokenizer.encode(self._answers.pop(0))
        try:
            for index, token_id in enumerate(ids):
                self.num_frames += 1
                yield TokenFrame(index, (token_id,))
            yield GenerationEnd(self._reason, len(request.prompt), len(ids))
        finally:
            self.num_closed += 1

    def prompt_text(self, round_index: int) -> str:
        ids = self.requests[round_index].prompt
        return b"".join(self._model.tokenizer.token_bytes(i) for i in ids).decode()


class Bench:
    """An agent with an account of its own."""

    def __init__(
        self,
        model: TextModel,
        store: AccountStore | None,
        *answers: str,
        reason: FinishReason = FinishReason.STOP,
    ) -> None:
        self.router = ScriptedRouter(model, *answers, reason=reason)
        tools = None if store is None else ServerTools(store, model.fixed_tools)
        info = ModelInfo("care", "1", "ab" * 32, "int8", CONTEXT_TOKENS, "fixed:x", ("gpt-4o*",))
        self.agent = Agent(model=model, info=info, router=self.router, server_tools=tools)  # type: ignore[arg-type] # a fake of what is used of it
        self.trail = TurnTrail("r", StageClock(0.0))

    async def run(self, turn: Turn) -> list[TurnEvent]:
        async with aclosing(self.agent.run(turn, self.trail)) as events:
            return [event async for event in events]


def turn(*said: Message | str, **fields: object) -> Turn:
    messages = tuple(m if isinstance(m, Message) else Message(Role.USER, m) for m in said)
    budget = Budget(0.0, 2.0)
    made = Turn(request_id="r", messages=messages, budget=budget)
    return msgspec.structs.replace(made, **fields)


def run(bench: Bench, asked: Turn) -> list[TurnEvent]:
    return asyncio.run(bench.run(asked))


def text_of(events: list[TurnEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def finish_of(events: list[TurnEvent]) -> TurnFinish:
    assert isinstance(events[-1], TurnEnd)
    return events[-1].finish


def with_account(
    path: Path, model: TextModel, answers: tuple[str, ...], check: Callable[[Bench], object]
) -> None:
    async def scenario() -> None:
        store = AccountStore(path / "account.db")
        await store.open()
        try:
            result = check(Bench(model, store, *answers))
            if asyncio.iscoroutine(result):
                await result
        finally:
            await store.close()

    asyncio.run(scenario())
