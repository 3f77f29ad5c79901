from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.budget import Budget, TurnClass
from gateway.core.errors import InvalidRequest
from gateway.core.generation import Constraint, ConstraintKind, Sampling
from gateway.core.nesting import MAX_JSON_DEPTH
from gateway.core.turn import (
    Message,
    Principal,
    Role,
    ToolCall,
    ToolChoice,
    ToolChoiceMode,
    ToolSpec,
    Turn,
)
from gateway.edge.chat_request import decode_chat, turn_of

HI = [{"role": "user", "content": "hi"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA}}


def turn(**fields: Any) -> Turn:
    body = json.dumps({"messages": HI} | fields).encode()
    return turn_of(
        decode_chat(body),
        request_id="r1",
        budget=Budget(0.0, 2.0),
        turn_class=TurnClass.AGENT,
        principal=Principal(),
        server_tools=False,
    )


def refusal(**fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        turn(**fields)
    return caught.value


def test_the_least_request_takes_the_defaults() -> None:
    asked = turn()
    assert asked.messages == (Message(Role.USER, "hi"),)
    assert (asked.model, asked.tools, asked.stop, asked.max_tokens) == ("default", (), (), None)
    assert asked.constraint is None
    assert asked.parallel_tool_calls
    assert asked.sampling == Sampling(seed=asked.sampling.seed)


@pytest.mark.parametrize("name", ["", "two words", "a" * 65, "f\n"])
def test_a_tool_name_is_as_in_the_openai_api(name: str) -> None:
    assert refusal(tools=[tool(name)]).param == "tools[0].function.name"


def nested(depth: int) -> dict[str, Any]:
    """An object schema of that many objects inside each other."""
    schema: dict[str, Any] = {}
    for _ in range(depth - 1):
        schema = {"items": schema}
    return schema


def test_the_nesting_of_tool_parameters_is_bounded() -> None:
    def asking(depth: int) -> list[dict[str, Any]]:
        function = {"name": "f", "parameters": nested(depth)}
        return [{"type": "function", "function": function}]

    assert turn(tools=asking(MAX_JSON_DEPTH)).tools[0].parameters == nested(MAX_JSON_DEPTH)
    for depth in (MAX_JSON_DEPTH + 1, 400):
        refused = refusal(tools=asking(depth))
        assert (refused.code, refused.param) == ("invalid_schema", "tools")
        assert "'f'" in refused.message


def test_without_a_seed_two_requests_draw_differently() -> None:
    assert turn().sampling.seed != turn().sampling.seed


def test_null_means_absent_everywhere() -> None:
    nulls = (
        "model stream stream_options tools tool_choice parallel_tool_calls response_format "
        "max_tokens max_completion_tokens stop temperature top_p top_k min_p presence_penalty "
        "frequency_penalty repetition_penalty logit_bias logprobs top_logprobs n "
        "modalities audio functions function_call web_search_options user metadata store"
    ).split()
    assert turn(**dict.fromkeys(nulls), seed=1) == turn(seed=1)


def test_every_sampling_field_arrives() -> None:
    fields: dict[str, Any] = {
        "temperature": 0.5,
        "top_k": 40,
        "top_p": 0.9,
        "min_p": 0.05,
        "presence_penalty": 1,
        "frequency_penalty": -1.5,
        "repetition_penalty": 1.1,
        "seed": -3,
    }
    asked = turn(**fields, logit_bias={"17": -100, "3": 2.5}, logprobs=True, top_logprobs=4)
    assert asked.sampling == Sampling(**fields, logit_bias={17: -100.0, 3: 2.5}, top_logprobs=4)
    assert turn(logprobs=True).sampling.top_logprobs == 0


def test_what_changes_nothing_here_is_passed_over() -> None:
    ignored = {"user": "u", "metadata": {"a": "b"}, "store": True, "service_tier": "auto"}
    assert turn(seed=1, **ignored, some_new_field=[1]) == turn(seed=1)


def test_a_conversation_with_tools_keeps_its_shape() -> None:
    pay, it = ({"type": "text", "text": text} for text in ("pay ", "it"))
    call = CALL | {"function": {"name": "f", "arguments": " "}}
    asked = turn(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [pay, it]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": [it]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        ]
    )
    assert asked.messages == (
        Message(Role.SYSTEM, "Be brief."),
        Message(Role.USER, "pay it"),
        Message(Role.ASSISTANT, "", (ToolCall("c1", "f", "{}"),)),
        Message(Role.TOOL, "it", tool_call_id="c1"),
        Message(Role.ASSISTANT, "no"),
    )


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, ToolChoice()),
        ("auto", ToolChoice()),
        ("none", ToolChoice(ToolChoiceMode.NONE)),
        ("required", ToolChoice(ToolChoiceMode.REQUIRED)),
        (
            {"type": "function", "function": {"name": "g"}},
            ToolChoice(ToolChoiceMode.REQUIRED, "g"),
        ),
    ],
)
def test_tool_choices(choice: object, expected: ToolChoice) -> None:
    asked = turn(tools=[tool("f"), tool("g")], tool_choice=choice, parallel_tool_calls=False)
    assert asked.tools == (ToolSpec("f", "", SCHEMA), ToolSpec("g", "", SCHEMA))
    assert asked.tool_choice == expected
    assert not asked.parallel_tool_calls


