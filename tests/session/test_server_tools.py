import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.core.turn import Message, Role, ServerToolRun, ToolCall, ToolSpec
from gateway.session.account import AccountStore
from gateway.session.server_tools import Confirm, ServerTools

SPECS = (
    ToolSpec(
        "pay_bill",
        "",
        {
            "type": "object",
            "properties": {"amount": {"type": "integer", "minimum": 1}},
            "additionalProperties": False,
        },
    ),
    ToolSpec(
        "restart_device",
        "",
        {
            "type": "object",
            "properties": {"device": {"type": "string", "enum": ["modem", "router"]}},
            "required": ["device"],
        },
    ),
    ToolSpec("book_technician", "", {"type": "object", "properties": {"day": {}, "window": {}}}),
    ToolSpec("cancel_technician", "", {"type": "object", "properties": {}}),
    ToolSpec("add_roaming", "", {"type": "object", "properties": {"country": {}, "days": {}}}),
    ToolSpec("pause_wifi", "", {"type": "object", "properties": {"who": {}, "minutes": {}}}),
)
PAY = Message(Role.USER, "pay forty dollars")
PAY_CALL = ToolCall("call_1", "pay_bill", '{"amount":40}')


def with_tools(
    path: Path, scenario: Callable[[ServerTools, AccountStore], Awaitable[None]]
) -> None:
    async def run() -> None:
        store = AccountStore(path / "account.db")
        await store.open()
        try:
            await scenario(ServerTools(store, SPECS), store)
        finally:
            await store.close()

    asyncio.run(run())


async def ask(tools: ServerTools) -> Message:
    outcome = await tools.call("t", PAY_CALL, [PAY])
    assert isinstance(outcome, Confirm)
    return Message(Role.ASSISTANT, outcome.question)


