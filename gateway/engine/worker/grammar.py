"""Holds answers to a grammar, with llguidance.

Grammars come from outside and may be hostile. What would take too long to compile is refused
before (`grammar_size`). What takes some time happens in threads of its own: compiling, and a trial
of the first masks, which shows whether anything can be written at all and at what price. A step
only asks for the next mask and reports the token that was drawn; what that may cost is bounded for
each answer. llguidance is imported when the first grammar arrives.
"""

from __future__ import annotations

import re
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from random import Random
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from gateway.core.budget import TurnClass
from gateway.core.errors import EngineFault
from gateway.core.generation import ConstraintKind
from gateway.engine.worker.compile_queue import CompileQueue
from gateway.engine.worker.grammar_size import source_bytes, why_too_large, written_out

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from llguidance import LLParserLimits
    from llguidance._lib import JsonCompileOptions
    from numpy.typing import NDArray

    from gateway.core.generation import Constraint

MASK_BUDGET_S = 0.005
"""CPU time that a mask of one answer may take on average. Usual ones take 0.05 ms."""

_BURST_MASKS = 8  # a few expensive ones, where the grammar is entered anew, are no offence
_TRIAL_TOKENS = 8
_TRIAL_SEED = 0
_NUM_THREADS = 2  # so that one grammar that takes long does not keep the next one waiting
_MAX_NUM_KEPT = 64
_MAX_KEPT_WEIGHT = 1 << 19  # in units of some hundred bytes
_MAX_REASON_CHARS = 300
_UNSATISFIABLE = "no text can satisfy it"
_FRAME = re.compile(r"\Aat \d+\(\d+\): |\n(?:<| +\d+ \| ).*", re.DOTALL)
"""What llguidance puts around a reason: the place in the grammar, which is ours, and its lines."""
# As Python's json.dumps writes, or compact: given the choice, a weak model fills up with blanks.
_JSON_OPTIONS: JsonCompileOptions = {
    "whitespace_flexible": False,
    "item_separator": ", ?",
    "key_separator": ": ?",
}


class UnusableGrammar(EngineFault):
    """The constraint cannot be used; the text says why, in one line."""


