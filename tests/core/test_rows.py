"""The row table: compact decoding rows, closed holes, moves as data."""

from __future__ import annotations

from gateway.core.rows import Move, RowTable, check_rows


def _decoding_table(*lengths: int, num_slots: int = 4) -> RowTable:
    """A table whose key k decodes in row k with the given length."""
    table = RowTable(num_slots)
    for key, length in enumerate(lengths):
        table.take(key)
        table.grow(key, length)
        assert table.start_decoding(key) == []
    return table


def test_a_lone_prefill_decodes_where_it_is() -> None:
    table = _decoding_table(5, 7)
    assert table.decoding == (0, 1)
    assert table.num_free == 2
    assert check_rows(table) == []


def test_the_last_decoding_row_fills_the_hole() -> None:
    table = _decoding_table(5, 7, 9)
    assert table.release(0) == [Move(src=2, dst=0, num_tokens=9)]
    assert table.decoding == (2, 1)
    assert check_rows(table) == []


def test_releasing_the_last_decoding_row_moves_nothing() -> None:
    table = _decoding_table(5, 7)
    assert table.release(1) == []
    assert table.decoding == (0,)


def test_a_prefill_that_ends_above_a_hole_comes_down() -> None:
    table = _decoding_table(5, 7)
    table.take(9)
    table.grow(9, 3)
    table.release(1)
    assert table.start_decoding(9) == [Move(src=2, dst=1, num_tokens=3)]
    assert table.decoding == (0, 9)


def test_an_overtaken_prefill_makes_room_even_in_a_full_table() -> None:
    table = _decoding_table(5, 7)
    table.take(8)
    table.grow(8, 2)
    table.take(9)
    table.grow(9, 4)
    assert table.num_free == 0
    assert table.start_decoding(9) == [
        Move(src=2, dst=4, num_tokens=2),
        Move(src=3, dst=2, num_tokens=4),
    ]
    assert table.decoding == (0, 1, 9)
    assert table.row_of[8] == 4
    assert check_rows(table) == []


def test_the_check_sees_a_shared_row_and_a_hole() -> None:
    table = _decoding_table(5, 7)
    table.holders[0] = 1
    assert "a key holds two rows" in check_rows(table)
    table = _decoding_table(5, 7)
    table.holders[0] = None
    assert "a hole or a parked key among the decoding rows" in check_rows(table)


def test_a_parked_row_makes_way_for_decoding_ones_and_keeps_its_tokens() -> None:
    table = _decoding_table(5, 7)
    assert table.park(0, -1, 4) == [Move(0, 2, 4), Move(1, 0, 7)]
    assert (table.decoding, table.num_free, table.lengths) == ((1,), 3, [7, 0, 4, 0, 0])
    assert check_rows(table) == []


def test_a_row_parked_at_the_end_is_inherited_without_a_move() -> None:
    table = _decoding_table(5, 7)
    assert table.park(1, -1, 6) == []
    table.inherit(9, -1, 4)
    assert table.start_decoding(9) == []
    assert (table.decoding, table.lengths[:2], table.num_free) == ((0, 9), [5, 4], 2)
    assert check_rows(table) == []


def test_keys_taken_together_get_the_rows_right_above_the_decoding_ones() -> None:
    table = _decoding_table(5, 7, 9, num_slots=5)
    table.park(1, -1, 6)
    assert table.take_together([7, 8]) == [Move(3, 4, 6)]
    assert [table.row_of[key] for key in (7, 8)] == [2, 3]
    assert check_rows(table) == []
