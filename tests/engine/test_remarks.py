"""Schemas without their annotations: nothing that constrains an answer is lost."""

from __future__ import annotations

from gateway.core.turn import ToolSpec
from gateway.engine.tool_format.lark import json_call_bodies
from gateway.engine.tool_format.remarks import without_remarks
from gateway.engine.tool_format.toolset import ToolSet

LONG = "for people " * 1000


def test_annotations_go_at_every_depth() -> None:
    leaf = {"type": "string", "description": LONG, "examples": ["x"]}
    schema = {
        "title": "T",
        "type": "object",
        "properties": {"a": leaf, "list": {"type": "array", "items": leaf}},
        "anyOf": [{"required": ["a"], "$comment": LONG}, True],
        "$defs": {"leaf": leaf},
    }
    bare = {"type": "string"}
    assert without_remarks(schema) == {
        "type": "object",
        "properties": {"a": bare, "list": {"type": "array", "items": bare}},
        "anyOf": [{"required": ["a"]}, True],
        "$defs": {"leaf": bare},
    }


def test_properties_and_data_may_be_called_like_annotations() -> None:
    schema = {
        "properties": {"title": {"const": {"title": "x"}}, "default": {"enum": [{"default": 1}]}},
        "required": ["title"],
    }
    assert without_remarks(schema) == schema


def test_a_tools_descriptions_are_no_part_of_its_grammar() -> None:
    parameters = {"type": "object", "properties": {"day": {"type": "string", "description": LONG}}}
    rules = json_call_bodies(ToolSet([ToolSpec("f", LONG, parameters)]), arguments_key="arguments")
    assert len("".join(rules)) < 500
    assert "day" in "".join(rules)
