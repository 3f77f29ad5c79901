from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.errors import InvalidSchema
from gateway.core.generation import Constraint, ConstraintKind
from gateway.core.turn import ToolChoice, ToolChoiceMode, ToolSpec
from gateway.engine.tool_format.arguments import arguments_of
from gateway.engine.tool_format.firsthop import FirsthopFormat
from gateway.engine.tool_format.parser import CallArguments, CallOpened, MalformedToolCall, Text
from gateway.engine.tool_format.toolset import ToolSet
from tests.engine.grammars import Verdict, judge, may_end
from tests.engine.parsing import chopped, parse
from tests.engine.vocabularies import FIRSTHOP, TOOL_NAMES, TOOLS_JSON, byte_level_json

END = "<e>"
VOCABULARY = byte_level_json(FIRSTHOP)
FORMAT = FirsthopFormat(frozenset(FIRSTHOP))
TOOLS = ToolSet.from_json(TOOLS_JSON)
AUTO = ToolChoice()

CALLS: list[tuple[str, str, dict[str, Any]]] = [
    ("<c><t:pay_bill>40", "pay_bill", {"amount": 40}),
    ("<c><t:pay_bill>", "pay_bill", {}),
    ("<c><t:run_speed_test>", "run_speed_test", {}),
    (
        "<c><t:book_technician>monday<arg>morning",
        "book_technician",
        {"day": "monday", "window": "morning"},
    ),
    ("<c><t:pause_wifi>kids<arg>1440", "pause_wifi", {"who": "kids", "minutes": 1440}),
    (
        "<c><t:add_roaming>cote d'ivoire<arg>7",
        "add_roaming",
        {"country": "cote d'ivoire", "days": 7},
    ),
    ("<c><t:restart_device>tv_box", "restart_device", {"device": "tv_box"}),
]
BAD_CALLS = [
    "<c><t:check_outage>",
    "<c><t:check_outage>gas",
    "<c><t:pay_bill>0",
    "<c><t:pay_bill>forty",
    "<c><t:pay_bill>040",
    "<c><t:pay_bill>-4",
    "<c><t:pay_bill>40<arg>5",
    "<c><t:pause_wifi>kids",
    "<c><t:pause_wifi>kids<arg>",
    "<c><t:pause_wifi>kids<arg>1441",
    "<c><t:run_speed_test>now",
    "<c>hello",
]


# Parsing


@pytest.mark.parametrize(("output", "name", "arguments"), CALLS)
@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, 500), max_size=20))
def test_calls_become_json(
    output: str, name: str, arguments: dict[str, Any], cuts: list[int]
) -> None:
    outcome = parse(FORMAT.parser(TOOLS), chopped(output, cuts))
    [(called, streamed, closed)] = outcome.calls
    assert called == name
    assert streamed == closed == json.dumps(arguments)
    assert outcome.text == ""


def test_each_argument_goes_out_when_it_is_complete() -> None:
    parser = FORMAT.parser(TOOLS)
    assert parser.feed("<c>") == []
    assert parser.feed("<t:pause_wifi>") == [CallOpened("pause_wifi")]
    assert parser.feed("kids") == []
    assert parser.feed("<arg>") == [CallArguments('{"who": "kids"')]
    assert parser.feed("60") == []
    assert [e.json for e in parser.finish() if isinstance(e, CallArguments)] == [
        ', "minutes": 60',
        "}",
    ]


def test_an_optional_argument_in_the_middle_may_be_left_out() -> None:
    properties = {"a": {"type": "string"}, "b": {"type": "boolean"}, "c": {"type": "integer"}}
    tools = ToolSet([ToolSpec("t", "", {"properties": properties, "required": ["b"]})])
    [(_, streamed, _)] = parse(FORMAT.parser(tools), ["<c><t:t><arg>true<arg>-5"]).calls
    assert streamed == '{"b": true, "c": -5}'
    [(_, streamed, _)] = parse(FORMAT.parser(tools), ["<c><t:t>x y<arg>false<arg>"]).calls
    assert streamed == '{"a": "x y", "b": false}'


@given(
    text=st.text(st.sampled_from("<carg>t: \nx"), max_size=20).filter(lambda t: "<c>" not in t),
    cuts=st.lists(st.integers(0, 500), max_size=20),
)
def test_text_is_delivered_to_the_last_character(text: str, cuts: list[int]) -> None:
    outcome = parse(FORMAT.parser(TOOLS), chopped(text, cuts))
    assert (outcome.text, outcome.calls) == (text, [])


def test_text_before_a_call_and_two_calls_are_read() -> None:
    parser = FORMAT.parser(TOOLS)
    assert parser.feed("Sure.<") == [Text("Sure.", 5)]
    outcome = parse(FORMAT.parser(TOOLS), ["Sure.<c><t:run_speed_test><c><t:pay_bill>7"])
    assert outcome.text == "Sure."
    assert outcome.calls == [
        ("run_speed_test", "{}", "{}"),
        ("pay_bill", '{"amount": 7}', '{"amount": 7}'),
    ]


@pytest.mark.parametrize("output", [*BAD_CALLS, "<c>", "<c><t:bomb>", "<c><arg>", "<c><t:<c>"])
def test_a_malformed_call_is_told_with_its_text(output: str) -> None:
    with pytest.raises(MalformedToolCall) as caught:
        parse(FORMAT.parser(TOOLS), [output[:3], output[3:]])
    assert caught.value.raw
    assert caught.value.raw in output


def test_a_call_that_was_cut_off_stays_open() -> None:
    outcome = parse(FORMAT.parser(TOOLS), ["<c><t:pay_bill>4"], cut_off=True)
    assert outcome.calls == [("pay_bill", "", "")]


