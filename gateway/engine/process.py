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
    from collections.abc import AsyncGenerator, Callable

    from gateway.engine.frames import SiteFrame, Start, WorkerFrame

    Receive = Callable[[list[WorkerFrame]], None]
    """Takes frames as they come. Raises ValueError for such as make no sense."""

_log = logging.getLogger(__name__)

_MAX_LINE_BYTES = 1 << 14
_START_LIMIT_S = 120.0  # a large model from a cold disk
_EXIT_LIMIT_S = 2.0


class EnginePipe(asyncio.Protocol):
    """This site's end of the socket to an engine process."""

    def __init__(self, receive: Receive) -> None:
        self.receive = receive
        self.num_heard = 0
        """How often anything came."""
        self.lost = asyncio.Event()
        self._decoder = worker_frames()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the event loop."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Called by the event loop. Bytes that make no sense end the connection."""
        self.num_heard += 1
        try:
            frames = self._decoder.feed(data)
        except FrameError as error:
            self._break_off(error)
        else:
            self.hand_on(frames)

    def hand_on(self, frames: list[WorkerFrame]) -> None:
        """Give frames to whoever receives them. Such as make no sense end the connection."""
        try:
            if frames:
                self.receive(frames)
        except ValueError as error:
            self._break_off(error)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop."""
        self._transport = None
        self.lost.set()

    def send(self, frame: SiteFrame) -> None:
        """Queue a frame; where nobody reads any more it goes nowhere."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(frame))

    def close(self) -> None:
        """Close once everything is sent."""
        if self._transport is not None:
            self._transport.close()

    def _break_off(self, error: Exception) -> None:
        _log.warning("what the engine says makes no sense: %s", error)
        self.close()


class WorkerProcess:
    """A running engine process that is ready for requests."""

    def __init__(
        self, process: asyncio.subprocess.Process, pipe: EnginePipe, said: list[WorkerFrame]
    ) -> None:
        self._process = process
        self._pipe = pipe
        self._said = said
        """What came before anybody listened."""

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_lost(self) -> bool:
        """Whether nothing will come from it any more."""
        return self._pipe.lost.is_set()

    @property
    def num_heard(self) -> int:
        """How often anything came from it."""
        return self._pipe.num_heard

    @classmethod
    async def spawn(cls, start: Start) -> tuple[WorkerProcess, Ready]:
        """Start a process and wait until it is ready; what it says after that waits for `listen`.

        Raises EngineUnavailable with the worker's own reason when it does not become ready, and
        TimeoutError.
        """
        loop = asyncio.get_running_loop()
        opening: asyncio.Future[WorkerFrame] = loop.create_future()
        said: list[WorkerFrame] = []

        def keep(frames: list[WorkerFrame]) -> None:
            said.extend(frames)
            if not opening.done():
                opening.set_result(said.pop(0))

        pipe = EnginePipe(keep)
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
        await loop.create_unix_connection(lambda: pipe, sock=ours)
        worker = cls(process, pipe, said)
        try:
            worker.send(start)
            async with asyncio.timeout(_START_LIMIT_S):
                ready = await worker._ready(opening)
        except BaseException:
            await worker.close()
            raise
        return worker, ready

    def listen(self, receive: Receive) -> None:
        """Have `receive` take what the process says, and what it has said since it was ready."""
        self._pipe.receive = receive
        said, self._said = self._said, []
        self._pipe.hand_on(said)

    def send(self, frame: SiteFrame) -> None:
        """Queue a frame; to a process that is gone it goes nowhere.

        What the process does not read is kept here, as much as the site admits turns.
        """
        self._pipe.send(frame)

    async def lost(self) -> None:
        """Return when nothing will come from it any more."""
        await self._pipe.lost.wait()

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
        self._pipe.close()
        try:
            async with asyncio.timeout(_EXIT_LIMIT_S):
                return await self._process.wait()
        except TimeoutError:
            self.kill()
            return await self._process.wait()

    async def _ready(self, opening: asyncio.Future[WorkerFrame]) -> Ready:
        async with asyncio.TaskGroup() as group:
            lost = group.create_task(self.lost())
            await asyncio.wait((opening, lost), return_when=asyncio.FIRST_COMPLETED)
            lost.cancel()
        if opening.done():
            match opening.result():
                case Ready() as ready:
                    return ready
                case Failed(message):
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
