"""How large a constraint is, told from its text before anything is compiled.

llguidance writes out what a regular expression repeats of a fixed text, and builds a state for
every remainder of a `multipleOf`; none of its own limits counts either. Both are bounded here. Time
and memory measured with llguidance 1.9.1: 2 µs and 240 bytes for a byte of repeated text, 10 µs and
500 bytes for a remainder. Optional repetitions and alternatives are followed only as an answer is
written, and every mask has its own limits.
"""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gateway.core.generation import ConstraintKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.core.generation import Constraint

MAX_GRAMMAR_BYTES = 1 << 16
MAX_LARK_BYTES = 1 << 18
"""A turn's grammar holds the schemas of all its tools; 128 large ones take 180 kB."""
MAX_STRING_CHARS = 1 << 12
"""Of one literal, or of a regular expression: a mask takes time in proportion, some 0.5 µs each."""
MAX_WRITTEN_OUT = 1 << 14
"""Bytes of repeated text and states of remainders, together; 0.1 s and 8 MB at most."""

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_TERMINAL = re.compile(r"/((?:[^/\\\n]|\\.)+)/")
_NUM_REPEATED = re.compile(r"\{\s*(\d+)\s*(?:,[^}]*)?\}")
_ESCAPE = re.compile(r"\\(?:[xuUpP]\{[^}]*\}|.)", re.DOTALL)
_FLAGS = re.compile(r"\(\?(?:P?<\w+>|[A-Za-z-]*:?)?")
_MAX_COUNT_DIGITS = 9


def source_bytes(constraint: Constraint) -> int:
    """The length of its text."""
    return len(constraint.text.encode())


def why_too_large(constraint: Constraint) -> str:
    """Why a constraint is not to be compiled, in words that follow on from it; empty if it is."""
    is_lark = constraint.kind is ConstraintKind.LARK
    limit_bytes = MAX_LARK_BYTES if is_lark else MAX_GRAMMAR_BYTES
    if source_bytes(constraint) > limit_bytes:
        return f"it is longer than {limit_bytes} bytes"
    if max(map(len, _strings(constraint)), default=0) > MAX_STRING_CHARS:
        return f"it holds a string longer than {MAX_STRING_CHARS} characters"
    if written_out(constraint) > MAX_WRITTEN_OUT:
        return f"its repetitions, or its `multipleOf`, come to more than {MAX_WRITTEN_OUT} symbols"
    return ""


def written_out(constraint: Constraint) -> float:
    """Bytes of repeated text and states of remainders in all parts of a constraint.

    What is malformed counts as far as it can be read; the compiler refuses it.
    """
    match constraint.kind:
        case ConstraintKind.REGEX:
            return _regex_bytes(constraint.text)
        case ConstraintKind.JSON_SCHEMA:
            return _schema_size(_json_values(constraint.text, 0))
        case ConstraintKind.LARK:
            terminals = sum(_regex_bytes(regex) for regex in _TERMINAL.findall(constraint.text))
            starts = (found.end() for found in re.finditer(r"%json\s*", constraint.text))
            schemas = [value for at in starts for value in _json_values(constraint.text, at)]
            return terminals + _schema_size(iter(schemas))


def _strings(constraint: Constraint) -> list[str]:
    text = constraint.text
    return [text] if constraint.kind is ConstraintKind.REGEX else _STRING.findall(text)


def _json_values(text: str, at: int) -> Iterator[Any]:
    """The JSON value at a place in `text`, unless there is none that can be read."""
    try:
        yield json.JSONDecoder(parse_float=Decimal).raw_decode(text, at)[0]
    except (ValueError, RecursionError):
        return


def _schema_size(schemas: Iterator[Any]) -> float:
    """Of what stands in these schemas; keywords count wherever they stand."""
    num_bytes = 0.0
    divisors: list[int] = []
    parts = list(schemas)
    while parts:
        match parts.pop():
            case dict() as schema:
                regexes = [schema.get("pattern"), *_keys(schema.get("patternProperties"))]
                num_bytes += sum(_regex_bytes(regex) for regex in regexes if isinstance(regex, str))
                divisors += _divisors(schema.get("multipleOf"))
                parts.extend(schema.values())
            case list() as schemas_or_values:
                parts.extend(schemas_or_values)
    # Of numbers that divide the same value, the remainders of their least common multiple count.
    return num_bytes + 2 * max(sum(divisors), math.lcm(*divisors))


def _keys(value: object) -> list[object]:
    return list(value) if isinstance(value, dict) else []


def _divisors(value: object) -> list[int]:
    """The digits of a `multipleOf` as a whole number, without zeros at their end."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return []
    digits = "".join(map(str, Decimal(value).as_tuple().digits)).rstrip("0")
    return [int(digits[: _MAX_COUNT_DIGITS + 1])] if digits else []


def _regex_bytes(regex: str) -> float:
    """The bytes of the shortest text it could be, alternatives all counted.

    A sum over pieces: nested groups are a stack of sums, and a count multiplies the piece before
    it. In verbose mode comments could hide anything, so it is as large as can be.
    """
    groups = [0.0]
    piece = 0.0
    at = 0
    while at < len(regex):
        count = _NUM_REPEATED.match(regex, at)
        if count is not None:
            times = int(count[1]) if len(count[1]) <= _MAX_COUNT_DIGITS else math.inf
            groups[-1] += piece * max(0.0, times - 1.0)
            piece *= max(1.0, times)
            at = count.end()
            continue
        match regex[at]:
            case "(":
                flags = _FLAGS.match(regex, at)
                if flags is not None and "x" in flags[0].partition("<")[0]:
                    return math.inf
                groups.append(0.0)
                at = flags.end() if flags is not None else at + 1
                continue
            case ")":
                piece = groups.pop()
                groups = groups or [0.0]
                at += 1
            case "[":
                piece, at = 1.0, _after_class(regex, at)
            case "\\":
                piece, at = 1.0, _end_of(_ESCAPE, regex, at)
            case "|" | "?" | "*" | "+" | "^" | "$":
                at += 1
                continue
            case other:
                piece, at = float(len(other.encode("utf-8", "replace"))), at + 1
        groups[-1] += piece
    return sum(groups)


def _after_class(regex: str, at: int) -> int:
    """The place after the bracketed class that begins here; classes nest."""
    depth = 0
    while at < len(regex):
        match regex[at]:
            case "\\":
                at = _end_of(_ESCAPE, regex, at)
                continue
            case "[":
                depth += 1
                first = at + 2 if regex.startswith("^", at + 1) else at + 1
                at = first if regex.startswith("]", first) else first - 1
            case "]":
                depth -= 1
                if not depth:
                    return at + 1
        at += 1
    return at


def _end_of(token: re.Pattern[str], text: str, at: int) -> int:
    found = token.match(text, at)
    return found.end() if found is not None else at + 1
