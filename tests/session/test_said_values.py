from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.core.turn import Message, Role, ToolCall, ToolSpec
from gateway.core.values import said
from gateway.engine.bundle import load_bundle
from gateway.engine.text_model import TextModel
from gateway.engine.worker.grammar import GrammarCompiler
from gateway.session import phrases
from gateway.session.said_values import (
    _SAID_ARGUMENTS,
    Narrowed,
    SaidValues,
    _narrow_one,
    _Situation,
    utterances,
)

BUNDLE = Path(__file__).parents[2] / "models" / "subscriber_care" / "bundle"
MODEL = TextModel.from_bundle(load_bundle(BUNDLE))
VALUES = SaidValues(MODEL)
COMPILER = GrammarCompiler(MODEL.bundle.tokenizer_path, 2048, [MODEL.tokenizer.added["<e>"]])


def user(text: str) -> Message:
    return Message(Role.USER, text)


def assistant(text: str) -> Message:
    return Message(Role.ASSISTANT, text)


def narrowed(*texts: str) -> Narrowed:
    return VALUES.narrow([user(text) for text in texts])


def parameters(result: Narrowed, name: str) -> dict[str, Any]:
    tool: ToolSpec = next(tool for tool in result.tools if tool.name == name)
    return tool.parameters


def test_an_amount_said_is_the_only_one_that_can_be_paid() -> None:
    result = narrowed("pay forty dollars")
    assert parameters(result, "pay_bill")["properties"]["amount"]["enum"] == [40]
    assert parameters(result, "pay_bill")["required"] == ["amount"]
    assert "pay_bill" not in result.missing


def test_without_an_amount_the_whole_balance_is_paid() -> None:
    result = narrowed("pay my bill")
    assert parameters(result, "pay_bill")["properties"] == {}
    assert "pay_bill" not in result.missing


@pytest.mark.parametrize("text", ["pay half of it", "pay some of my bill"])
def test_a_relative_amount_is_asked_about(text: str) -> None:
    assert narrowed(text).missing["pay_bill"] == phrases.HOW_MUCH


def test_an_amount_beyond_the_tools_limit_is_not_left_out() -> None:
    amount = {"type": "integer", "minimum": 1, "maximum": 100}
    tool = ToolSpec("pay_bill", "", {"type": "object", "properties": {"amount": amount}})
    values = tuple(said(["pay 200 dollars"]).values())
    missing: dict[str, str] = {}
    _narrow_one(tool, _Situation(values, None, None, demanded=False), missing)
    assert missing == {"pay_bill": phrases.HOW_MUCH}


def test_a_bare_number_may_be_something_else() -> None:
    assert parameters(narrowed("pay bill 4821"), "pay_bill").get("required", []) == []


def test_values_not_said_are_asked_for() -> None:
    result = narrowed("pause the wifi for the kids for a while and add roaming")
    assert result.missing == {
        "pause_wifi": phrases.HOW_LONG,
        "add_roaming": phrases.WHICH_COUNTRY,
        "change_plan": phrases.WHICH_PLAN,
        "block_sim": phrases.LOST_OR_STOLEN,
        "book_technician": phrases.WHICH_DAY,
    }
    assert "minutes" not in parameters(result, "pause_wifi")["properties"]
    assert parameters(result, "pause_wifi")["required"] == ["who"]


def test_out_of_range_is_not_said() -> None:
    assert narrowed("a pass for japan for two hundred days").missing["add_roaming"] == (
        phrases.HOW_MANY_DAYS
    )


def test_slots_fill_over_several_turns() -> None:
    messages = [
        user("add a roaming pass"),
        assistant("Sure, which country is the pass for?"),
        user("japan"),
        assistant("Sure, for how many days?"),
        user("two weeks"),
    ]
    result = VALUES.narrow(messages)
    properties = parameters(result, "add_roaming")["properties"]
    assert properties["country"]["enum"] == ["japan"]
    assert properties["days"]["enum"] == [14]
    assert "add_roaming" not in result.missing


def test_a_finished_request_lends_no_values_to_the_next() -> None:
    messages = [
        user("pause the wifi for the kids for 30 minutes"),
        assistant("Done, it is paused for 30 minutes."),
        user("now pause it for the guests"),
    ]
    assert utterances(messages) == ["now pause it for the guests"]
    called = Message(Role.ASSISTANT, tool_calls=(ToolCall("c", "get_bill", "{}"),))
    result = Message(Role.TOOL, "{}", tool_call_id="c")
    assert utterances([user("my bill"), called, result, user("pay it")]) == ["pay it"]
    assert utterances([user("my bill"), called, result]) == ["my bill"]


