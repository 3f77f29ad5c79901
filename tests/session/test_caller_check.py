"""Callers who have to say their code before anything of their account is told or done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.caller_check import QUESTION
from gateway.core.turn import Message, Role, ServerToolRun, TurnEnd, TurnFinish, Usage
from gateway.session import phrases
from gateway.session.account import AccountStore
from gateway.session.caller_check import CallerCheck
from gateway.session.server_tools import ServerTools
from tests.session.bench import PAY_40, Bench, text_of, turn, with_account

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from gateway.core.stages import TurnTrail
    from gateway.core.turn import Turn, TurnEvent
    from gateway.engine.text_model import TextModel

BILL = "<c><t:get_bill>current"
ASKED = Message(Role.ASSISTANT, QUESTION)


def verifying(bench: Bench) -> None:
    tools = bench.agent._server_tools
    assert tools is not None
    bench.agent._server_tools = ServerTools(tools._store, tools.specs, verifies_callers=True)


def test_the_bill_is_read_out_to_whoever_knows_the_code(model: TextModel, tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        verifying(bench)
        said: list[Message | str] = ["what do I owe"]
        assert text_of(await bench.run(turn(*said, server_tools=True))) == QUESTION
        said += [ASKED, "one two three four"]
        again = text_of(await bench.run(turn(*said, server_tools=True)))
        assert again == f"{phrases.WRONG_CODE} {QUESTION}"
        assert bench.trail.tools_run == []
        said += [Message(Role.ASSISTANT, again), "four two double seven"]
        told = await bench.run(turn(*said, server_tools=True))
        assert "64 dollars" in text_of(told)
        assert "four" not in bench.router.prompt_text(-1)  # the model never sees a code

    with_account(tmp_path, model, (BILL, BILL), check)


def test_a_payment_needs_the_code_and_then_a_yes(model: TextModel, tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        verifying(bench)
        said: list[Message | str] = ["pay forty dollars"]
        assert text_of(await bench.run(turn(*said, server_tools=True))) == QUESTION
        said += [ASKED, "4277"]
        question = text_of(await bench.run(turn(*said, server_tools=True)))
        assert question.startswith("Just to confirm: I will pay 40 dollars")
        said += [Message(Role.ASSISTANT, question), "yes"]
        paid = await bench.run(turn(*said, server_tools=True))
        assert any(isinstance(event, ServerToolRun) for event in paid)

    with_account(tmp_path, model, (PAY_40, PAY_40), check)


def test_no_code_leaves_the_site(model: TextModel, tmp_path: Path) -> None:
    class Core:
        asked: Turn | None = None

        async def take_over(self, turn: Turn, trail: TurnTrail) -> AsyncGenerator[TurnEvent, None]:
            self.asked = turn
            yield TurnEnd(TurnFinish.STOP, Usage())

    async def check(bench: Bench) -> None:
        verifying(bench)
        core = Core()
        bench.agent._core = core  # type: ignore[assignment] # what is used of it
        said = ("what do I owe", ASKED, "4277", Message(Role.ASSISTANT, "64 dollars"), "and stars?")
        await bench.run(turn(*said, server_tools=True))
        assert core.asked is not None
        assert core.asked.messages[-1].content == "and stars?"
        assert not [message for message in core.asked.messages if "4277" in message.content]

    with_account(tmp_path, model, ("<c><t:ask_core_model>",), check)


def test_what_is_nobodys_needs_no_code(model: TextModel, tmp_path: Path) -> None:
    async def check(bench: Bench) -> None:
        verifying(bench)
        told = text_of(await bench.run(turn("is the tv down", server_tools=True)))
        assert QUESTION not in told

    with_account(tmp_path, model, ("<c><t:check_outage>tv",), check)


@pytest.mark.anyio
async def test_codes_cannot_be_tried_out(tmp_path: Path) -> None:
    now_s = 0.0
    store = AccountStore(tmp_path / "account.db")
    await store.open()
    try:
        check = CallerCheck(store, monotonic=lambda: now_s)

        async def guess(code: str) -> tuple[bool, str]:
            said = (Message(Role.USER, "bill"), ASKED, Message(Role.USER, code))
            review = await check.review("acme", said)
            return review.is_verified, review.answer

        for code in ("0001", "0002", "0003", "0004", "0004"):
            assert await guess(code) == (False, f"{phrases.WRONG_CODE} {QUESTION}")
        assert await guess("0005") == (False, phrases.NOT_VERIFIED)
        assert await guess("4277") == (False, phrases.NOT_VERIFIED)
        now_s = 901.0
        assert await guess("4277") == (True, "")
    finally:
        await store.close()
