from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest, InvalidSchema
from gateway.core.generation import Constraint, ConstraintKind
from gateway.core.turn import ToolChoice, ToolChoiceMode, ToolSpec
from gateway.engine.tool_format.hermes import HermesFormat
from gateway.engine.tool_format.parser import CallOpened, MalformedToolCall, Text
from gateway.engine.tool_format.toolset import ToolSet
from tests.engine.grammars import Verdict, judge, may_end
from tests.engine.parsing import chopped, parse
from tests.engine.vocabularies import CHATML, TOOL_CALL, byte_level_json

END = "<|im_end|>"
AS_TOKENS = byte_level_json(CHATML, TOOL_CALL)
AS_TEXT = byte_level_json(CHATML)

TOOLS = ToolSet(
    [
        ToolSpec(
            "weather",
            "Weather at a place.",
            {
                "type": "object",
                "properties": {
                    "place": {"type": "string"},
                    "days": {"type": "integer", "minimum": 1, "maximum": 14},
                },
                "required": ["place"],
            },
        ),
        ToolSpec("time", "The time.", {}),
    ]
)
CALL = '<tool_call>\n{"name": "weather", "arguments": {"place": "Rome", "days": 3}}\n</tool_call>'
TIME = '<tool_call>\n{"name": "time", "arguments": {}}\n</tool_call>'
AUTO = ToolChoice()
REQUIRED = ToolChoice(ToolChoiceMode.REQUIRED)


@pytest.fixture(params=[AS_TOKENS, AS_TEXT], ids=["tokens", "text"])
def vocabulary(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def format_for(vocabulary: str) -> HermesFormat:
    return HermesFormat(frozenset(TOOL_CALL if vocabulary == AS_TOKENS else ()))


# Parsing


@given(cuts=st.lists(st.integers(0, 500), max_size=30))
def test_text_and_calls_come_out_whole_however_they_arrive(cuts: list[int]) -> None:
    output = f"Let me look.\n{CALL}\n{TIME}"
    outcome = parse(HermesFormat(frozenset()).parser(TOOLS), chopped(output, cuts))
    assert outcome.text == "Let me look."
    arguments = '{"place": "Rome", "days": 3}'
    assert outcome.calls == [("weather", arguments, arguments), ("time", "{}", "{}")]


@given(
    value=st.recursive(
        st.text(max_size=8) | st.integers() | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=6,
    ),
    is_ascii=st.booleans(),
    cuts=st.lists(st.integers(0, 500), max_size=40),
)
def test_any_arguments_survive(value: object, is_ascii: bool, cuts: list[int]) -> None:
    call = {"name": "weather", "arguments": {"place": value}}
    output = f"<tool_call>{json.dumps(call, ensure_ascii=is_ascii)}</tool_call>"
    outcome = parse(HermesFormat(frozenset()).parser(TOOLS), chopped(output, cuts))
    [(name, streamed, closed)] = outcome.calls
    assert (name, json.loads(closed)) == ("weather", {"place": value})
    assert streamed == closed


def test_an_escape_may_be_cut_in_two() -> None:
    head = '<tool_call>{"name": "weather", "arguments": {"place": "a'
    outcome = parse(HermesFormat(frozenset()).parser(TOOLS), [head + "\\", '"} b"}}</tool_call>'])
    assert outcome.calls[0][2] == '{"place": "a\\"} b"}'


def test_the_name_comes_before_the_arguments_are_there() -> None:
    parser = HermesFormat(frozenset()).parser(TOOLS)
    assert parser.feed('<tool_call>\n{"name": "weather"') == [CallOpened("weather")]


@given(
    output=st.text(st.sampled_from("<tool_c/ \na>"), max_size=30).filter(
        lambda text: "<tool_call>" not in text
    ),
    cuts=st.lists(st.integers(0, 500), max_size=30),
)
def test_text_without_a_call_is_delivered_to_the_last_character(
    output: str, cuts: list[int]
) -> None:
    outcome = parse(HermesFormat(frozenset()).parser(TOOLS), chopped(output, cuts))
    assert (outcome.text, outcome.calls) == (output, [])


def test_no_part_of_a_marker_leaks() -> None:
    parser = HermesFormat(frozenset()).parser(TOOLS)
    assert parser.feed("Hi <tool_") == [Text("Hi", 2)]
    assert parser.feed("box>") == [Text(" <tool_box>", 13)]


def test_keys_in_another_order_are_read_at_the_end() -> None:
    output = '<tool_call>{"id": 1, "arguments": {"place": "Rome"}, "name": "weather"}</tool_call>'
    outcome = parse(HermesFormat(frozenset()).parser(TOOLS), list(output))
    assert outcome.calls == [("weather", '{"place": "Rome"}', '{"place": "Rome"}')]


def test_a_call_that_only_lacks_its_closing_marker_counts() -> None:
    output = CALL.removesuffix("\n</tool_call>")
    assert len(parse(HermesFormat(frozenset()).parser(TOOLS), [output]).calls) == 1


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        ("<tool_call>weather", "not a JSON object"),
        ('<tool_call>{"name": "bomb", "arguments": {}}</tool_call>', "no tool is named 'bomb'"),
        ('<tool_call>{"arguments": {}}</tool_call>', "no tool is named ''"),
        ('<tool_call>{"name": "time", "arguments": [1]}</tool_call>', "arguments are not"),
        ('<tool_call>{"name": "time", "arguments": {"a": tru}}</tool_call>', "not valid JSON"),
        ('<tool_call>{"name": "time", "arguments": {}}oops', "text follows"),
        ('<tool_call>{"name": "time", "arguments": {', "no end"),
        ("<tool_call>", "no end"),
    ],
)
def test_a_malformed_call_is_told_with_its_text(output: str, problem: str) -> None:
    with pytest.raises(MalformedToolCall, match=problem) as caught:
        parse(HermesFormat(frozenset()).parser(TOOLS), list(output))
    assert caught.value.raw in output