def test_other_tools_are_as_they_were() -> None:
    result = narrowed("hello")
    same = {tool.name: tool for tool in MODEL.fixed_tools}
    for tool in result.tools:
        if tool.name not in _SAID_ARGUMENTS:
            assert tool == same[tool.name]


def test_the_same_values_give_the_same_grammar_without_making_it_again() -> None:
    assert narrowed("pay forty dollars") is narrowed("please pay $40")
    assert narrowed("pay forty dollars").constraint != narrowed("pay fifty dollars").constraint


def test_a_changed_request_keeps_what_it_does_not_change() -> None:
    messages = [
        user("roaming in peru for six days"),
        Message(
            Role.ASSISTANT,
            tool_calls=(ToolCall("c1", "add_roaming", '{"country": "peru", "days": 6}'),),
        ),
        Message(Role.TOOL, '{"country": "peru", "days": 6}', tool_call_id="c1"),
        assistant("Done, roaming in Peru is active for 6 days."),
    ]
    changed = VALUES.narrow([*messages, user("sorry, I meant chile")])
    properties = parameters(changed, "add_roaming")["properties"]
    assert properties["country"]["enum"] == ["chile"]
    assert properties["days"]["enum"] == [6]
    assert "add_roaming" not in changed.missing
    assert VALUES.narrow([*messages, user("pause the wifi")]).missing["pause_wifi"]


@pytest.mark.parametrize(
    ("answer", "is_possible"),
    [
        ("Your bill is 64 dollars, 12 still open.", True),
        ("Your bill is 65 dollars.", False),
        ("Your bill is 6412 dollars.", False),
        ("Your bill is paid.", True),
    ],
)
def test_a_result_is_read_out_in_its_own_digits(answer: str, is_possible: bool) -> None:
    messages = [
        user("my bill"),
        Message(Role.ASSISTANT, tool_calls=(ToolCall("c1", "get_bill", "{}"),)),
        Message(Role.TOOL, '{"total_dollars": 64, "open_dollars": 12}', tool_call_id="c1"),
    ]
    constraint = VALUES.narrow(messages).constraint
    assert constraint is not None
    matcher = COMPILER.compile(constraint).result(timeout=10)
    admitted = True
    for token in MODEL.tokenizer.encode(answer):
        admitted = matcher.admits(token)
        if not admitted:
            break
        matcher.accept(token)
    assert admitted is is_possible


def test_a_choice_that_cannot_be_undone_must_have_been_said() -> None:
    messages = [user("block my sim"), assistant("Was it lost or stolen?"), user("yes")]
    assert VALUES.narrow(messages).missing["block_sim"] == phrases.LOST_OR_STOLEN
    stolen = VALUES.narrow([*messages[:2], user("it was stolen")])
    assert parameters(stolen, "block_sim")["properties"]["reason"]["enum"] == ["stolen"]
    assert narrowed("I want another plan").missing["change_plan"] == phrases.WHICH_PLAN


@pytest.mark.parametrize("text", ["pay 12.50", "pay 10 euros", "don't pay 40 dollars"])
def test_an_amount_that_cannot_be_paid_is_asked_about(text: str) -> None:
    assert narrowed(text).missing["pay_bill"] == phrases.HOW_MUCH


def test_a_bare_amount_cannot_be_left_out() -> None:
    assert parameters(narrowed("pay 40 not 50"), "pay_bill")["required"] == ["amount"]


def test_a_demanded_call_needs_every_choice_said() -> None:
    left_free = narrowed("pause it for ten minutes")
    demanded = VALUES.narrow([user("pause it for ten minutes")], demanded=True)
    assert "pause_wifi" not in left_free.missing
    assert demanded.missing["pause_wifi"] == phrases.FOR_WHOM
    assert demanded.missing["restart_device"] == phrases.WHICH_DEVICE


def test_what_a_client_writes_around_an_earlier_call_is_not_kept() -> None:
    def after(arguments: str) -> Narrowed:
        call = ToolCall("call_1", "add_roaming", arguments)
        asked = Message(Role.ASSISTANT, "", (call,))
        told = Message(Role.TOOL, "{}", tool_call_id="call_1")
        messages = [user("roaming"), asked, told, assistant("Done."), user("sorry, I meant Chile")]
        return VALUES.narrow(messages)

    plain = after('{"country": "peru", "days": 5}')
    assert parameters(plain, "add_roaming")["properties"]["days"]["enum"] == [5]
    assert after(f'{{"days":{" " * 9_000}5, "country": "peru"}}') is plain
    assert parameters(after("{half"), "add_roaming")["properties"].keys() == {"country"}
