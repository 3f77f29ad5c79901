from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.generation import Constraint, ConstraintKind
from gateway.core.turn import ToolChoice, ToolChoiceMode
from gateway.engine.tool_format.llama_json import LlamaFormat
from gateway.engine.tool_format.parser import CallOpened, MalformedToolCall, Text
from gateway.engine.tool_format.toolset import ToolSet
from tests.engine.grammars import Verdict, judge, may_end
from tests.engine.parsing import chopped, parse
from tests.engine.test_tool_format_hermes import TOOLS
from tests.engine.vocabularies import LLAMA, byte_level_json

END = "<|eot_id|>"
TAG = "<|python_tag|>"
WITH_TAG = byte_level_json(LLAMA)
WITHOUT_TAG = byte_level_json(tuple(token for token in LLAMA if token != TAG))
CALL = '{"name": "weather", "parameters": {"place": "Rome"}}'
TIME = '{"name": "time", "parameters": {}}'
FORMAT = LlamaFormat(frozenset({TAG}))
AUTO = ToolChoice()


@given(
    cuts=st.lists(st.integers(0, 500), max_size=30),
    between=st.sampled_from(["; ", ";", "\n", ", "]),
    tag=st.sampled_from(["", TAG, "\n" + TAG]),
)
def test_calls_come_out_whole_however_they_arrive(cuts: list[int], between: str, tag: str) -> None:
    outcome = parse(FORMAT.parser(TOOLS), chopped(f"{tag}{CALL}{between}{TIME}", cuts))
    arguments = '{"place": "Rome"}'
    assert outcome.calls == [("weather", arguments, arguments), ("time", "{}", "{}")]
    assert outcome.text == ""


def test_the_name_comes_before_the_arguments_are_there() -> None:
    parser = FORMAT.parser(TOOLS)
    assert parser.feed('{"na') == []
    assert parser.feed('me": "weather"') == [CallOpened("weather")]


@given(
    output=st.sampled_from(
        [
            "Hello there.",
            '{"title": "no call"}',
            '{"name": 3}',
            '{"name": "bomb", "parameters": {}}',
            '{"nam": "weather"}',
            "{}",
            " { a",
            '{"name": "wea',
            "a <|python_tab",
            "",
            "  ",
        ]
    ),
    cuts=st.lists(st.integers(0, 500), max_size=30),
)
def test_what_calls_no_tool_is_text(output: str, cuts: list[int]) -> None:
    outcome = parse(FORMAT.parser(TOOLS), chopped(output, cuts))
    assert (outcome.text, outcome.calls) == (output, [])


def test_text_before_a_tagged_call_is_text() -> None:
    parser = FORMAT.parser(TOOLS)
    assert parser.feed("One moment. <|py") == [Text("One moment. ", 12)]
    outcome = parse(FORMAT.parser(TOOLS), [f"One moment. {TAG}{TIME}"])
    assert outcome.text == "One moment. "
    assert outcome.calls == [("time", "{}", "{}")]


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (f"{TAG}print(1)", "not a JSON object"),
        (f'{TAG}{{"name": "bomb"}}', "no tool is named 'bomb'"),
        (TAG, "no end"),
        (CALL[:-1], "no end"),
        ('{"name": "time", "parameters": {"a": x}}', "not valid JSON"),
    ],
)
def test_a_malformed_call_is_told_with_its_text(output: str, problem: str) -> None:
    with pytest.raises(MalformedToolCall, match=problem) as caught:
        parse(FORMAT.parser(TOOLS), list(output))
    assert caught.value.raw in output


def test_a_call_that_was_cut_off_stays_open() -> None:
    outcome = parse(FORMAT.parser(TOOLS), [CALL[:-2]], cut_off=True)
    assert [name for name, _, closed in outcome.calls if not closed] == ["weather"]


@pytest.fixture(params=[WITH_TAG, WITHOUT_TAG], ids=["with tag", "without tag"])
def vocabulary(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def format_for(vocabulary: str) -> LlamaFormat:
    return LlamaFormat(frozenset({TAG} if vocabulary == WITH_TAG else ()))


GOOD = [CALL, TIME, f"{CALL}; {TIME}", CALL.replace(": ", ":")]
BAD = [
    '{"title": 1}',
    CALL.replace("weather", "bomb"),
    CALL.replace('"Rome"', "3"),
    CALL.replace("place", "where"),
    f"{CALL} and more",
    "  {",
]
ANSWERS = ["Hello!", "a {b}", " indented"]


def test_auto_allows_text_and_valid_calls_only(vocabulary: str) -> None:
    grammar = format_for(vocabulary).constraint(TOOLS, AUTO)
    for output in [*ANSWERS, CALL, TIME, f"{CALL}; {TIME}"]:
        assert may_end(grammar, output, vocabulary, END), output
    for output in BAD:
        assert judge(grammar, output, vocabulary, END) is Verdict.REFUSED, output


def test_the_tag_may_stand_before_a_call() -> None:
    grammar = FORMAT.constraint(TOOLS, AUTO)
    assert may_end(grammar, TAG + CALL, WITH_TAG, END)
    assert judge(grammar, f"{TAG}hello", WITH_TAG, END) is Verdict.REFUSED


def test_required_and_named_leave_no_text(vocabulary: str) -> None:
    required = format_for(vocabulary).constraint(TOOLS, ToolChoice(ToolChoiceMode.REQUIRED))
    named = format_for(vocabulary).constraint(TOOLS, ToolChoice(ToolChoiceMode.REQUIRED, "time"))
    assert may_end(required, CALL, vocabulary, END)
    assert may_end(named, TIME, vocabulary, END)
    for grammar in (required, named):
        assert judge(grammar, "Hello", vocabulary, END) is Verdict.REFUSED
    assert judge(named, CALL, vocabulary, END) is Verdict.REFUSED


def test_none_leaves_no_call(vocabulary: str) -> None:
    grammar = format_for(vocabulary).constraint(TOOLS, ToolChoice(ToolChoiceMode.NONE))
    assert all(may_end(grammar, output, vocabulary, END) for output in ANSWERS)
    assert judge(grammar, CALL, vocabulary, END) is Verdict.REFUSED


def test_an_answer_may_have_its_own_form(vocabulary: str) -> None:
    number = Constraint(ConstraintKind.REGEX, "[0-9]+")
    grammar = format_for(vocabulary).constraint(TOOLS, AUTO, number)
    assert may_end(grammar, "42", vocabulary, END)
    assert may_end(grammar, CALL, vocabulary, END)
    assert judge(grammar, "x", vocabulary, END) is Verdict.REFUSED
    assert format_for(vocabulary).constraint(ToolSet(()), AUTO, number) is number
