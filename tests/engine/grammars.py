"""Judges texts by a constraint with the real grammar engine, as the engine worker would."""

from __future__ import annotations

from enum import Enum
from functools import cache

from llguidance import LLMatcher, LLTokenizer
from tokenizers import Tokenizer

from gateway.core.generation import Constraint, ConstraintKind


class Verdict(Enum):
    """What a grammar says to a text."""

    WHOLE = "whole"
    """The answer may end here."""
    PARTIAL = "partial"
    """Allowed so far, but not the end."""
    REFUSED = "refused"
    """Some token of it may not be drawn."""


@cache
def _tokenizers(tokenizer_json: str, end_token: str) -> tuple[LLTokenizer, Tokenizer]:
    tokenizer = Tokenizer.from_str(tokenizer_json)
    return LLTokenizer(tokenizer_json, eos_token=tokenizer.token_to_id(end_token)), tokenizer


def judge(constraint: Constraint | None, text: str, tokenizer_json: str, end: str) -> Verdict:
    """Feed a text, markers as special tokens, to a constraint. Fails when it does not compile."""
    matcher = _fed(constraint, text, tokenizer_json, end)
    if matcher is None:
        return Verdict.REFUSED
    return Verdict.WHOLE if matcher.is_accepting() else Verdict.PARTIAL


def may_end(constraint: Constraint | None, text: str, tokenizer_json: str, end: str) -> bool:
    """Whether the answer may be this text: the grammar ends itself or lets the end token follow."""
    matcher = _fed(constraint, text, tokenizer_json, end)
    if matcher is None or not matcher.is_accepting():
        return False
    engine, _ = _tokenizers(tokenizer_json, end)
    return matcher.is_stopped() or matcher.try_consume_tokens([engine.eos_token]) == 1


def _fed(
    constraint: Constraint | None, text: str, tokenizer_json: str, end: str
) -> LLMatcher | None:
    assert constraint is not None
    grammars = {
        ConstraintKind.LARK: LLMatcher.grammar_from_lark,
        ConstraintKind.REGEX: LLMatcher.grammar_from_regex,
        ConstraintKind.JSON_SCHEMA: LLMatcher.grammar_from_json_schema,
    }
    engine, tokenizer = _tokenizers(tokenizer_json, end)
    grammar = grammars[constraint.kind](constraint.text)
    problem = LLMatcher.validate_grammar(grammar, engine)
    assert not problem, f"{problem}\n{constraint.text}"
    matcher = LLMatcher(engine, grammar)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return matcher if matcher.try_consume_tokens(ids) == len(ids) else None
