"""Which KV row belongs to which generation.

The KV cache is an array of rows, one generation each. Decoding rows are always 0..n-1 without a
hole, so that one batched decode step is a view of the array's beginning and idle rows cost
nothing; rows being prefilled live above them. Holes are closed by copying rows; the copies are
returned as data, in the order in which they must happen.

The table has one row more than there are slots: a move always finds a free destination.
"""

from __future__ import annotations

from typing import NamedTuple


class Move(NamedTuple):
    """Copy the first `num_tokens` positions of KV row `src` over those of row `dst`."""

    src: int
    dst: int
    num_tokens: int


class RowTable:
    """Rows by key. A key holds one row, a row at most one key."""

    def __init__(self, num_slots: int) -> None:
        self.num_slots = num_slots
        self.num_decoding = 0
        self.holders: list[int | None] = [None] * (num_slots + 1)
        self.lengths: list[int] = [0] * (num_slots + 1)
        """Valid KV positions by row; 0 where the row is free."""
        self.row_of: dict[int, int] = {}

    @property
    def num_free(self) -> int:
        """Slots without a holder."""
        return self.num_slots - len(self.row_of)

    @property
    def decoding(self) -> tuple[int, ...]:
        """The decoding keys; a key's place is its row."""
        return tuple(key for key in self.holders[: self.num_decoding] if key is not None)

    def take(self, key: int) -> int:
        """Give `key` an empty row above the decoding ones. There must be a free slot."""
        row = self._free_row(self.num_decoding)
        self._place(key, row, 0)
        return row

    def grow(self, key: int, num_tokens: int) -> None:
        """Positions were appended to the key's row."""
        self.lengths[self.row_of[key]] += num_tokens

    def start_decoding(self, key: int) -> list[Move]:
        """The key's prefill is done: bring its row down to the end of the decoding ones."""
        moves: list[Move] = []
        target = self.num_decoding
        self.num_decoding += 1
        if self.row_of[key] != target:
            occupant = self.holders[target]
            if occupant is not None:
                moves.append(self._move(occupant, self._free_row(self.num_decoding)))
            moves.append(self._move(key, target))
        return moves

    def release(self, key: int) -> list[Move]:
        """Free the key's row; the last decoding row fills a hole among the decoding ones."""
        row = self.row_of.pop(key)
        self.holders[row], self.lengths[row] = None, 0
        if row >= self.num_decoding:
            return []
        self.num_decoding -= 1
        last = self.holders[self.num_decoding]
        return [] if last is None else [self._move(last, row)]

    def _free_row(self, lowest: int) -> int:
        return self.holders.index(None, lowest)

    def _place(self, key: int, row: int, length: int) -> None:
        self.holders[row], self.lengths[row] = key, length
        self.row_of[key] = row

    def _move(self, key: int, dst: int) -> Move:
        src = self.row_of[key]
        length = self.lengths[src]
        self.holders[src], self.lengths[src] = None, 0
        self._place(key, dst, length)
        return Move(src, dst, length)


def check_rows(table: RowTable) -> list[str]:
    """Violated invariants, in words; empty for a sound table."""
    violations = []
    held = {key: row for row, key in enumerate(table.holders) if key is not None}
    if held != table.row_of:
        violations.append(f"rows {held} disagree with the index {table.row_of}")
    if sum(key is not None for key in table.holders) != len(held):
        violations.append("a key holds two rows")
    if len(held) > table.num_slots:
        violations.append(f"{len(held)} rows held, {table.num_slots} slots")
    if any(key is None for key in table.holders[: table.num_decoding]):
        violations.append("a hole among the decoding rows")
    if any(table.lengths[row] for row, key in enumerate(table.holders) if key is None):
        violations.append("a free row has a length")
    return violations
