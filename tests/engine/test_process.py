"""What an engine process says on stderr, however long its lines are."""

from __future__ import annotations

import asyncio

from gateway.engine.process import lines_of


def _read(*pieces: bytes) -> list[bytes]:
    async def main() -> list[bytes]:
        reader = asyncio.StreamReader()
        for piece in pieces:
            reader.feed_data(piece)
        reader.feed_eof()
        return [line async for line in lines_of(reader)]

    return asyncio.run(main())


def test_lines_come_one_by_one_and_the_last_needs_no_end() -> None:
    assert _read(b"one\ntw", b"o\n\nthree") == [b"one", b"two", b"", b"three"]


def test_a_line_without_an_end_comes_in_pieces() -> None:
    endless = b"x" * 200_000
    lines = _read(endless + b"\nafter\n")
    assert b"".join(lines[:-1]) == endless
    assert max(map(len, lines)) < 1 << 16
    assert lines[-1] == b"after"
