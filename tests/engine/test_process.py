"""What comes from an engine process: frames, and lines on stderr however long they are."""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from gateway.core.generation import EngineLoad
from gateway.engine.frames import Failed, Load, Ready, Shutdown, Start, encode
from gateway.engine.process import EnginePipe, WorkerProcess, lines_of

if TYPE_CHECKING:
    from pathlib import Path

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


def test_what_follows_ready_at_once_is_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = EngineLoad(0.0, 8, 0, 0.001, 0.01, 9.0, 9.0)
    ready, more = Ready(512, 256, 8, 0.0, load), Load(load, 0)
    (tmp_path / "said").write_bytes(encode(ready) + encode(more))
    hasty = tmp_path / "hasty"
    hasty.write_text(
        f"#!{sys.executable}\n"
        "import os, pathlib, sys\n"
        "fd = int(sys.argv[-1])\n"
        "os.write(fd, pathlib.Path(__file__).with_name('said').read_bytes())\n"
        "while os.read(fd, 4096): pass\n"
    )
    hasty.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hasty))

    async def main() -> None:
        worker, opening = await WorkerProcess.spawn(Start(""))
        heard: list[WorkerFrame] = []
        worker.listen(heard.extend)
        assert (opening, heard) == (ready, [more])
        await worker.close()

    asyncio.run(main())


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
