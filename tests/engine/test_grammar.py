"""Grammars: what they admit, when they end, and how unusable ones are told."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gateway.core.generation import Constraint, ConstraintKind
from gateway.engine.worker.grammar import GrammarCompiler, Matcher, UnusableGrammar
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
    return compiler.compile(Constraint(kind, text)).result(timeout=10)


def _admitted(matcher: Matcher) -> set[int]:
    allowed = matcher.allowed()
    mask = allowed.mask()
    assert mask.shape == (_VOCAB_SIZE,)
    admitted = set(np.flatnonzero(mask).tolist())
    assert admitted == {id_ for id_ in range(_VOCAB_SIZE) if allowed.admits(id_)}
    return admitted


def test_a_regex_admits_its_letters_and_ends(compiler: GrammarCompiler) -> None:
    matcher = _matcher(compiler, ConstraintKind.REGEX, "[ab]x")
    assert _admitted(matcher) == set(b"ab")
    assert matcher.accept(ord("b"))
    assert _admitted(matcher) == set(b"x")
    assert not matcher.is_done
    assert matcher.accept(ord("x"))
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
    assert not matcher.accept(ord("z"))
    assert matcher.error


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ConstraintKind.JSON_SCHEMA, '{"type": "objekt"}'),
        (ConstraintKind.JSON_SCHEMA, "{bad"),
        (ConstraintKind.JSON_SCHEMA, "[]"),
        (ConstraintKind.REGEX, "("),
        (ConstraintKind.LARK, "start: nothing"),
        (ConstraintKind.LARK, "start: <nowhere>"),
        (ConstraintKind.REGEX, "a" * 300_000),
    ],
)
def test_unusable_grammars_are_told_in_one_line(
    compiler: GrammarCompiler, kind: ConstraintKind, text: str
) -> None:
    with pytest.raises(UnusableGrammar) as caught:
        _matcher(compiler, kind, text)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


def test_compiling_does_not_hold_up_the_caller(compiler: GrammarCompiler) -> None:
    release = threading.Event()
    blocker = compiler._thread.submit(release.wait, 10)
    future = compiler.compile(Constraint(ConstraintKind.REGEX, "[a-z]{1,40}"))
    assert not future.done()
    release.set()
    assert _admitted(future.result(timeout=10)) == set(range(ord("a"), ord("z") + 1))
    assert blocker.result()
