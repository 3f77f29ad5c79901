"""Starts an engine process and speaks frames with it.

Knows one process from its start to its end; what to do when it ends is the client's business.
The process is started by exec with one end of a socket pair and ends itself when the other end
is closed, so it cannot outlive the site.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import gateway
from gateway.core.errors import EngineUnavailable
from gateway.engine.frames import Failed, FrameError, Ready, Shutdown, encode, worker_frames

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.engine.frames import SiteFrame, Start, WorkerFrame

_log = logging.getLogger(__name__)

_RECEIVE_BYTES = 1 << 18
_MAX_LINE_BYTES = 1 << 14
_START_LIMIT_S = 120.0  # a large model from a cold disk
_EXIT_LIMIT_S = 2.0


class WorkerProcess:
    """A running engine process that is ready for requests."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._decoder = worker_frames()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @classmethod
    async def spawn(cls, start: Start) -> tuple[WorkerProcess, Ready]:
        """Start a process and wait until it is ready.

        Raises EngineUnavailable with the worker's own reason when it does not become ready.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "gateway.engine.worker"),
                *("--fd", str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=_environment(),
            )
        worker = cls(process, *await asyncio.open_unix_connection(sock=ours))
        try:
            worker.send(start)
            async with asyncio.timeout(_START_LIMIT_S):
                ready = await worker._ready()
        except BaseException:
            await worker.close()
            raise
        return worker, ready

    def send(self, frame: SiteFrame) -> None:
        """Queue a frame; to a process that is gone it goes nowhere.

        What the process does not read is kept here, as much as the site admits turns.
        """
        if not self._writer.is_closing():
            self._writer.write(encode(frame))

    async def receive(self) -> list[WorkerFrame]:
        """The next frames; none when the process is gone or its bytes make no sense."""
        frames: list[WorkerFrame] = []
        while not frames:
            try:
                data = await self._reader.read(_RECEIVE_BYTES)
                frames = self._decoder.feed(data)
            except (ConnectionError, FrameError) as error:
                _log.warning("engine %d: connection lost: %s", self.pid, error)
                return []
            if not data:
                return []
        return frames

    async def log_stderr(self) -> None:
        """Pass what the process says on to the log, until it ends."""
        if self._process.stderr is None:
            return
        async for line in lines_of(self._process.stderr):
            _log.warning("engine %d: %s", self.pid, line.decode(errors="replace").rstrip())

    def kill(self) -> None:
        """End the process at once."""
        if self._process.returncode is None:
            self._process.kill()

    async def close(self) -> int:
        """End the process and wait for it; the exit status, negative for a signal."""
        self.send(Shutdown())
        self._writer.close()
        try:
            async with asyncio.timeout(_EXIT_LIMIT_S):
                return await self._process.wait()
        except TimeoutError:
            self.kill()
            return await self._process.wait()

    async def _ready(self) -> Ready:
        match await self.receive():
            case [Ready() as ready, *_]:
                return ready
            case [Failed(message), *_]:
                raise EngineUnavailable(message)
        last_words = await self._process.stderr.read() if self._process.stderr else b""
        lines = last_words.decode(errors="replace").strip().splitlines()
        raise EngineUnavailable(
            f"the engine process ended before it was ready: {lines[-1] if lines else 'no reason'}"
        )


async def lines_of(reader: asyncio.StreamReader) -> AsyncGenerator[bytes, None]:
    """What is read, line by line; a line that does not end comes in pieces."""
    begun = b""
    while data := await reader.read(_MAX_LINE_BYTES):
        *lines, begun = (begun + data).split(b"\n")
        for line in lines:
            yield line
        if len(begun) >= _MAX_LINE_BYTES:
            yield begun
            begun = b""
    if begun:
        yield begun


def _environment() -> dict[str, str]:
    """The site's, with this package importable and one thread for numpy's own algebra."""
    root = str(Path(gateway.__file__).parent.parent)
    path = os.environ.get("PYTHONPATH")
    return os.environ | {
        "PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root,
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