def test_allowed_tools_are_the_only_ones() -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "g"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    asked = turn(tools=[tool("f"), tool("g")], tool_choice=choice)
    assert [spec.name for spec in asked.tools] == ["g"]
    assert asked.tool_choice == ToolChoice(ToolChoiceMode.REQUIRED)
    assert refusal(tools=[tool("f")], tool_choice=choice).param == (
        "tool_choice.allowed_tools.tools"
    )


def test_a_tool_without_parameters_takes_none() -> None:
    asked = turn(tools=[{"type": "function", "function": {"name": "f", "description": "d"}}])
    assert asked.tools == (ToolSpec("f", "d", {"type": "object", "properties": {}}),)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, Constraint(ConstraintKind.JSON_SCHEMA, '{"type": "object"}')),
        ({"type": "regex", "regex": "[0-9]+"}, Constraint(ConstraintKind.REGEX, "[0-9]+")),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": SCHEMA}},
            Constraint(ConstraintKind.JSON_SCHEMA, json.dumps(SCHEMA)),
        ),
    ],
)
def test_response_formats(given: dict[str, Any], expected: Constraint | None) -> None:
    assert turn(response_format=given).constraint == expected


def test_limits_and_stops() -> None:
    assert turn(max_tokens=5).max_tokens == 5
    assert turn(max_tokens=5, max_completion_tokens=3).max_tokens == 3
    assert turn(stop="\n").stop == ("\n",)
    assert turn(stop=["a", "b"]).stop == ("a", "b")


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"messages": []}, "messages", "empty"),
        ({"messages": None}, "messages", "array"),
        ({"messages": [{"content": "x"}]}, "messages[0].role", "missing required field"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing"),
        ({"messages": [{"role": "wizard", "content": ""}]}, "messages[0].role", "wizard"),
        (
            {"messages": [*HI, {"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[1].content[0].type",
            "image_url' (content parts are text only)",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "messages[0].content[0].type",
            "input_audio",
        ),
        (
            {"messages": [*HI, {"role": "tool", "content": "", "tool_call_id": "c9"}]},
            "messages[1].tool_call_id",
            "answers no tool call",
        ),
        (
            {"messages": [{"role": "user", "content": "", "tool_calls": [CALL]}]},
            "messages[0].tool_calls",
            "assistant",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [CALL | {"function": {"name": "f", "arguments": "[1]"}}],
                    }
                ]
            },
            "messages[0].tool_calls[0].function.arguments",
            "not a JSON object",
        ),
        ({"n": 2}, "n", "one answer per request"),
        ({"modalities": ["text", "audio"]}, "modalities[1]", "text only"),
        ({"audio": {"voice": "alloy"}}, "audio", "text only"),
        ({"functions": [{"name": "f"}]}, "functions", "give them as tools"),
        ({"function_call": "auto"}, "function_call", "tool_choice"),
        ({"web_search_options": {}}, "web_search_options", "web search"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type", "function tools"),
        ({"tools": [tool("has space")]}, "tools[0].function.name", "dashes and underscores"),
        ({"tools": [tool("f"), tool("f")]}, "tools", "same name"),
        ({"tool_choice": "required"}, "tool_choice", "none is given"),
        ({"tool_choice": "any"}, "tool_choice", "any"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "xml"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": True},
                }
            },
            "response_format.json_schema.schema",
            "not a JSON object",
        ),
        ({"temperature": "hot"}, "temperature", "float"),
        ({"temperature": 2.5}, "temperature", "at most 2"),
        ({"top_p": 0}, "top_p", "above 0"),
        ({"top_k": -1}, "top_k", "at least 0"),
        ({"seed": 2**63}, "seed", "int"),
        ({"seed": 10**400}, "seed", "int"),
        ({"max_tokens": 0}, "max_tokens", ">= 1"),
        ({"max_tokens": -5}, "max_tokens", ">= 1"),
        ({"max_completion_tokens": 10**30}, "max_completion_tokens", "int"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", ">= 1"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "int"),
        ({"logit_bias": {"5": 101}}, "logit_bias", "at most 100"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias", "names no token: 99999999"),
        ({"top_logprobs": 2}, "top_logprobs", "logprobs: true"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "at most 20"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "up to 4"),
        ({"stop": ""}, "stop", "not empty"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "stream"),
    ],
)
def test_what_cannot_be_served_is_refused_by_path(
    fields: dict[str, Any], param: str, says: str
) -> None:
    error = refusal(**fields)
    assert error.param == param
    assert says in error.message


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "not JSON"),
        (b'{"messages":', "not JSON"),
        (b'{"messages": []} trailing', "not JSON"),
        (b'{"messages":[{"role":"user","content":"\xff"}]}', "not JSON"),
        (b'{"messages":[{"role":"user","content":"\\ud800"}]}', "half a pair"),
        (b"[]", "Expected `object`"),
        (b'{"messages":[],"x":' + b"[" * 200_000, "nested too deeply"),
    ],
)
def test_what_is_not_a_request_at_all(body: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        decode_chat(body)


def test_a_refusal_does_not_repeat_a_long_value() -> None:
    assert len(refusal(tool_choice="x" * 100_000).message) < 500
