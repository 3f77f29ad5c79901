"""Grammars: what they admit, when they end, and how unusable ones are told."""

from __future__ import annotations

import json
import re
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gateway.core.generation import Constraint, ConstraintKind
from gateway.engine.worker.grammar import (
    MASK_BUDGET_S,
    GrammarCompiler,
    Matcher,
    UnusableGrammar,
)
from models.byte_tokenizer import END, byte_tokenizer_json, special_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_VOCAB_SIZE = 300
_END_ID = special_id(END)


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GrammarCompiler]:
    path: Path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    path.write_text(byte_tokenizer_json(_VOCAB_SIZE), "utf-8")
    compiler = GrammarCompiler(path, _VOCAB_SIZE, [_END_ID])
    yield compiler
    compiler.close()


def _matcher(compiler: GrammarCompiler, kind: ConstraintKind, text: str) -> Matcher:
    return compiler.compile(Constraint(kind, text)).result(timeout=60)


def _admitted(matcher: Matcher) -> set[int]:
    allowed = matcher.allowed()
    mask = allowed.mask()
    assert mask.shape == (_VOCAB_SIZE,)
    admitted = set(np.flatnonzero(mask).tolist())
    assert admitted - {_END_ID} <= {i for i in range(_VOCAB_SIZE) if matcher.admits(i)} <= admitted
    backwards = np.arange(_VOCAB_SIZE + 100)[::-1]
    assert admitted == set(backwards[allowed.among(backwards)].tolist())
    return admitted


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (ConstraintKind.REGEX, "((", "invalid regex .* error: unclosed group"),
        (ConstraintKind.JSON_SCHEMA, '{"type": "objct"}', "Invalid type: objct"),
        (
            ConstraintKind.LARK,
            'start: "a" body\nbody: %json {"$ref": "#", "type": "object"}',
            "failed to compile JSON schema: circular references .* json-schema:///#",
        ),
    ],
)
def test_what_is_wrong_is_told_without_the_grammar_around_it(
    compiler: GrammarCompiler, kind: ConstraintKind, text: str, reason: str
) -> None:
    with pytest.raises(UnusableGrammar) as unusable:
        _matcher(compiler, kind, text)
    assert re.fullmatch(reason, unusable.value.message)


def test_a_regex_admits_its_letters_and_ends(compiler: GrammarCompiler) -> None:
    matcher = _matcher(compiler, ConstraintKind.REGEX, "[ab]x")
    assert _admitted(matcher) == set(b"ab")
    matcher.accept(ord("b"))
    assert _admitted(matcher) == set(b"x")
    assert not matcher.is_done
    matcher.accept(ord("x"))
    assert matcher.is_done


def test_an_open_end_admits_the_end_token(compiler: GrammarCompiler) -> None:
    matcher = _matcher(compiler, ConstraintKind.REGEX, "x+")
    matcher.accept(ord("x"))
    assert _admitted(matcher) == {ord("x"), _END_ID}


def test_special_tokens_are_part_of_lark_grammars(compiler: GrammarCompiler) -> None:
    matcher = _matcher(compiler, ConstraintKind.LARK, f'start: "x" {END}')
    matcher.accept(ord("x"))
    assert _admitted(matcher) == {_END_ID}


def test_matchers_of_one_grammar_are_independent(compiler: GrammarCompiler) -> None:
    first = _matcher(compiler, ConstraintKind.REGEX, "ab")
    second = _matcher(compiler, ConstraintKind.REGEX, "ab")
    first.accept(ord("a"))
    assert _admitted(first) == set(b"b")
    assert _admitted(second) == set(b"a")


def test_a_token_outside_the_grammar_is_refused_with_a_reason(compiler: GrammarCompiler) -> None:
    matcher = _matcher(compiler, ConstraintKind.REGEX, "ab")
    with pytest.raises(UnusableGrammar, match=r"broke off: .*z"):
        matcher.accept(ord("z"))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ConstraintKind.JSON_SCHEMA, '{"type": "objekt"}'),
        (ConstraintKind.JSON_SCHEMA, "{bad"),
        (ConstraintKind.JSON_SCHEMA, "[]"),
        (ConstraintKind.REGEX, "("),
        (ConstraintKind.LARK, "start: nothing"),
        (ConstraintKind.LARK, "start: <nowhere>"),
        (ConstraintKind.JSON_SCHEMA, '{"anyOf": []}'),
    ],
)
def test_unusable_grammars_are_told_in_one_line(
    compiler: GrammarCompiler, kind: ConstraintKind, text: str
) -> None:
    with pytest.raises(UnusableGrammar) as caught:
        _matcher(compiler, kind, text)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