class AllowedTokens:
    """A set of token ids, one bit for each, lowest bit first."""

    def __init__(self, bits: bytes, vocab_size: int) -> None:
        self._bits = bits
        self._vocab_size = vocab_size

    @property
    def is_empty(self) -> bool:
        """Whether no token is in the set."""
        return self._bits.count(0) == len(self._bits)

    def among(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these token ids i64[n] are in the set."""
        bits = np.frombuffer(self._bits, np.uint8)
        known = ids >> 3 < len(bits)
        held = bits[np.where(known, ids >> 3, 0)] >> (ids & 7).astype(np.uint8) & 1
        return held.astype(np.bool_) & known

    def mask(self) -> NDArray[np.bool_]:
        """The set as bool[V]."""
        bits = np.frombuffer(self._bits, np.uint8)
        mask = np.unpackbits(bits, bitorder="little")[: self._vocab_size].view(np.bool_)
        if len(mask) < self._vocab_size:
            mask = np.pad(mask, (0, self._vocab_size - len(mask)))
        return mask


class Matcher:
    """Where one answer stands in its grammar, and what that has cost."""

    def __init__(self, matcher: Any, vocab_size: int) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._num_masks = 0
        self._spent_s = 0.0

    @property
    def is_done(self) -> bool:
        """Whether the grammar admits nothing more."""
        return bool(self._matcher.is_stopped())

    @property
    def error(self) -> str:
        """Why matching had to be given up, or nothing."""
        reason = _FRAME.sub("", str(self._matcher.get_error()))
        return _UNSATISFIABLE if reason.startswith("NoExtension") else _one_line(reason)

    def admits(self, token_id: int) -> bool:
        """Whether one token may come next; much cheaper than to ask which ones may.

        Of an end token it may say no where `allowed` has it (llguidance 1.9). Raises
        UnusableGrammar when following the grammar costs too much.
        """
        began_s = time.thread_time()
        num_valid = self._matcher.validate_tokens([token_id])
        self._spend(time.thread_time() - began_s)
        return bool(num_valid == 1)

    def allowed(self) -> AllowedTokens:
        """Which tokens may come next.

        Raises UnusableGrammar when the grammar leads nowhere or its masks cost too much.
        """
        began_s = time.thread_time()
        allowed = AllowedTokens(self._matcher.compute_bitmask(), self._vocab_size)
        self._spend(time.thread_time() - began_s)
        if self._matcher.is_error() or allowed.is_empty:
            raise UnusableGrammar(self.error or _UNSATISFIABLE)
        return allowed

    def accept(self, token_id: int) -> None:
        """Go on by one token.

        Raises UnusableGrammar when the grammar does not admit it, or grew too large on the way.
        """
        if not self._matcher.consume_token(token_id):
            raise UnusableGrammar(f"it broke off: {self.error}")

    def fork(self) -> Matcher:
        """A matcher in the same place that goes its own way."""
        return Matcher(self._matcher.deep_copy(), self._vocab_size)

    def _spend(self, took_s: float) -> None:
        self._num_masks += 1
        self._spent_s += took_s
        if self._spent_s > MASK_BUDGET_S * (self._num_masks + _BURST_MASKS):
            mean_ms = self._spent_s / self._num_masks * 1e3
            raise UnusableGrammar(
                f"it takes {mean_ms:.0f} ms to follow at each token; "
                f"{MASK_BUDGET_S * 1e3:.0f} ms are allowed"
            )


class GrammarCompiler:
    """Compiles constraints for one tokenizer, off the caller's thread."""

    def __init__(self, tokenizer_path: Path, vocab_size: int, end_token_ids: Sequence[int]) -> None:
        self._tokenizer_path = tokenizer_path
        self._vocab_size = vocab_size
        self._end_token_ids = list(end_token_ids)
        self._threads = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="grammar")
        self._lock = Lock()
        self._queue: CompileQueue[Matcher] = CompileQueue()
        self._outcomes = _Outcomes()

    def compile(
        self, constraint: Constraint, turn_class: TurnClass = TurnClass.VOICE
    ) -> Future[Matcher]:
        """A matcher at the grammar's beginning; at once for a grammar that is known.

        Cancelling the future before it is begun saves the work, unless others wait for the same.
        The future raises UnusableGrammar, and EngineFault when llguidance cannot serve this model.
        """
        waiter: Future[Matcher] = Future()
        with self._lock:
            outcome = self._outcomes.get(constraint)
            if outcome is None:
                self._queue.add(constraint, turn_class, waiter)
        if outcome is None:
            self._threads.submit(self._compile_next)
        else:
            _settle(waiter, outcome)
        return waiter

    def close(self) -> None:
        """Let the threads end; what was not begun is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _compile_next(self) -> None:
        """Compile one grammar, if any still needs it, and tell all who wait for it."""
        with self._lock:
            constraint = self._queue.begin_next()
        if constraint is None:
            return
        outcome = self._outcome(constraint)
        with self._lock:
            self._outcomes.keep(constraint, outcome)
            waiters = self._queue.end(constraint)
        for waiter in waiters:
            _settle(waiter, outcome)

    def _outcome(self, constraint: Constraint) -> _Outcome:
        try:
            if reason := why_too_large(constraint):
                return UnusableGrammar(reason)
            matcher = self._compile(constraint)
            _try_out(matcher)
        except UnusableGrammar as error:
            return error
        except BaseException as error:  # noqa: BLE001  llguidance's panics are no Exceptions
            return EngineFault(f"answers of this model cannot be constrained: {_one_line(error)}")
        return matcher

    def _compile(self, constraint: Constraint) -> Matcher:
        from llguidance import LLMatcher

        tokenizer = self._tokenizer
        try:
            match constraint.kind:
                case ConstraintKind.JSON_SCHEMA:
                    grammar = LLMatcher.grammar_from_json_schema(constraint.text, _JSON_OPTIONS)
                case ConstraintKind.REGEX:
                    grammar = LLMatcher.grammar_from_regex(constraint.text)
                case ConstraintKind.LARK:
                    grammar = LLMatcher.grammar_from_lark(constraint.text)
        except ValueError as error:
            raise UnusableGrammar(_one_line(error)) from error
        limited = LLMatcher(tokenizer, grammar, log_level=0, limits=_limits())
        matcher = Matcher(limited, self._vocab_size)
        if limited.is_error():
            raise UnusableGrammar(matcher.error)
        return matcher

    @cached_property
    def _tokenizer(self) -> Any:
        from llguidance import LLTokenizer

        return LLTokenizer(
            str(self._tokenizer_path), n_vocab=self._vocab_size, eos_token=self._end_token_ids
        )


_Outcome = Matcher | EngineFault


class _Outcomes:
    """What became of the constraints asked for last, of those too that cannot be used.

    Not shared between threads without a lock around it.
    """

    def __init__(self) -> None:
        self._by_constraint: dict[Constraint, tuple[_Outcome, float]] = {}
        self._weight = 0.0

    def get(self, constraint: Constraint) -> _Outcome | None:
        """The outcome, if there is one already."""
        kept = self._by_constraint.pop(constraint, None)
        if kept is None:
            return None
        self._by_constraint[constraint] = kept  # as the latest
        return kept[0]

    def keep(self, constraint: Constraint, outcome: _Outcome) -> None:
        """Remember an outcome; the oldest make room for it."""
        weight = _weight(constraint, outcome)
        self._by_constraint[constraint] = (outcome, weight)
        self._weight += weight
        kept = self._by_constraint
        while len(kept) > _MAX_NUM_KEPT or self._weight > _MAX_KEPT_WEIGHT:
            _, weight = kept.pop(next(iter(kept)))
            self._weight -= weight


def _weight(constraint: Constraint, outcome: _Outcome) -> float:
    """The memory an outcome takes, in units of some hundred bytes."""
    is_compiled = isinstance(outcome, Matcher)
    return source_bytes(constraint) + (3 * written_out(constraint) if is_compiled else 0)


def _settle(waiter: Future[Matcher], outcome: _Outcome) -> None:
    if not waiter.set_running_or_notify_cancel():
        return
    if isinstance(outcome, EngineFault):
        waiter.set_exception(type(outcome)(outcome.message))  # its own: raising adds to a traceback
    else:
        waiter.set_result(outcome.fork())


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split())[:_MAX_REASON_CHARS]


def _try_out(matcher: Matcher) -> None:
    """Write some random tokens that the grammar admits. Raises UnusableGrammar when that fails.

    The first mask is taken on the matcher itself: what it costs is then paid for all its forks.
    """
    matcher.allowed()
    trial = matcher.fork()
    chance = Random(_TRIAL_SEED)
    for _ in range(_TRIAL_TOKENS):
        if trial.is_done:
            break
        candidates = np.flatnonzero(trial.allowed().mask())
        trial.accept(int(candidates[chance.randrange(len(candidates))]))


def _limits() -> LLParserLimits:
    """A fraction of llguidance's own limits, which allow for grammars written with care.

    By its documentation the lexer's fuel burns at 14,000 and items are made at 20,000 a
    millisecond, and a lexer state takes up to 2 kB. 10,000 symbols (2,500 properties, or 128 tools
    of eight) compile in 0.3 s.
    """
    from llguidance import LLParserLimits

    return LLParserLimits(
        step_lexer_fuel=50_000,
        step_max_items=10_000,
        max_lexer_states=10_000,
        max_grammar_size=10_000,
        verbose_errors=False,
    )