def test_a_call_that_was_cut_off_stays_open() -> None:
    parser = HermesFormat(frozenset()).parser(TOOLS)
    outcome = parse(parser, ['<tool_call>{"name": "time", "arguments": {"a'], cut_off=True)
    assert outcome.calls == [("time", '{"a', "")]


# Grammars

ANSWERS = ["Hello!", "a < b, {x}", "<tool_cal"]
GOOD_CALLS = [
    CALL,
    TIME,
    f"{CALL}\n{TIME}",
    CALL.replace("\n", ""),
    '<tool_call>\n{"name": "weather", "arguments": {"place":"é \\" }","days":14}}\n</tool_call>',
]
BAD_CALLS = [
    "<tool_call>hello",
    CALL.replace("weather", "bomb"),
    CALL.replace("3", "15"),
    CALL.replace("3", "0"),
    CALL.replace('"place": "Rome", ', ""),
    CALL.replace('"days"', '"hours"'),
    TIME.replace("{}", '{"zone": 1}'),
    f"{CALL} and more",
]


@pytest.mark.parametrize("output", [*ANSWERS, *GOOD_CALLS, f"Let me look.\n{CALL}"])
def test_auto_allows_text_and_valid_calls(vocabulary: str, output: str) -> None:
    assert may_end(format_for(vocabulary).constraint(TOOLS, AUTO), output, vocabulary, END)


@pytest.mark.parametrize("output", BAD_CALLS)
def test_auto_makes_invalid_calls_impossible(vocabulary: str, output: str) -> None:
    grammar = format_for(vocabulary).constraint(TOOLS, AUTO)
    assert judge(grammar, output, vocabulary, END) is Verdict.REFUSED


@pytest.mark.parametrize("output", ["<tool_call>", CALL[:30], CALL.removesuffix("</tool_call>")])
def test_a_call_once_begun_must_be_ended(vocabulary: str, output: str) -> None:
    grammar = format_for(vocabulary).constraint(TOOLS, AUTO)
    assert judge(grammar, output, vocabulary, END) is Verdict.PARTIAL