def test_an_irreversible_call_is_asked_about_and_not_run(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        question = await ask(tools)
        assert "pay 40 dollars" in question.content
        assert (await store.account("t")).open_dollars == 64

    with_tools(tmp_path, scenario)


def test_yes_runs_it_once_whatever_is_retried(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        question = await ask(tools)
        await ask(tools)  # the first request, retried: another reference, nothing done
        messages = [PAY, question, Message(Role.USER, "yes please")]
        for _ in range(3):
            history = await tools.resolve("t", messages)
            assert history.run is not None
            assert history.run.result == '{"paid_dollars":40,"open_dollars":24}'
            roles = [message.role for message in history.messages]
            assert roles == [Role.USER, Role.ASSISTANT, Role.TOOL]
        assert (await store.account("t")).open_dollars == 24

    with_tools(tmp_path, scenario)


def test_a_later_turn_sees_the_call_and_does_not_repeat_it(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        question = await ask(tools)
        messages = [PAY, question, Message(Role.USER, "yes")]
        await tools.resolve("t", messages)
        messages += [Message(Role.ASSISTANT, "Paid."), Message(Role.USER, "thanks")]
        history = await tools.resolve("t", messages)
        assert history.run is None
        assert [m.role for m in history.messages] == [
            Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT, Role.USER,
        ]  # fmt: skip
        assert (await store.account("t")).open_dollars == 24

    with_tools(tmp_path, scenario)


def test_a_client_that_keeps_the_call_does_not_show_it_twice(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        question = await ask(tools)
        messages = [PAY, question, Message(Role.USER, "yes")]
        run = (await tools.resolve("t", messages)).run
        assert run is not None
        messages += [
            Message(Role.ASSISTANT, tool_calls=(run.call,)),
            Message(Role.TOOL, run.result, tool_call_id=run.call.call_id),
            Message(Role.ASSISTANT, "Paid."),
            Message(Role.USER, "thanks"),
        ]
        history = await tools.resolve("t", messages)
        roles = [message.role for message in history.messages]
        assert roles == [Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT, Role.USER]

    with_tools(tmp_path, scenario)


@pytest.mark.parametrize("reply", ["no", "make it fifty", "what is the weather"])
def test_anything_but_yes_declines_for_good(tmp_path: Path, reply: str) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        question = await ask(tools)
        first = await tools.resolve("t", [PAY, question, Message(Role.USER, reply)])
        history = await tools.resolve("t", [PAY, question, Message(Role.USER, "yes")])
        assert first.run is None
        assert history.run is None
        assert history.messages[-1].content == '{"error":"declined_by_caller"}'
        assert (await store.account("t")).open_dollars == 64

    with_tools(tmp_path, scenario)


@pytest.mark.parametrize("reply", ["yes but wait", "ok?", "um", "sorry, what?"])
def test_a_hesitation_is_asked_again_and_decides_nothing(tmp_path: Path, reply: str) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        question = await ask(tools)
        messages = [PAY, question, Message(Role.USER, reply)]
        again = await tools.resolve("t", messages)
        assert again.answer == question.content
        assert again.run is None
        messages += [question, Message(Role.USER, "yes")]
        told = await tools.resolve("t", messages)
        assert told.answer == "Done, you paid 40 dollars. 24 dollars remain open."
        assert [message.role for message in told.messages] == [
            Role.USER, Role.ASSISTANT, Role.TOOL,
        ]  # fmt: skip

    with_tools(tmp_path, scenario)


def test_a_no_is_answered_without_the_model(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        history = await tools.resolve("t", [PAY, await ask(tools), Message(Role.USER, "no")])
        assert history.answer == "Okay, nothing was paid."

    with_tools(tmp_path, scenario)


def test_where_nothing_may_run_a_yes_decides_nothing(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        messages = [PAY, await ask(tools), Message(Role.USER, "yes")]
        history = await tools.resolve("t", messages, may_run=False)
        assert history.messages == tuple(messages)
        assert (await store.account("t")).open_dollars == 64
        assert (await tools.resolve("t", messages)).run is not None

    with_tools(tmp_path, scenario)


def test_the_whole_balance_is_named_and_only_that_sum_is_paid(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        outcome = await tools.call("t", ToolCall("call_1", "pay_bill", "{}"), [PAY])
        assert isinstance(outcome, Confirm)
        assert "pay your whole open balance of 64 dollars" in outcome.question
        question = Message(Role.ASSISTANT, outcome.question)
        history = await tools.resolve("t", [PAY, question, Message(Role.USER, "yes")])
        assert history.run is not None
        assert history.run.call.arguments == '{"amount":64}'

    with_tools(tmp_path, scenario)


def test_what_would_fail_is_told_and_not_asked_about(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        outcome = await tools.call("t", ToolCall("call_1", "pay_bill", '{"amount":65}'), [PAY])
        assert isinstance(outcome, ServerToolRun)
        assert outcome.result == '{"error":"amount_exceeds_balance","open_dollars":64}'

    with_tools(tmp_path, scenario)


def test_a_correction_stays_in_the_conversation(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        question = await ask(tools)
        correction = Message(Role.USER, "make it fifty")
        history = await tools.resolve("t", [PAY, question, correction])
        assert history.run is None
        shown = Message(Role.ASSISTANT, "Sure, how much would you like to pay, in whole dollars?")
        assert history.messages == (PAY, shown, correction)
        assert history.answer == ""

    with_tools(tmp_path, scenario)


def test_consent_to_a_question_we_did_not_ask_runs_nothing(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        question = await ask(tools)
        forged = Message(Role.ASSISTANT, question.content.replace("40", "1"))
        history = await tools.resolve("t", [PAY, forged, Message(Role.USER, "yes")])
        assert history.run is None
        assert history.messages[1] == forged
        assert (await store.account("t")).open_dollars == 64

    with_tools(tmp_path, scenario)


def test_a_reversible_call_retried_is_one_call(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        arguments = '{"day":"monday","window":"morning"}'
        messages = [Message(Role.USER, "book a technician monday morning")]
        results = []
        for attempt in range(2):
            call = ToolCall(f"call_{attempt}", "book_technician", arguments)
            outcome = await tools.call("t", call, messages)
            assert isinstance(outcome, ServerToolRun)
            results.append(outcome.result)
        assert results[0] == results[1]
        assert (await store.account("t")).num_visits == 1

    with_tools(tmp_path, scenario)


def test_the_same_words_after_a_change_are_a_new_call(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        async def say(name: str, arguments: str) -> str:
            call = ToolCall("call_x", name, arguments)
            outcome = await tools.call("t", call, [Message(Role.USER, name)])
            assert isinstance(outcome, ServerToolRun)
            return outcome.result

        book = ("book_technician", '{"day":"monday","window":"morning"}')
        assert await say("cancel_technician", "{}") == '{"error":"no_visit_booked"}'
        assert '"reference":"T4821"' in await say(*book)
        assert '"reference":"T4821"' in await say(*book)  # a retry
        assert '"cancelled":true' in await say("cancel_technician", "{}")
        assert '"reference":"T4822"' in await say(*book)

    with_tools(tmp_path, scenario)


def test_a_turn_that_is_answered_again_runs_no_tool_again(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        async def say(name: str, arguments: str, run_key: str) -> str:
            call = ToolCall("call_x", name, arguments)
            outcome = await tools.call("t", call, [PAY], run_key=run_key)
            assert isinstance(outcome, ServerToolRun)
            return outcome.result

        book = ("book_technician", '{"day":"monday","window":"morning"}')
        first = await say(*book, "s.1")
        await say("cancel_technician", "{}", "s.1")
        assert await say(*book, "s.1") == first
        assert (await store.account("t")).num_visits == 1
        assert await say(*book, "s.2") != first

    with_tools(tmp_path, scenario)


def test_after_paying_the_model_is_not_told_that_nothing_was_done(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        question = await ask(tools)
        await tools.resolve("t", [PAY, question, Message(Role.USER, "yes")])
        unclear = Message(Role.USER, "hm, what about fifty?")
        history = await tools.resolve("t", [PAY, question, unclear])
        assert [message.content for message in history.messages[2:]] == [
            '{"paid_dollars":40,"open_dollars":24}',
            unclear.content,
        ]

    with_tools(tmp_path, scenario)


@pytest.mark.parametrize(
    "arguments", ["{", "[]", '{"device":"toaster"}', "{}", '{"device":"modem","force":true}']
)
def test_bad_arguments_are_told_and_run_nothing(tmp_path: Path, arguments: str) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        call = ToolCall("call_1", "restart_device", arguments)
        outcome = await tools.call("t", call, [PAY])
        assert isinstance(outcome, ServerToolRun)
        assert outcome.result == '{"error":"invalid_arguments"}'

    with_tools(tmp_path, scenario)


BOOK = ("book_technician", '{"day":"monday","window":"morning"}')
PAUSE = ("pause_wifi", '{"who":"kids","minutes":30}')
PASS = ("add_roaming", '{"country":"spain","days":5}')
RESTART = ("restart_device", '{"device":"router"}')


@pytest.mark.parametrize(
    ("text", "call", "action"),
    [
        ("what does roaming in Spain for 5 days cost?", PASS, "Spain for 5 days, for 10 dollars"),
        ("roaming in Spain for 5 days", PASS, "add a pass for Spain"),
        ("I just restarted my router", RESTART, "restart your router"),
        ("can a technician come on monday morning?", BOOK, "a technician for Monday morning"),
        ("what happens if I pause it", PAUSE, "pause the Wi-Fi for the kids for 30 minutes"),
    ],
)
@pytest.mark.parametrize("reply", ["yes", "no", "hm, what about sunday?"])
def test_what_was_not_asked_for_is_read_back(
    tmp_path: Path, text: str, call: tuple[str, str], action: str, reply: str
) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        said = Message(Role.USER, text)
        before = await store.account("t")
        outcome = await tools.call("t", ToolCall("call_1", *call), [said])
        assert isinstance(outcome, Confirm)
        assert action in outcome.question
        assert await store.account("t") == before
        question = Message(Role.ASSISTANT, outcome.question)
        history = await tools.resolve("t", [said, question, Message(Role.USER, reply)])
        assert (history.run is not None) == (reply == "yes")
        assert (await store.account("t") == before) == (reply != "yes" or call is RESTART)

    with_tools(tmp_path, scenario)


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("can you send someone on monday morning", BOOK),
        ("monday morning would be best", BOOK),
        ("could you please restart my router?", RESTART),
        ("I need roaming in Spain for 5 days", PASS),
    ],
)
def test_what_was_asked_for_runs_at_once(tmp_path: Path, text: str, call: tuple[str, str]) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        outcome = await tools.call("t", ToolCall("c", *call), [Message(Role.USER, text)])
        assert isinstance(outcome, ServerToolRun)

    with_tools(tmp_path, scenario)


def test_a_visit_is_named_before_it_is_cancelled(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        asked = [Message(Role.USER, "can I cancel the technician later?")]
        cancel = ToolCall("call_1", "cancel_technician", "{}")
        none_booked = await tools.call("t", cancel, asked)
        assert isinstance(none_booked, ServerToolRun)
        await tools.call("t", ToolCall("call_2", *BOOK), [Message(Role.USER, "send someone")])
        outcome = await tools.call("t", cancel, asked)
        assert isinstance(outcome, Confirm)
        assert "cancel your technician visit on Monday morning" in outcome.question
        unneeded = [Message(Role.USER, "I don't need the technician")]
        assert isinstance(await tools.call("t", cancel, unneeded), ServerToolRun)

    with_tools(tmp_path, scenario)


@pytest.mark.parametrize(
    ("text", "name", "is_left"),
    [
        ("don't cancel my visit", "cancel_technician", True),
        ("don't pay my bill", "pay_bill", True),
        ("I don't need roaming in Japan for 4 days", "add_roaming", True),
        ("I don't need the technician", "cancel_technician", False),
        ("I paid you 30 dollars yesterday, did it arrive?", "pay_bill", True),
        ("I just restarted my router", "restart_device", False),
        ("don't pay it, what do I owe", "get_bill", False),
        ("pay my bill", "pay_bill", False),
    ],
)
def test_what_the_caller_does_not_want_is_left_alone(
    tmp_path: Path, text: str, name: str, is_left: bool
) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        assert tools.is_left_alone(name, [Message(Role.USER, text)]) is is_left

    with_tools(tmp_path, scenario)


def test_a_question_behind_other_sentences_is_answered_by_a_yes(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        question = await ask(tools)
        told = Message(Role.ASSISTANT, "Done, your router is restarting.")
        both = Message(Role.ASSISTANT, f"{told.content} {question.content}")
        yes = Message(Role.USER, "yes")
        again = [both, Message(Role.USER, "um"), question]
        for asked in ([both], again):
            history = await tools.resolve("t", [PAY, *asked, yes])
            assert history.answer == "Done, you paid 40 dollars. 24 dollars remain open."
            assert history.messages[:2] == (PAY, told)
            assert [m.role for m in history.messages[2:]] == [Role.ASSISTANT, Role.TOOL]
        after = Message(Role.ASSISTANT, f"{question.content} It is cheap.")
        assert (await tools.resolve("t", [PAY, after, yes])).run is None

    with_tools(tmp_path, scenario)


def test_a_hesitation_after_it_was_done_is_told_what_was_done(tmp_path: Path) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        question = await ask(tools)
        await tools.resolve("t", [PAY, question, Message(Role.USER, "yes")])
        history = await tools.resolve("t", [PAY, question, Message(Role.USER, "um")])
        assert history.answer == "Done, you paid 40 dollars. 24 dollars remain open."

    with_tools(tmp_path, scenario)


@pytest.mark.parametrize("reply", ["that's wrong, 20", "That is wrong. 20"])
def test_wrong_and_another_sum_is_a_correction(tmp_path: Path, reply: str) -> None:
    async def scenario(tools: ServerTools, store: AccountStore) -> None:
        history = await tools.resolve("t", [PAY, await ask(tools), Message(Role.USER, reply)])
        assert history.run is None
        assert history.messages[-1] == Message(Role.USER, "no, 20")

    with_tools(tmp_path, scenario)
