"""What comes from a child process: frames, and lines on stderr however long they are."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.runtime.child_process import ChildDied, ChildProcess, FramePipe, lines_of
from gateway.runtime.frames import FrameDecoder, encode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class _Ask(msgspec.Struct, frozen=True, array_like=True, tag="ask"):
    text: str


class _Answer(msgspec.Struct, frozen=True, array_like=True, tag="answer"):
    text: str


def _answers() -> FrameDecoder[_Answer]:
    return FrameDecoder(msgspec.msgpack.Decoder(_Answer))


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


def _child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Have child processes run `body`, in which `fd` is their end of the socket pair."""
    child = tmp_path / "child"
    child.write_text(f"#!{sys.executable}\nimport os, sys\nfd = int(sys.argv[-1])\n{body}\n")
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))


async def _start(limit_s: float = 30.0) -> tuple[ChildProcess[_Ask, _Answer], _Answer]:
    start = ChildProcess[_Ask, _Answer].start
    return await start("any.module", _Ask("?"), _answers(), name="test", limit_s=limit_s)


def test_what_follows_the_first_frame_at_once_is_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, more = _Answer("first"), _Answer("more")
    said = encode(first) + encode(more)
    _child(tmp_path, monkeypatch, f"os.write(fd, {said!r})\nwhile os.read(fd, 4096): pass")

    async def main() -> None:
        child, opening = await _start()
        heard: list[_Answer] = []
        child.listen(heard.extend)
        assert (opening, heard) == (first, [more])
        assert await child.close() == 0  # it was told by the end of its socket

    asyncio.run(main())


def test_a_child_that_ends_before_it_speaks_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _child(tmp_path, monkeypatch, "print('no such device', file=sys.stderr)")
    with pytest.raises(ChildDied, match="no such device"):
        asyncio.run(_start())


def test_a_child_that_says_nothing_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _child(tmp_path, monkeypatch, "while os.read(fd, 4096): pass")
    with pytest.raises(TimeoutError):
        asyncio.run(_start(limit_s=0.2))


@pytest.mark.parametrize("said", [b"\xff\xff\xff\xff", encode(_Ask("of the other direction"))])
def test_bytes_that_make_no_sense_end_the_connection(said: bytes) -> None:
    async def main() -> None:
        heard: list[_Answer] = []
        pipe, theirs = await _pipe(heard.extend)
        with theirs:
            theirs.sendall(encode(_Answer("with it")) + said)
            async with asyncio.timeout(30.0):
                await pipe.lost.wait()
        assert heard == []
        pipe.send(_Ask("goes nowhere"))

    asyncio.run(main())


def test_frames_that_the_receiver_cannot_use_end_the_connection() -> None:
    def refuse(_: list[_Answer]) -> None:
        raise ValueError("tokens are missing")

    async def main() -> None:
        pipe, theirs = await _pipe(refuse)
        with theirs:
            theirs.sendall(encode(_Answer("no")))
            async with asyncio.timeout(30.0):
                await pipe.lost.wait()

    asyncio.run(main())


async def _pipe(
    receive: Callable[[list[_Answer]], None],
) -> tuple[FramePipe[_Ask, _Answer], socket.socket]:
    ours, theirs = socket.socketpair()
    pipe: FramePipe[_Ask, _Answer] = FramePipe(_answers(), receive, name="test")
    await asyncio.get_running_loop().create_unix_connection(lambda: pipe, sock=ours)
    return pipe, theirs