def _schema(value: object) -> tuple[ConstraintKind, str]:
    return ConstraintKind.JSON_SCHEMA, json.dumps(value)


def _object(num_properties: int) -> dict[str, object]:
    properties: dict[str, object] = {f"p{index}": {} for index in range(num_properties)}
    return {"type": "object", "properties": properties, "required": list(properties)}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        _schema({"$ref": "#"}),
        _schema({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#"}}}),
        (ConstraintKind.REGEX, r"[^\s\S]"),
        (ConstraintKind.REGEX, r"a[^\s\S]"),
    ],
    ids=["itself", "each other", "nothing", "nothing more"],
)
def test_what_no_text_satisfies_is_unusable(
    compiler: GrammarCompiler, kind: ConstraintKind, text: str
) -> None:
    with pytest.raises(UnusableGrammar, match="no text can satisfy it"):
        _matcher(compiler, kind, text)


@pytest.mark.parametrize(
    ("kind", "text", "reason"),
    [
        (*_schema({"const": "y" * 250_000}), "longer than 65536 bytes"),
        (*_schema({"const": "y" * 60_000}), "string longer than 4096"),
        (*_schema({"enum": ["a", '\\"' * 4000]}), "string longer than 4096"),
        (ConstraintKind.REGEX, "a" * 5000, "string longer than 4096"),
        (*_schema(_object(5000)), "longer than 65536 bytes"),
        (ConstraintKind.LARK, f"start: %json {json.dumps(_object(5000))}", "too big"),
        (*_schema({**_object(600), "required": []}), "items; max is"),
        *(
            (kind, text, "come to more than 16384")
            for kind, text in (
                (ConstraintKind.REGEX, "(a{1000}){1000}{1000}"),
                (ConstraintKind.LARK, "start: A\nA: /(a{1000}){1000}/"),
                _schema({"properties": {"x": {"type": "string", "pattern": "^(a{1000}){1000}$"}}}),
                _schema({"allOf": [{"type": "integer", "multipleOf": 997}, {"multipleOf": 991}]}),
            )
        ),
        (ConstraintKind.LARK, 'start: a\na: "x" a', "[Tt]oo many items"),
        (ConstraintKind.LARK, "start: /(y|yy){5000}/", "too many expressions"),
    ],
    ids=[
        *("bytes", "const", "enum", "regex", "large", "properties", "options"),
        *("repeated", "repeated in Lark", "repeated pattern", "remainders", "recursion", "masks"),
    ],
)
def test_what_would_take_too_long_is_unusable(
    compiler: GrammarCompiler, kind: ConstraintKind, text: str, reason: str
) -> None:
    with pytest.raises(UnusableGrammar, match=reason):
        _matcher(compiler, kind, text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        _schema(_object(200)),
        _schema({"enum": [f"tariff {number}" for number in range(2000)]}),
        _schema({"const": "y" * 4000}),
        (ConstraintKind.REGEX, r"([A-Z][a-z]{0,30} ?){1,200}\."),
    ],
    ids=["properties", "enum", "const", "regex"],
)
def test_what_is_large_in_reason_is_usable(
    compiler: GrammarCompiler, kind: ConstraintKind, text: str
) -> None:
    assert _admitted(_matcher(compiler, kind, text))


class _Costly:
    """Stands for llguidance's matcher: every mask takes its time."""

    def __init__(self, cost_s: float) -> None:
        self._cost_s = cost_s

    def compute_bitmask(self) -> bytes:
        until_s = time.thread_time() + self._cost_s
        while time.thread_time() < until_s:
            pass
        return b"\xff" * 2

    def is_error(self) -> bool:
        return False


def _num_masks(cost_s: float, at_most: int) -> int:
    matcher = Matcher(_Costly(cost_s), 16)
    for num_masks in range(at_most):
        try:
            matcher.allowed()
        except UnusableGrammar:
            return num_masks
    return at_most


