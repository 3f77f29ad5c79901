"""Which KV row belongs to which generation.

The KV cache is an array of rows, one generation each. Decoding rows are always 0..n-1 without a
hole, so that one batched decode step is a view of the array's beginning and idle rows cost
nothing; rows being prefilled live above them, and so do parked ones, whose generation is over but
whose keys and values may serve another. Holes are closed by copying rows; the copies are returned
as data, in the order in which they must happen.

At most all rows but one are held, so that a move always finds a free destination.
"""

from __future__ import annotations

from typing import NamedTuple, cast


class Move(NamedTuple):
    """Copy the first `num_tokens` positions of KV row `src` over those of row `dst`."""

    src: int
    dst: int
    num_tokens: int


class RowTable:
    """Rows by key. A key holds one row, a row at most one key."""

    def __init__(self, num_slots: int, num_spare_rows: int = 0) -> None:
        """`num_spare_rows` can be parked beside `num_slots` running generations."""
        self.num_slots = num_slots
        self.num_decoding = 0
        num_rows = num_slots + num_spare_rows + 1
        self.holders: list[int | None] = [None] * num_rows
        self.lengths: list[int] = [0] * num_rows
        """Valid KV positions by row; 0 where the row is free."""
        self.row_of: dict[int, int] = {}
        self.parked: set[int] = set()

    @property
    def num_active(self) -> int:
        """Keys in a slot, prefilling or decoding."""
        return len(self.row_of) - len(self.parked)

    @property
    def num_free(self) -> int:
        """Slots without a holder."""
        return self.num_slots - len(self.row_of) + len(self.parked)

    @property
    def num_takeable(self) -> int:
        """Rows that can be taken before a parked one must be freed."""
        return len(self.holders) - 1 - len(self.row_of)

    @property
    def free_row(self) -> int:
        """A row nobody holds; there always is one."""
        return self._free_row(self.num_decoding)

    @property
    def decoding(self) -> tuple[int, ...]:
        """The decoding keys; a key's place is its row."""
        return cast("tuple[int, ...]", tuple(self.holders[: self.num_decoding]))  # without a hole

    def take(self, key: int) -> int:
        """Give `key` an empty row above the decoding ones; one must be takeable."""
        row = self._free_row(self.num_decoding)
        self._place(key, row, 0)
        return row

    def take_together(self, keys: list[int]) -> list[Move]:
        """Give `keys` the rows right above the decoding ones, in order; as many must be takeable.

        Whoever is there moves up.
        """
        above = self.num_decoding + len(keys)
        moves = []
        for row in range(self.num_decoding, above):
            occupant = self.holders[row]
            if occupant is not None:
                moves.append(self._move(occupant, self._free_row(above)))
        for row, key in enumerate(keys, self.num_decoding):
            self._place(key, row, 0)
        return moves

    def inherit(self, key: int, parked: int, num_tokens: int) -> None:
        """Give `key` the row of a parked key, of which the first `num_tokens` stay valid."""
        row = self.row_of.pop(parked)
        self.parked.discard(parked)
        self._place(key, row, num_tokens)

    def grow(self, key: int, num_tokens: int) -> None:
        """Positions were appended to the key's row."""
        self.lengths[self.row_of[key]] += num_tokens

    def grow_decoding(self, num_tokens: int) -> None:
        """Positions were appended to every decoding row."""
        decoding = self.num_decoding
        self.lengths[:decoding] = [length + num_tokens for length in self.lengths[:decoding]]

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

    def park(self, key: int, parked: int, num_tokens: int) -> list[Move]:
        """Take the slot from `key`, but keep the first `num_tokens` of its row as `parked`."""
        row = self.row_of.pop(key)
        self.parked.add(parked)
        self._place(parked, row, num_tokens)
        if row >= self.num_decoding:
            return []
        self.num_decoding -= 1
        if row == self.num_decoding:
            return []
        aside = self._move(parked, self._free_row(self.num_decoding))
        return [aside, *self._fill(row)]

    def release(self, key: int) -> list[Move]:
        """Free the key's row; the last decoding row fills a hole among the decoding ones."""
        row = self.row_of.pop(key)
        self.parked.discard(key)
        self.holders[row], self.lengths[row] = None, 0
        if row >= self.num_decoding:
            return []
        self.num_decoding -= 1
        return self._fill(row)

    def _fill(self, hole: int) -> list[Move]:
        """Move the row that was the last decoding one into the hole it leaves below."""
        last = self.holders[self.num_decoding]
        return [] if last is None or hole == self.num_decoding else [self._move(last, hole)]

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
    if not table.parked <= set(held):
        violations.append("a parked key holds no row")
    if table.num_active > table.num_slots:
        violations.append(f"{table.num_active} slots taken of {table.num_slots}")
    if table.num_takeable < 0:
        violations.append("no row is left to move through")
    decoding = table.holders[: table.num_decoding]
    if any(key is None or key in table.parked for key in decoding):
        violations.append("a hole or a parked key among the decoding rows")
    if any(table.lengths[row] for row, key in enumerate(table.holders) if key is None):
        violations.append("a free row has a length")
    return violations
