"""How much text a constraint writes out, told without compiling it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.generation import Constraint, ConstraintKind
from gateway.engine.worker.grammar_size import written_out


@pytest.mark.parametrize(
    ("regex", "num_bytes"),
    [
        ("abc", 3),
        ("a{5}", 5),
        ("a{ 5 }", 5),
        ("a{2,}b{3,9}c{0,7}", 2 + 3 + 1),
        ("(a{10}){10}{10}", 1000),
        ("(?:ab|c{3}){4}", 20),
        ("(?P<name>ab){3}x", 7),
        ("(?i)a{3}", 3),
        ("é{1000}", 2000),
        (r"\x61{1000}\({3}", 1005),
        (r"\x{61}{7}\p{L}{2}", 9),
        ("[^](){9}]{4}", 4),
        ("[a[b{3}]]{4}", 4),
        (r"[\]{9}]{4}", 4),
        (r"\{9}", 1 + 2),
        ("(a{1000}", 1000),
        ("a{99999999999999999999}", math.inf),
        ("(?x)a{1}", math.inf),
        ("(?i-x:a){2}", math.inf),
    ],
)
def test_a_regex_counts_as_the_text_it_repeats(regex: str, num_bytes: float) -> None:
    assert written_out(Constraint(ConstraintKind.REGEX, regex)) == num_bytes
    schema = json.dumps({"anyOf": [{"items": {"pattern": regex}}]})
    assert written_out(Constraint(ConstraintKind.JSON_SCHEMA, schema)) == num_bytes + 2
    lark = f"start: %json {schema}\nother: %json {schema} " + '"x"'
    assert written_out(Constraint(ConstraintKind.LARK, lark)) == 2 * num_bytes + 2


@pytest.mark.parametrize(
    ("schema", "size"),
    [
        ({"multipleOf": 60}, 2 * 6),
        ({"multipleOf": 0.01}, 2 * 1),
        ({"multipleOf": 99.991}, 2 * 99991),
        ({"multipleOf": True}, 2),
        ({"allOf": [{"multipleOf": 7}, {"multipleOf": 11}]}, 2 * 77),
        ({"properties": {"a": {"multipleOf": 9}, "b": {"multipleOf": 9}}}, 2 * 18),
        ({"patternProperties": {"a{30}": {}}}, 30 + 2),
        ({"pattern": 3, "patternProperties": 4}, 2),
    ],
)
def test_a_schema_counts_its_patterns_and_remainders(schema: object, size: float) -> None:
    text = json.dumps(schema)
    assert written_out(Constraint(ConstraintKind.JSON_SCHEMA, text)) == size


@given(st.text(alphabet='ab()[]{}\\/,?|^x:<>13"%json \n'), st.sampled_from(ConstraintKind))
def test_anything_can_be_measured(text: str, kind: ConstraintKind) -> None:
    assert written_out(Constraint(kind, text)) >= 0