def test_the_tools_own_tokens_are_markers() -> None:
    assert {f"<t:{name}>" for name in TOOL_NAMES} | {"<c>", "<arg>"} == FORMAT.markers


# Grammars


@pytest.mark.parametrize("output", ["Your bill is $64.", *(output for output, _, _ in CALLS)])
def test_auto_allows_text_and_valid_calls(output: str) -> None:
    assert may_end(FORMAT.constraint(TOOLS, AUTO), output, VOCABULARY, END)


@pytest.mark.parametrize(
    "output",
    [*BAD_CALLS, "Sure.<c>", "<u>", "<t:pay_bill>", "<c><arg>", "<c><t:add_roaming>France"],
)
def test_auto_makes_anything_else_impossible(output: str) -> None:
    grammar = FORMAT.constraint(TOOLS, AUTO)
    assert not may_end(grammar, output, VOCABULARY, END)
    unfinished = {"<c><t:check_outage>", "<c><t:pause_wifi>kids", "<c><t:pause_wifi>kids<arg>"}
    expected = Verdict.PARTIAL if output in unfinished else Verdict.REFUSED
    assert judge(grammar, output, VOCABULARY, END) is expected


def test_every_call_the_grammar_allows_can_be_parsed() -> None:
    grammar = FORMAT.constraint(TOOLS, ToolChoice(ToolChoiceMode.REQUIRED))
    for output, name, _ in CALLS:
        assert may_end(grammar, output, VOCABULARY, END)
        assert parse(FORMAT.parser(TOOLS), [output]).calls[0][0] == name
    assert judge(grammar, "Hello", VOCABULARY, END) is Verdict.REFUSED


def test_a_named_tool_is_the_only_one() -> None:
    grammar = FORMAT.constraint(TOOLS, ToolChoice(ToolChoiceMode.REQUIRED, "get_bill"))
    assert may_end(grammar, "<c><t:get_bill>last", VOCABULARY, END)
    assert judge(grammar, "<c><t:pay_bill>", VOCABULARY, END) is Verdict.REFUSED


@pytest.mark.parametrize("tools", [TOOLS, ToolSet(())])
def test_without_tools_there_is_only_text(tools: ToolSet) -> None:
    grammar = FORMAT.constraint(tools, ToolChoice(ToolChoiceMode.NONE))
    assert may_end(grammar, "Hello!", VOCABULARY, END)
    assert judge(grammar, "<c>", VOCABULARY, END) is Verdict.REFUSED
    assert judge(grammar, "", VOCABULARY, END) is Verdict.PARTIAL


def test_an_answer_may_have_its_own_form() -> None:
    number = Constraint(ConstraintKind.REGEX, "[0-9]+")
    grammar = FORMAT.constraint(TOOLS, AUTO, number)
    assert may_end(grammar, "42", VOCABULARY, END)
    assert may_end(grammar, "<c><t:get_bill>last", VOCABULARY, END)
    assert judge(grammar, "x", VOCABULARY, END) is Verdict.REFUSED
    assert FORMAT.constraint(ToolSet(()), AUTO, number) is number


def test_a_narrower_schema_leaves_only_the_values_that_can_be_meant() -> None:
    schema = {
        "properties": {
            "country": {"type": "string", "enum": ["france", "peru"]},
            "days": {"type": "integer", "enum": [7, 14]},
        },
        "required": ["country", "days"],
    }
    grammar = FORMAT.constraint(ToolSet([ToolSpec("add_roaming", "", schema)]), AUTO)
    assert may_end(grammar, "<c><t:add_roaming>peru<arg>14", VOCABULARY, END)
    assert judge(grammar, "<c><t:add_roaming>chile", VOCABULARY, END) is Verdict.REFUSED
    assert judge(grammar, "<c><t:add_roaming>peru<arg>8", VOCABULARY, END) is Verdict.REFUSED


@settings(max_examples=25)
@given(number=st.integers(-20, 1500), data=st.data())
def test_integers_are_allowed_exactly_in_their_range(number: int, data: st.DataObject) -> None:
    low = data.draw(st.integers(-20, 1440))
    high = data.draw(st.integers(low, 1440))
    schema = {
        "properties": {"n": {"type": "integer", "minimum": low, "maximum": high}},
        "required": ["n"],
    }
    tool = ToolSpec("pay_bill", "", schema)
    grammar = FORMAT.constraint(ToolSet([tool]), AUTO)
    allowed = low <= number <= high
    assert may_end(grammar, f"<c><t:pay_bill>{number}", VOCABULARY, END) == allowed
    [argument] = arguments_of(tool)
    if allowed:
        assert argument.value(str(number)) == number
    else:
        with pytest.raises(ValueError, match="no integer from"):
            argument.value(str(number))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number"},
        {"type": "array"},
        {},
        {"type": "string", "enum": []},
        {"type": "string", "enum": [""]},
        {"type": "string", "enum": [1]},
        {"type": "integer", "enum": [True]},
        {"type": "integer", "minimum": 1.5},
        {"type": "integer", "minimum": 5, "maximum": 4},
    ],
)
def test_a_schema_without_a_slot_names_tool_and_property(schema: dict[str, Any]) -> None:
    tools = ToolSet([ToolSpec("odd", "", {"properties": {"x": schema}})])
    with pytest.raises(InvalidSchema, match=r"'odd': .*x"):
        FORMAT.constraint(tools, AUTO)


def test_a_required_argument_must_be_a_property() -> None:
    tools = ToolSet([ToolSpec("odd", "", {"properties": {}, "required": ["x"]})])
    with pytest.raises(InvalidSchema, match="'odd': required names x"):
        FORMAT.constraint(tools, AUTO)