def test_an_answer_whose_masks_cost_too_much_is_given_up() -> None:
    assert _num_masks(MASK_BUDGET_S / 20, 100) == 100
    assert _num_masks(MASK_BUDGET_S * 3, 100) <= 4
    assert _num_masks(MASK_BUDGET_S * 9.5, 100) == 0


def test_a_known_grammar_does_not_wait_for_others_to_compile(compiler: GrammarCompiler) -> None:
    known = Constraint(ConstraintKind.REGEX, "[a-z]{1,40}")
    unusable = Constraint(ConstraintKind.REGEX, "(")
    compiler.compile(known).result(timeout=60)
    compiler.compile(unusable).exception(timeout=60)
    release = threading.Event()
    blockers = [compiler._threads.submit(release.wait, 10) for _ in range(4)]
    assert _admitted(compiler.compile(known).result(timeout=0)) == set(range(97, 123))
    assert isinstance(compiler.compile(unusable).exception(timeout=0), UnusableGrammar)
    assert not compiler.compile(Constraint(ConstraintKind.REGEX, "[0-9]{1,40}")).done()
    release.set()
    assert all(blocker.result() for blocker in blockers)


class _SlowGrammar:
    """Compiles one grammar only when released, and counts what is compiled."""

    def __init__(self, compiler: GrammarCompiler, monkeypatch: pytest.MonkeyPatch) -> None:
        self.slow = Constraint(ConstraintKind.REGEX, f"slow{time.monotonic_ns()}")
        self.begun = threading.Event()
        self.release = threading.Event()
        self.compiled: list[str] = []
        compile_ = compiler._compile

        def recorded(constraint: Constraint) -> Matcher:
            self.compiled.append(constraint.text)
            if constraint == self.slow:
                self.begun.set()
                assert self.release.wait(60)
            return compile_(constraint)

        monkeypatch.setattr(compiler, "_compile", recorded)


def test_a_slow_grammar_asked_for_twice_takes_one_thread(
    compiler: GrammarCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = _SlowGrammar(compiler, monkeypatch)
    waiters = [compiler.compile(script.slow) for _ in range(4)]
    other = compiler.compile(Constraint(ConstraintKind.REGEX, "[a-c]{1,41}"))
    assert _admitted(other.result(timeout=60)) == set(b"abc")
    assert not any(waiter.done() for waiter in waiters)
    script.release.set()
    matchers = [waiter.result(timeout=60) for waiter in waiters]
    matchers[0].accept(ord("s"))
    assert [_admitted(one) for one in matchers] == [set(b"l"), *[set(b"s")] * 3]
    assert script.compiled.count(script.slow.text) == 1


def test_what_nobody_waits_for_any_more_is_not_compiled(
    compiler: GrammarCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = _SlowGrammar(compiler, monkeypatch)
    release = threading.Event()
    blockers = [compiler._threads.submit(release.wait, 10) for _ in range(2)]
    given_up = compiler.compile(Constraint(ConstraintKind.REGEX, "given up"))
    shared = [compiler.compile(Constraint(ConstraintKind.REGEX, "shared")) for _ in range(2)]
    assert given_up.cancel()
    assert shared[0].cancel()
    release.set()
    assert all(blocker.result() for blocker in blockers)
    assert _admitted(shared[1].result(timeout=60)) == set(b"s")
    assert script.compiled == ["shared"]


def test_what_is_kept_is_bounded_by_what_it_takes(compiler: GrammarCompiler) -> None:
    padding = {"examples": ["x" * 4000] * 10}
    texts = [json.dumps({"const": number, **padding}) for number in range(20)]
    texts += [json.dumps({"pattern": f"^a{{{10_000 + number}}}$"}) for number in range(30)]
    texts += [json.dumps({"const": number}) for number in range(80)]
    outcomes = compiler._outcomes
    for text in texts:
        _matcher(compiler, ConstraintKind.JSON_SCHEMA, text)
        assert outcomes._weight <= 1 << 19
        assert sum("^a{" in one.text for one in outcomes._by_constraint) <= 17
    kept = outcomes._by_constraint
    assert sum(weight for _, weight in kept.values()) == outcomes._weight
    assert len(kept) == 64
    assert texts[-1] in {constraint.text for constraint in kept}
