"""Holds answers to a grammar, with llguidance.

Compiling a grammar may take long, so it happens in a thread of its own; a step only asks for the
next mask and reports the token that was drawn. llguidance is imported when the first grammar
arrives.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gateway.core.generation import ConstraintKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from llguidance._lib import JsonCompileOptions
    from numpy.typing import NDArray

    from gateway.core.generation import Constraint

MAX_GRAMMAR_CHARS = 1 << 18
_MAX_NUM_COMPILED = 128
# Without a bound, a weak model fills the answer with blanks.
_JSON_OPTIONS: JsonCompileOptions = {"whitespace_pattern": r"[\x20\x0A\x0D\x09]{1,16}"}


class UnusableGrammar(Exception):
    """The constraint cannot be compiled; the text is llguidance's reason, in one line."""


class AllowedTokens:
    """A set of token ids, one bit for each, lowest bit first."""

    def __init__(self, bits: bytes, vocab_size: int) -> None:
        self._bits = bits
        self._vocab_size = vocab_size

    def admits(self, token_id: int) -> bool:
        """Whether one token is in the set."""
        byte, bit = divmod(token_id, 8)
        return byte < len(self._bits) and bool(self._bits[byte] >> bit & 1)

    def mask(self) -> NDArray[np.bool_]:
        """The set as bool[V]."""
        bits = np.frombuffer(self._bits, np.uint8)
        mask = np.unpackbits(bits, bitorder="little")[: self._vocab_size].view(np.bool_)
        if len(mask) < self._vocab_size:
            mask = np.pad(mask, (0, self._vocab_size - len(mask)))
        return mask


class Matcher:
    """Where one answer stands in its grammar."""

    def __init__(self, matcher: Any, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size

    @property
    def is_done(self) -> bool:
        """Whether the grammar admits nothing more."""
        return bool(self._matcher.is_stopped())

    @property
    def error(self) -> str:
        """Why matching had to be given up, or nothing."""
        return " ".join(str(self._matcher.get_error()).split())

    def allowed(self) -> AllowedTokens:
        """Which tokens may come next."""
        return AllowedTokens(self._matcher.compute_bitmask(), self._vocab_size)

    def accept(self, token_id: int) -> bool:
        """Go on by one token; False when the grammar does not admit it."""
        return bool(self._matcher.consume_token(token_id))

    def fork(self) -> Matcher:
        """A matcher in the same place that goes its own way."""
        return Matcher(self._matcher.deep_copy(), self._vocab_size)


class GrammarCompiler:
    """Compiles constraints for one tokenizer, one at a time, off the caller's thread."""

    def __init__(self, tokenizer_path: Path, vocab_size: int, end_token_ids: Sequence[int]) -> None:
        self._tokenizer_path = tokenizer_path
        self._vocab_size = vocab_size
        self._end_token_ids = list(end_token_ids)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="grammar")
        self._compiled: dict[Constraint, Matcher] = {}

    def compile(self, constraint: Constraint) -> Future[Matcher]:
        """A matcher at the grammar's beginning. The future raises UnusableGrammar."""
        return self._thread.submit(self._matcher, constraint)

    def close(self) -> None:
        """Let the thread end; what was not begun is dropped."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _matcher(self, constraint: Constraint) -> Matcher:
        compiled = self._compiled.pop(constraint, None)
        if compiled is None:
            compiled = self._compile(constraint)
        self._compiled[constraint] = compiled
        if len(self._compiled) > _MAX_NUM_COMPILED:
            del self._compiled[next(iter(self._compiled))]
        return compiled.fork()

    def _compile(self, constraint: Constraint) -> Matcher:
        from llguidance import LLMatcher

        if len(constraint.text) > MAX_GRAMMAR_CHARS:
            raise UnusableGrammar(f"it is longer than {MAX_GRAMMAR_CHARS} characters")
        try:
            match constraint.kind:
                case ConstraintKind.JSON_SCHEMA:
                    grammar = LLMatcher.grammar_from_json_schema(constraint.text, _JSON_OPTIONS)
                case ConstraintKind.REGEX:
                    grammar = LLMatcher.grammar_from_regex(constraint.text)
                case ConstraintKind.LARK:
                    grammar = LLMatcher.grammar_from_lark(constraint.text)
        except ValueError as error:
            raise UnusableGrammar(" ".join(str(error).split())) from error
        matcher = Matcher(LLMatcher(self._tokenizer, grammar, log_level=0), self._vocab_size)
        if matcher.error:
            raise UnusableGrammar(matcher.error)
        return matcher

    @cached_property
    def _tokenizer(self) -> Any:
        from llguidance import LLTokenizer

        return LLTokenizer(
            str(self._tokenizer_path), n_vocab=self._vocab_size, eos_token=self._end_token_ids
        )