def test_required_leaves_no_text(vocabulary: str) -> None:
    grammar = format_for(vocabulary).constraint(TOOLS, REQUIRED)
    assert all(may_end(grammar, output, vocabulary, END) for output in GOOD_CALLS)
    assert all(not may_end(grammar, output, vocabulary, END) for output in [*ANSWERS, *BAD_CALLS])
    assert judge(grammar, "Hello", vocabulary, END) is Verdict.REFUSED


def test_a_named_tool_is_called_once(vocabulary: str) -> None:
    grammar = format_for(vocabulary).constraint(TOOLS, ToolChoice(ToolChoiceMode.REQUIRED, "time"))
    assert may_end(grammar, TIME, vocabulary, END)
    assert judge(grammar, CALL, vocabulary, END) is Verdict.REFUSED
    assert judge(grammar, f"{TIME}\n{TIME}", vocabulary, END) is Verdict.REFUSED


def test_none_leaves_no_call(vocabulary: str) -> None:
    grammar = format_for(vocabulary).constraint(TOOLS, ToolChoice(ToolChoiceMode.NONE))
    assert all(may_end(grammar, output, vocabulary, END) for output in ANSWERS)
    assert judge(grammar, f"Well, {CALL}", vocabulary, END) is Verdict.REFUSED


def test_special_tokens_are_never_text(vocabulary: str) -> None:
    for mode in (ToolChoiceMode.AUTO, ToolChoiceMode.NONE):
        grammar = format_for(vocabulary).constraint(TOOLS, ToolChoice(mode))
        assert judge(grammar, "a<|im_start|>", vocabulary, END) is Verdict.REFUSED


def test_without_tools_there_is_only_the_answers_own_grammar(vocabulary: str) -> None:
    digits = Constraint(ConstraintKind.REGEX, "[0-9]+")
    assert format_for(vocabulary).constraint(ToolSet(()), AUTO) is None
    assert format_for(vocabulary).constraint(ToolSet(()), AUTO, digits) is digits


@pytest.mark.parametrize(
    ("answer", "good", "bad"),
    [
        (Constraint(ConstraintKind.REGEX, "a/b\\/c\\d+\n?"), "a/b/c12", "hello"),
        (
            Constraint(
                ConstraintKind.JSON_SCHEMA,
                '{"type": "object",\n "properties": {"ü": {"type": "integer"}},\n'
                ' "required": ["ü"], "additionalProperties": false}',
            ),
            '{"ü": 3}',
            '{"ü": "3"}',
        ),
    ],
)
def test_auto_keeps_the_form_asked_of_the_answer(
    vocabulary: str, answer: Constraint, good: str, bad: str
) -> None:
    grammar = format_for(vocabulary).constraint(TOOLS, AUTO, answer)
    assert may_end(grammar, good, vocabulary, END)
    assert may_end(grammar, CALL, vocabulary, END)
    assert judge(grammar, bad, vocabulary, END) is Verdict.REFUSED


def test_answers_that_cannot_stand_beside_tools_are_refused(vocabulary: str) -> None:
    make = format_for(vocabulary).constraint
    with pytest.raises(InvalidRequest, match="cannot be combined"):
        make(TOOLS, AUTO, Constraint(ConstraintKind.LARK, 'start: "a"'))
    with pytest.raises(InvalidSchema, match="not JSON"):
        make(TOOLS, AUTO, Constraint(ConstraintKind.JSON_SCHEMA, "{"))
    with pytest.raises(InvalidRequest, match="'bomb'"):
        make(TOOLS, ToolChoice(ToolChoiceMode.REQUIRED, "bomb"))


def test_schemas_of_the_wild_compile(vocabulary: str) -> None:
    wild = ToolSpec(
        "wild",
        "",
        {
            "$defs": {"point": {"type": "object", "properties": {"x": {"type": "number"}}}},
            "properties": {
                "to": {"$ref": "#/$defs/point"},
                "n": {"type": "integer", "format": "int32"},
                "any": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            },
            "required": ["to"],
            "additionalProperties": False,
        },
    )
    output = '<tool_call>\n{"name": "wild", "arguments": {"to": {"x": 1.5}, "n": 4}}\n</tool_call>'
    grammar = format_for(vocabulary).constraint(ToolSet([wild]), AUTO)
    assert may_end(grammar, output, vocabulary, END)
