from __future__ import annotations

import hashlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest, InvalidSchema, UnsupportedTools
from gateway.core.turn import ToolSpec
from gateway.engine.bundle_facts import tools_digest
from gateway.engine.tool_format.integer_range import integer_pattern
from gateway.engine.tool_format.registry import tool_format
from gateway.engine.tool_format.toolset import ToolSet, check_supported
from tests.engine.vocabularies import TOOL_NAMES, TOOLS_JSON

FIXED = ToolSet.from_json(TOOLS_JSON)
MANIFEST = f"fixed:{tools_digest(TOOLS_JSON)}"


@given(data=st.data())
def test_a_range_pattern_matches_exactly_its_integers(data: st.DataObject) -> None:
    low = data.draw(st.integers(-3000, 3000))
    high = data.draw(st.integers(low, 3000))
    matches = re.compile(integer_pattern(low, high)).fullmatch
    near = {edge + step for edge in (low, high, 0, 10, 100, 1000) for step in (-1, 0, 1)}
    for number in near | set(data.draw(st.lists(st.integers(-3100, 3100), max_size=30))):
        assert bool(matches(str(number))) == (low <= number <= high), (low, high, number)


@pytest.mark.parametrize(("low", "high"), [(1, 1440), (1, 90), (0, 0), (-12, 7), (99, 101)])
def test_every_integer_of_common_ranges_is_matched(low: int, high: int) -> None:
    matches = re.compile(integer_pattern(low, high)).fullmatch
    matched = [n for n in range(-2000, 20000) if matches(str(n))]
    assert matched == list(range(low, high + 1))
    assert not any(map(matches, ["", "-0", "00", "01", "+1", "1 ", "1.0", "007", "-"]))


@given(low=st.integers(0, 10**12), span=st.integers(0, 10**12))
def test_wide_ranges_stay_exact_and_short(low: int, span: int) -> None:
    pattern = integer_pattern(low, low + span)
    matches = re.compile(pattern).fullmatch
    assert matches(str(low))
    assert matches(str(low + span))
    assert matches(str(low + span // 2))
    assert not matches(str(low + span + 1))
    assert low == 0 or not matches(str(low - 1))
    assert len(pattern) < 1500


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 3 and at most 2"):
        integer_pattern(3, 2)


def test_tools_are_kept_by_name_in_their_order() -> None:
    assert tuple(tool.name for tool in FIXED) == TOOL_NAMES
    assert len(FIXED) == len(TOOL_NAMES)
    assert "pay_bill" in FIXED
    assert [tool.name for tool in FIXED.only("pay_bill")] == ["pay_bill"]
    with pytest.raises(InvalidRequest, match="'bomb'"):
        FIXED.only("bomb")


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, 'x"', "<c>", "né"])
def test_a_name_that_cannot_stand_in_a_grammar_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ToolSet([ToolSpec(name, "", {})])
    assert caught.value.param == "tools"


def test_there_is_room_for_as_many_tools_as_the_api_allows() -> None:
    tools = [ToolSpec(f"tool_{index}", "", {"type": "object"}) for index in range(129)]
    assert len(ToolSet(tools[:128])) == 128
    with pytest.raises(InvalidRequest, match="at most 128 tools"):
        ToolSet(tools)


def test_a_name_may_be_used_once() -> None:
    with pytest.raises(InvalidRequest, match="two tools"):
        ToolSet([ToolSpec("a", "", {}), ToolSpec("a", "", {})])


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "string"},
        {"type": ["object", "null"]},
        {"properties": []},
        {"properties": {"a": 3}},
        {"required": "a"},
        {"required": [1]},
    ],
)
def test_parameters_that_are_no_object_name_the_tool(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidSchema, match="'odd'") as caught:
        ToolSet([ToolSpec("odd", "", parameters)])
    assert caught.value.param == "tools"


@pytest.mark.parametrize("text", ["{", "{}", "[{}]", '[{"function": {"name": 3}}]'])
def test_a_tools_file_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="unusable"):
        ToolSet.from_json(text)


def test_the_digest_does_not_depend_on_layout() -> None:
    tools = json.loads(TOOLS_JSON)
    shuffled = json.dumps([dict(reversed(entry.items())) for entry in tools], indent=3)
    assert tools_digest(shuffled) == tools_digest(TOOLS_JSON)
    canonical = json.dumps(tools, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert tools_digest(TOOLS_JSON) == hashlib.sha256(canonical.encode()).hexdigest()
    assert tools_digest(json.dumps(tools[:-1])) != tools_digest(TOOLS_JSON)


def test_a_model_with_fixed_tools_takes_any_selection_of_them() -> None:
    pay = FIXED["pay_bill"]
    check_supported(MANIFEST, FIXED, ToolSet(()))
    check_supported(MANIFEST, FIXED, FIXED)
    check_supported(
        MANIFEST, FIXED, ToolSet([ToolSpec("pay_bill", "Other words.", pay.parameters)])
    )


def test_a_model_with_fixed_tools_takes_no_others() -> None:
    with pytest.raises(UnsupportedTools, match="cannot call 'bomb'; it knows: check_outage"):
        check_supported(MANIFEST, FIXED, ToolSet([ToolSpec("bomb", "", {})]))
    with pytest.raises(UnsupportedTools, match="'pay_bill' with other parameters"):
        check_supported(MANIFEST, FIXED, ToolSet([ToolSpec("pay_bill", "", {})]))


def test_other_models_take_all_or_none() -> None:
    given_tools = ToolSet([ToolSpec("bomb", "", {})])
    check_supported("any", ToolSet(()), given_tools)
    check_supported("none", ToolSet(()), ToolSet(()))
    with pytest.raises(UnsupportedTools, match="cannot call tools"):
        check_supported("none", ToolSet(()), given_tools)


def test_each_format_is_made_by_its_name() -> None:
    tokens = frozenset({"<tool_call>", "<t:x>", "<c>", "<arg>"})
    assert tool_format("hermes", tokens).markers == {"<tool_call>", "</tool_call>"}
    assert tool_format("llama", tokens).markers == {"<|python_tag|>"}
    assert tool_format("firsthop", tokens).markers == {"<c>", "<arg>", "<t:x>"}
