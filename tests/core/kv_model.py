"""A model of the KV array under a scheduler: every position knows whose token it is.

`KvModel` executes plans as an engine would and holds them to what must be true: a row contains
exactly the generation's own prompt and tokens, prompts as the prompt kernel makes them.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from gateway.core.scheduling import check

if TYPE_CHECKING:
    from gateway.core.scheduling import Prefill, Scheduler, StepPlan


class Cell(NamedTuple):
    """One position: how it was computed, and a hash of the tokens up to it."""

    kernel: str
    history: int


_JUNK = Cell("junk", 0)
"""Left behind what was computed: by padding, or by a guess that did not hold."""


def histories(tokens: tuple[int, ...]) -> list[int]:
    return list(accumulate(tokens, lambda before, token: hash((before, token)), initial=0))[1:]


def prompt_cells(tokens: tuple[int, ...]) -> list[Cell]:
    return [Cell("prompt", history) for history in histories(tokens)]


class KvModel:
    """KV rows, and what is known of the generations in them."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.rows: list[list[Cell]] = [[] for _ in scheduler.table.holders]
        self.prompts: dict[int, tuple[int, ...]] = {}
        self.tokens: dict[int, list[int]] = {}
        self.expected: dict[int, int] = {}
        """How much of a waiting prompt was in the cache when it came."""
        self.num_cached = 0
        self.num_prefilled = 0
        self.num_batched = 0

    def add(self, key: int, prompt: tuple[int, ...]) -> None:
        """A prompt was queued, just now."""
        self.prompts[key], self.tokens[key] = prompt, []
        self.expected[key] = self.scheduler.cache.cached_tokens(prompt)

    def forget(self, key: int) -> None:
        del self.prompts[key], self.tokens[key]

    def pending_tokens(self, key: int) -> int:
        """Tokens of its prompt that no row of its own holds yet, nor the cache when it came."""
        if key not in self.scheduler.active:
            return len(self.prompts[key]) - self.expected[key]
        table = self.scheduler.table
        return max(0, len(self.prompts[key]) - table.lengths[table.row_of[key]])

    def execute(self, plan: StepPlan, num_steps: int = 1) -> list[int]:
        """Run a plan with so many tokens for each decoding row; the keys that drew a token, hence
        may end."""
        for key in plan.expired:
            assert not self.tokens[key]
            self.forget(key)
        for key in plan.preempted:
            self.expected[key] = 0
        for src, dst, num_tokens in plan.moves:
            assert len(self.rows[src]) >= num_tokens
            self.rows[dst][:num_tokens] = self.rows[src][:num_tokens]
        drew = []
        for row, key in enumerate(plan.decode):
            draws = [self._decode(key, row, nth) for nth in range(num_steps)]
            drew += [key] if any(draws) else []
        rows = [chunk.row for chunk in plan.prefill]
        assert rows == list(range(rows[0], rows[0] + len(rows))) if rows else True
        self.num_batched += len(rows) > 1
        for chunk in plan.prefill:
            if len(rows) > 1:
                assert (chunk.start, chunk.is_last) == (0, True)
            if self._prefill(chunk, num_decoding=len(plan.decode)):
                drew.append(chunk.key)
        return drew

    def _decode(self, key: int, row: int, nth: int) -> bool:
        prompt, tokens = self.prompts[key], self.tokens[key]
        length = self.scheduler.table.lengths[row] + nth
        known = (*prompt, *tokens)
        assert self.rows[row][:length] == self._cells(key)[:length]
        assert len(prompt) <= length < len(known)
        self.rows[row][length:] = [Cell("decode", histories(known)[length]), _JUNK]
        return self._draw(key, length + 1)

    def _prefill(self, chunk: Prefill, *, num_decoding: int) -> bool:
        prompt, grid = self.prompts[chunk.key], self.scheduler.grid_tokens
        assert chunk.row >= num_decoding
        assert chunk.start % grid == 0
        assert chunk.stop % grid == 0 or chunk.is_last
        assert chunk.is_last == (chunk.stop == len(prompt))
        assert chunk.stop > chunk.start
        assert self.rows[chunk.row][: chunk.start] == prompt_cells(prompt)[: chunk.start]
        if chunk.is_first:
            self.num_cached += chunk.start
        self.num_prefilled += chunk.stop - chunk.start
        self.rows[chunk.row][chunk.start :] = prompt_cells(prompt)[chunk.start : chunk.stop]
        return chunk.is_last and self._draw(chunk.key, len(prompt))

    def _draw(self, key: int, num_kv: int) -> bool:
        """The next token, unless it is known already and only computed again."""
        if num_kv < len(self.prompts[key]) + len(self.tokens[key]):
            return False
        self.tokens[key].append(1000 + len(self.tokens[key]))
        return True

    def _cells(self, key: int) -> list[Cell]:
        num_prompt = len(self.prompts[key])
        known = histories((*self.prompts[key], *self.tokens[key]))
        return [Cell("prompt" if at < num_prompt else "decode", h) for at, h in enumerate(known)]

    def check(self) -> None:
        """The scheduler's invariants, and that whatever the cache offers is really there."""
        assert check(self.scheduler) == []
        cache = self.scheduler.cache
        # Moves that are due are not made yet: what they carry is where they find it.
        rows = [list(row) for row in self.rows]
        for src, dst, num_tokens in self.scheduler._moves:
            rows[dst][:num_tokens] = rows[src][:num_tokens]
        for key, tokens in cache._index._tokens.items():
            row = cache.table.row_of[key]
            assert rows[row][: len(tokens)] == prompt_cells(tuple(tokens))
