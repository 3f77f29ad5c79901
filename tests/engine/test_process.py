"""What comes from an engine process: frames, and lines on stderr however long they are."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from gateway.engine.frames import Failed, Shutdown, encode
from gateway.engine.process import EnginePipe, lines_of

if TYPE_CHECKING:
    from gateway.engine.frames import WorkerFrame


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


@pytest.mark.parametrize("said", [b"\xff\xff\xff\xff", encode(Shutdown())])
def test_bytes_that_make_no_sense_end_the_connection(said: bytes) -> None:
    async def main() -> None:
        ours, theirs = socket.socketpair()
        heard: list[list[WorkerFrame]] = []
        loop = asyncio.get_running_loop()
        _, pipe = await loop.create_unix_connection(lambda: EnginePipe(heard.append), sock=ours)
        with theirs:
            theirs.sendall(encode(Failed("no")) + said)
            async with asyncio.timeout(5.0):
                await pipe.lost.wait()
        assert heard == []
        pipe.send(Shutdown())  # goes nowhere

    asyncio.run(main())


def test_frames_that_the_site_cannot_use_end_the_connection() -> None:
    def refuse(_: list[WorkerFrame]) -> None:
        raise ValueError("tokens are missing")

    async def main() -> None:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, pipe = await loop.create_unix_connection(lambda: EnginePipe(refuse), sock=ours)
        with theirs:
            theirs.sendall(encode(Failed("no")))
            async with asyncio.timeout(5.0):
                await pipe.lost.wait()

    asyncio.run(main())
