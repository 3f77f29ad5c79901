"""The agent over the shipped assistant's text side, with a router that plays scripted answers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.core.budget import Budget, TurnClass
from gateway.core.errors import (
    ContextLengthExceeded,
    EngineFault,
    EngineUnavailable,
    InvalidRequest,
    UnknownModel,
    UnsupportedTools,
)
from gateway.core.generation import (
    FinishReason,
    GenerationEnd,
    GenerationEvent,
    GenerationRequest,
    Sampling,
    TokenFrame,
)
from gateway.core.stages import Stage, StageClock, TurnTrail
from gateway.core.turn import (
    Message,
    ModelInfo,
    Role,
    ServerToolRun,
    TextDelta,
    ToolCallDelta,
    ToolChoice,
    ToolChoiceMode,
    ToolSpec,
    Turn,
    TurnEnd,
    TurnEvent,
    TurnFinish,
)
from gateway.engine.bundle import load_bundle
from gateway.engine.text_model import TextModel
from gateway.session import phrases
from gateway.session.account import AccountStore
from gateway.session.agent import Agent
from gateway.session.said_values import SaidValues
from gateway.session.server_tools import ServerTools

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

BUNDLE = Path(__file__).parents[2] / "models" / "subscriber_care" / "bundle"
CONTEXT_TOKENS = 512
PAY_40 = "<c><t:pay_bill>40"


@pytest.fixture(scope="module")
def model() -> TextModel:
    return TextModel.from_bundle(load_bundle(BUNDLE))


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


def test_text_is_streamed_and_counted(model: TextModel) -> None:
    bench = Bench(model, None, "Hello there.")
    events = run(bench, turn("hi"))
    assert text_of(events) == "Hello there."
    assert finish_of(events) is TurnFinish.STOP
    assert bench.trail.prompt_tokens == len(bench.router.requests[0].prompt)
    assert bench.trail.completion_tokens == bench.router.num_frames
    assert bench.trail.model == "care@abababababab"
    assert Stage.PROMPT in bench.trail.clock.durations_s()


def test_running_out_of_tokens_is_told(model: TextModel) -> None:
    bench = Bench(model, None, "Hello", reason=FinishReason.LENGTH)
    assert finish_of(run(bench, turn("hi", max_tokens=3))) is TurnFinish.LENGTH
    assert bench.router.requests[0].max_tokens == 3


def test_a_stop_string_ends_the_generation_early(model: TextModel) -> None:
    bench = Bench(model, None, "One two three four five six seven.")
    events = run(bench, turn("count", stop=(" three",)))
    assert text_of(events) == "One two"
    assert bench.router.num_closed == 1
    assert bench.trail.completion_tokens == bench.router.num_frames < 8


def test_the_clients_tools_are_handed_to_the_client(model: TextModel) -> None:
    tools = tuple(tool for tool in model.fixed_tools if tool.name in ("pay_bill", "get_bill"))
    events = run(Bench(model, None, PAY_40), turn("pay forty dollars", tools=tools))
    opened = next(event for event in events if isinstance(event, ToolCallDelta))
    arguments = "".join(e.arguments for e in events if isinstance(e, ToolCallDelta))
    assert (opened.name, arguments) == ("pay_bill", '{"amount": 40}')
    assert opened.call_id.startswith("call_")
    assert finish_of(events) is TurnFinish.TOOL_CALLS


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [(PAY_40, phrases.NO_ACCESS), ("<c><t:ask_core_model>", phrases.NO_CORE_MODEL)],
)
def test_a_call_that_nobody_can_run_is_answered_honestly(
    model: TextModel, answer: str, sentence: str
) -> None:
    events = run(Bench(model, None, answer), turn("pay forty dollars"))
    assert text_of(events) == sentence
    assert not any(isinstance(event, ToolCallDelta) for event in events)
    assert finish_of(events) is TurnFinish.STOP


def test_a_server_tool_runs_and_its_result_is_read_out(model: TextModel, tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        events = await bench.run(turn("what do I owe", server_tools=True))
        run = next(event for event in events if isinstance(event, ServerToolRun))
        assert run.call.name == "get_bill"
        assert '"open_dollars":64' in run.result
        assert text_of(events) == "Your current bill is 64 dollars, due in 9 days."
        assert not any(isinstance(event, ToolCallDelta) for event in events)
        assert bench.trail.tools_run == ["get_bill"]

    with_account(tmp_path, model, ("<c><t:get_bill>current",), check)


def test_forty_dollars_are_paid_once_after_a_yes(model: TextModel, tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        asked = await bench.run(turn("pay forty dollars", server_tools=True))
        question = Message(Role.ASSISTANT, text_of(asked))
        assert not any(isinstance(event, ServerToolRun) for event in asked)
        for _ in range(2):  # the client repeats its request
            told = await bench.run(
                turn("pay forty dollars", question, "yes please", server_tools=True)
            )
            run = next(event for event in told if isinstance(event, ServerToolRun))
            assert run.result == '{"paid_dollars":40,"open_dollars":24}'
            assert text_of(told) == "Done, you paid 40 dollars. 24 dollars remain open."
            assert finish_of(told) is TurnFinish.STOP
            assert bench.trail.site == "here"
        answer = Message(Role.ASSISTANT, text_of(told))
        await bench.run(
            turn("pay forty dollars", question, "yes please", answer, "my bill", server_tools=True)
        )
        assert "Shall I go ahead" not in bench.router.prompt_text(1)
        assert "paid_dollars=40; open_dollars=24" in bench.router.prompt_text(1)

    with_account(tmp_path, model, (PAY_40, "Sure."), check)


def test_a_value_that_was_not_said_is_asked_for(model: TextModel, tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        asked = await bench.run(turn("pause the wifi for the kids", server_tools=True))
        assert text_of(asked) == phrases.HOW_LONG
        assert not any(isinstance(event, ServerToolRun) for event in asked)

    with_account(tmp_path, model, ("<c><t:pause_wifi>kids",), check)
    tools = tuple(tool for tool in model.fixed_tools if tool.name == "pause_wifi")
    clients = run(
        Bench(model, None, "<c><t:pause_wifi>kids"),
        turn("pause the wifi for the kids", tools=tools),
    )
    assert text_of(clients) == phrases.HOW_LONG
    assert not any(isinstance(event, ToolCallDelta) for event in clients)


def test_calls_cut_off_by_max_tokens_are_not_hidden(model: TextModel) -> None:
    bench = Bench(model, None, "<c><t:get_bill>last<c><t:get_bill>cur", reason=FinishReason.LENGTH)
    events = run(bench, turn("both my bills", tools=model.fixed_tools))
    assert finish_of(events) is TurnFinish.LENGTH
    assert isinstance(events[-1], TurnEnd)
    assert [call.arguments for call in events[-1].calls] == ['{"period": "last"}']


@pytest.mark.parametrize("server_tools", [False, True])
def test_where_no_tool_may_be_called_none_is(
    model: TextModel, tmp_path: Path, server_tools: bool
) -> None:
    async def check(bench: Bench) -> None:
        events = await bench.run(
            turn(
                "restart my router",
                server_tools=server_tools,
                tools=() if server_tools else model.fixed_tools,
                tool_choice=ToolChoice(ToolChoiceMode.NONE),
            )
        )
        assert [type(event) for event in events] == [TextDelta, TurnEnd]
        assert text_of(events) == phrases.NO_ACCESS
        assert finish_of(events) is TurnFinish.STOP

    with_account(tmp_path, model, ("<c><t:restart_device>router",), check)


@pytest.mark.parametrize("server_tools", [False, True])
@pytest.mark.parametrize("name", ["", "add_roaming"])
def test_a_demanded_call_makes_no_value_up(
    model: TextModel, tmp_path: Path, server_tools: bool, name: str
) -> None:
    async def check(bench: Bench) -> None:
        events = await bench.run(
            turn(
                "hello",
                server_tools=server_tools,
                tools=() if server_tools else model.fixed_tools,
                tool_choice=ToolChoice(ToolChoiceMode.REQUIRED, name),
            )
        )
        assert [type(event) for event in events] == [TextDelta, TurnEnd]
        assert text_of(events) == phrases.WHICH_COUNTRY

    with_account(tmp_path, model, ("<c><t:add_roaming>",), check)


@pytest.mark.parametrize("reply", ["yes", "okay", "sure"])
def test_a_yes_to_no_question_calls_nothing(model: TextModel, tmp_path: Path, reply: str) -> None:
    async def check(bench: Bench) -> None:
        told = Message(Role.ASSISTANT, "Done, your visit on Monday morning is cancelled.")
        events = await bench.run(turn("cancel my visit", told, reply, server_tools=True))
        assert text_of(events) == phrases.NOTHING_ASKED
        assert bench.router.requests == []

    with_account(tmp_path, model, (), check)


def test_a_yes_to_a_question_is_the_models(model: TextModel, tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        offer = Message(Role.ASSISTANT, "There is no outage. Shall I restart your router?")
        events = await bench.run(turn("no internet", offer, "yes", server_tools=True))
        assert bench.trail.tools_run == ["restart_device"]
        assert text_of(events).startswith("Done, your router is restarting.")

    with_account(tmp_path, model, ("<c><t:restart_device>router",), check)


def test_what_is_not_wanted_is_not_asked_about_either(model: TextModel, tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        for said in ("don't pause the wifi for the kids", "don't pause it for 30 minutes"):
            events = await bench.run(turn(said, server_tools=True))
            assert text_of(events) == phrases.LEFT_ALONE
        assert bench.trail.tools_run == []

    with_account(tmp_path, model, ("<c><t:pause_wifi>kids",) * 2, check)


@pytest.mark.parametrize("wish", ["undo that", "no, undo", "Please reverse the payment."])
def test_a_payment_is_not_undone(model: TextModel, tmp_path: Path, wish: str) -> None:
    async def check(bench: Bench) -> None:
        asked = await bench.run(turn("pay forty dollars", server_tools=True))
        question = Message(Role.ASSISTANT, text_of(asked))
        history: list[Message | str] = ["pay forty dollars", question, "yes"]
        paid = await bench.run(turn(*history, server_tools=True))
        history += [Message(Role.ASSISTANT, text_of(paid)), wish]
        told = await bench.run(turn(*history, server_tools=True))
        assert text_of(told) == phrases.PAYMENT_STANDS
        events = await bench.run(turn("hello", wish, server_tools=True))
        assert text_of(events) == "Sorry?"

    with_account(tmp_path, model, (PAY_40, "Sorry?"), check)


def test_a_call_that_is_none_is_a_fault_of_the_engine(model: TextModel) -> None:
    with pytest.raises(EngineFault, match="tool call"):
        run(Bench(model, None, "<c>hello there"), turn("hi", tools=model.fixed_tools))


def test_a_decided_read_back_needs_no_model(model: TextModel, tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        asked = await bench.run(turn("pay forty dollars", server_tools=True))
        question = Message(Role.ASSISTANT, text_of(asked))
        bench.router.fails_with = EngineUnavailable("gone")
        told = await bench.run(turn("pay forty dollars", question, "yes", server_tools=True))
        assert "you paid 40 dollars" in text_of(told)

    with_account(tmp_path, model, (PAY_40,), check)


def test_what_could_not_be_answered_is_not_paid(model: TextModel, tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        asked = await bench.run(turn("pay forty dollars", server_tools=True))
        question = Message(Role.ASSISTANT, text_of(asked))
        system = Message(Role.SYSTEM, "be brief")
        with pytest.raises(UnsupportedTools):
            await bench.run(turn(system, "pay forty dollars", question, "yes", server_tools=True))
        paid = await bench.run(turn("pay forty dollars", question, "yes", server_tools=True))
        assert '"open_dollars":24' in next(e for e in paid if isinstance(e, ServerToolRun)).result

    with_account(tmp_path, model, (PAY_40,), check)


def test_tokens_are_counted_while_they_come(model: TextModel) -> None:
    bench = Bench(model, None, "One two three four five.")

    async def scenario() -> None:
        events = bench.agent.run(turn("count"), bench.trail)
        async for _ in events:
            break
        await events.aclose()

    asyncio.run(scenario())
    assert bench.trail.completion_tokens == bench.router.num_frames > 0
    assert bench.trail.prompt_tokens == len(bench.router.requests[0].prompt)


def test_leaving_mid_stream_closes_the_generation(model: TextModel) -> None:
    bench = Bench(model, None, "One two three four five.")

    async def scenario() -> None:
        events = bench.agent.run(turn("count"), bench.trail)
        async for _ in events:
            break
        await events.aclose()

    asyncio.run(scenario())
    assert bench.router.num_closed == 1
    assert bench.router.num_frames < 5


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (turn("hi", model="gpt-5"), UnknownModel),
        (turn("hi", max_tokens=CONTEXT_TOKENS + 1), InvalidRequest),
        (turn("word " * 600), ContextLengthExceeded),
        (turn(Message(Role.SYSTEM, "be brief"), "hi"), UnsupportedTools),
        (turn("hi", tools=(ToolSpec("fly", "", {"type": "object"}),)), UnsupportedTools),
        (turn("hi", server_tools=True), UnsupportedTools),
    ],
)
def test_what_cannot_be_answered_is_refused_before_anything_is_generated(
    model: TextModel, asked: Turn, error: type[Exception]
) -> None:
    bench = Bench(model, None)
    with pytest.raises(error):
        run(bench, asked)
    with pytest.raises(error):
        asyncio.run(bench.agent.check(asked))
    assert bench.router.requests == []


def test_what_is_too_long_is_not_searched_for_values(
    model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(model, None)
    monkeypatch.setattr(SaidValues, "narrow", lambda *_: pytest.fail("the text was read"))
    with pytest.raises(ContextLengthExceeded):
        run(bench, turn("pay 9 or " * 1000))


@pytest.mark.parametrize("name", ["default", "care", "gpt-4o-mini", "care@abababababab"])
def test_the_model_answers_to_its_names(model: TextModel, name: str) -> None:
    assert text_of(run(Bench(model, None, "Hi."), turn("hi", model=name))) == "Hi."


def test_the_request_carries_what_the_turn_asked_for(model: TextModel) -> None:
    bench = Bench(model, None, "Hi.")
    sampling = Sampling(temperature=0.3, seed=9)
    run(bench, turn("hi", sampling=sampling))
    request = bench.router.requests[0]
    assert request.sampling == sampling
    assert request.first_token_deadline_s == 2.0
    assert request.max_tokens == CONTEXT_TOKENS - len(request.prompt)
    assert request.constraint is not None
