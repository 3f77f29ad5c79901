"""The agent over the shipped assistant's text side, with a router that plays scripted answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.core.errors import (
    ContextLengthExceeded,
    EngineFault,
    InvalidRequest,
    UnknownModel,
    UnsupportedTools,
)
from gateway.core.generation import (
    FinishReason,
    Sampling,
)
from gateway.core.stages import Stage
from gateway.core.turn import (
    Message,
    Role,
    TextDelta,
    ToolCallDelta,
    ToolChoice,
    ToolChoiceMode,
    ToolSpec,
    Turn,
    TurnEnd,
    TurnFinish,
)
from gateway.session import phrases
from gateway.session.said_values import SaidValues
from tests.session.bench import CONTEXT_TOKENS, Bench, finish_of, run, text_of, turn, with_account

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.engine.text_model import TextModel

PAY_40 = "<c><t:pay_bill>40"


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


def test_a_call_that_is_none_is_a_fault_of_the_engine(model: TextModel) -> None:
    with pytest.raises(EngineFault, match="tool call"):
        run(Bench(model, None, "<c>hello there"), turn("hi", tools=model.fixed_tools))


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
