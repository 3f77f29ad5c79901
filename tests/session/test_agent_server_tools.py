"""Tools that the assistant runs here: read out by rule, never on made-up values, paid once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.core.errors import (
    EngineUnavailable,
    UnsupportedTools,
)
from gateway.core.turn import (
    Message,
    Role,
    ServerToolRun,
    ToolCallDelta,
    TurnEvent,
    TurnFinish,
)
from gateway.session import phrases
from tests.session.bench import Bench, finish_of, run, text_of, turn, with_account

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.engine.text_model import TextModel

PAY_40 = "<c><t:pay_bill>40"


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


def test_no_tool_runs_before_the_caller_has_finished(model: TextModel, tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        certain, waits = asyncio.Event(), asyncio.Event()

        async def until_certain() -> None:
            waits.set()
            await certain.wait()

        async def begun_early(*said: Message | str) -> list[TurnEvent]:
            """The events of a turn that had to wait, with nothing run before."""
            certain.clear()
            waits.clear()
            num_run = len(bench.trail.tools_run)
            early = turn(*said, server_tools=True, until_certain=until_certain)
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(bench.run(early))
                await waits.wait()
                assert len(bench.trail.tools_run) == num_run
                certain.set()
            return running.result()

        events = await begun_early("restart my router")
        assert text_of(events).startswith("Done, your router is restarting.")
        asked = await bench.run(turn("pay forty dollars", server_tools=True))
        question = Message(Role.ASSISTANT, text_of(asked))
        paid = await begun_early("pay forty dollars", question, "yes")
        assert "you paid 40 dollars" in text_of(paid)

    with_account(tmp_path, model, ("<c><t:restart_device>router", PAY_40), check)
