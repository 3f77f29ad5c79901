"""Keeps the keys and values of prompts for whoever begins the same way.

Every prompt that was prefilled can be found by its beginning, while its generation runs and, as
long as its row is not needed, afterwards. A conversation's next turn takes the parked row over; a
prompt that shares only a part (a system prompt, a branch) gets a copy of that part.

Only what the prompt kernels computed is reused, and only up to a multiple of the block: decode
kernels round differently (measured: single-token attention differs in the last bits, prompts cut
anywhere else do not), and a cached prompt must be answered exactly like one that is not.

Which parked row goes first is decided by GreedyDual (Young 1994; Cao and Irani 1997): a row's worth
is what recomputing it would cost plus a floor that rises to the worth of each victim, so that
costly rows stay longer and unused ones age without a clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.rows import Move, RowTable, check_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gateway.core.prefix_index import PrefixIndex


class PrefixCache:
    """The rows of one engine and the prompts they hold.

    Keys of generations are not negative; parked rows get keys of their own, which are.
    """

    def __init__(self, num_slots: int, *, num_spare_rows: int, index: PrefixIndex) -> None:
        self.table = RowTable(num_slots, num_spare_rows)
        self._index = index
        self._worth: dict[int, int] = {}
        """By parked key."""
        self._floor = 0
        self._num_parked = 0

    def cached_tokens(self, prompt: Sequence[int]) -> int:
        """How much of a prompt would not have to be prefilled now."""
        return self._index.longest(self._reusable(prompt)).num_tokens

    def share_a_block(self, prompt: Sequence[int], other: Sequence[int]) -> bool:
        """Whether one prompt, once it is prefilled, saves work for the other."""
        size = self._index.block_tokens
        return len(prompt) >= size and prompt[:size] == self._reusable(other)[:size]

    def take(self, key: int, prompt: Sequence[int]) -> tuple[int, list[Move]]:
        """Give `key` a row with as much of its prompt as is held; that many tokens, and copies.

        There must be a free slot.
        """
        num_tokens, keys = self._index.longest(self._reusable(prompt))
        if not num_tokens:
            self._make_room(1)
            self.table.take(key)
            return 0, []
        moves = []
        source = self._heir_of(keys, num_tokens)
        if source is None:
            source = keys[-1]
            self._refresh(source)
            self._make_room(1, keep=source)
        if self.table.num_takeable and not self._ends_at(source, num_tokens):
            moves = [self._copy(source, key, num_tokens)]
        else:
            self._inherit(source, key, num_tokens)
        self._index.put(key, prompt[:num_tokens])
        return num_tokens, moves

    def take_together(self, keys: list[int]) -> list[Move]:
        """Give keys without cached tokens consecutive rows right above the decoding ones."""
        self._make_room(len(keys))
        return self.table.take_together(keys)

    def hold(self, key: int, tokens: Sequence[int]) -> None:
        """The key's row now has these prompt tokens, in full."""
        self._index.put(key, tokens)

    def leave(self, key: int, tokens: Sequence[int]) -> list[Move]:
        """The key gives up its slot; its row is parked if the prompt `tokens` in it are of use."""
        num_tokens = self._index.put(key, tokens)
        others = self._index.longest(tokens[:num_tokens]).keys
        if not num_tokens or others != (key,):
            return self.drop(key)
        self._num_parked += 1
        parked = -self._num_parked
        moves = self.table.park(key, parked, num_tokens)
        self._index.remove(key)
        self._index.put(parked, tokens)
        self._refresh(parked)
        return moves

    def drop(self, key: int) -> list[Move]:
        """The key gives up its slot and its row is worth nothing."""
        self._index.remove(key)
        self._worth.pop(key, None)
        return self.table.release(key)

    def _reusable(self, prompt: Sequence[int]) -> Sequence[int]:
        """What of a prompt may come from the cache: the last token's logits are needed."""
        return prompt[:-1]

    def _ends_at(self, key: int, num_tokens: int) -> bool:
        return key in self.table.parked and self._index.num_tokens(key) == num_tokens

    def _heir_of(self, keys: Collection[int], num_tokens: int) -> int | None:
        """A parked key that holds nothing but what matches, if there is one."""
        return next((key for key in keys if self._ends_at(key, num_tokens)), None)

    def _copy(self, source: int, key: int, num_tokens: int) -> Move:
        row = self.table.take(key)
        self.table.grow(key, num_tokens)
        return Move(self.table.row_of[source], row, num_tokens)

    def _inherit(self, source: int, key: int, num_tokens: int) -> None:
        self._index.remove(source)
        self._worth.pop(source, None)
        self.table.inherit(key, source, num_tokens)

    def _refresh(self, key: int) -> None:
        if key in self.table.parked:
            self._worth[key] = self._floor + self._index.num_tokens(key)

    def _make_room(self, num_rows: int, *, keep: int | None = None) -> None:
        """Free parked rows, the least worthy first, until so many can be taken.

        If only `keep` is left to free, nothing can be taken.
        """
        while self.table.num_takeable < num_rows:
            victims = self._worth.keys() - {keep}
            if not victims:
                return
            victim = min(victims, key=lambda key: (self._worth[key], key))
            self._floor = self._worth[victim]
            self.drop(victim)


def check_cache(cache: PrefixCache) -> list[str]:
    """Violated invariants, in words; empty for a sound cache."""
    table, index = cache.table, cache._index
    violations = check_rows(table)
    if cache._worth.keys() != table.parked:
        violations.append("a parked row has no worth, or a row of worth is not parked")
    for key in index._tokens:
        if key not in table.row_of:
            violations.append(f"{key} is found by its prompt but holds no row")
        elif index.num_tokens(key) > table.lengths[table.row_of[key]]:
            violations.append(f"the row of {key} is shorter than the prompt it is found by")
    return violations
