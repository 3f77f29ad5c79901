"""A process of this site's own that speaks frames with it.

Knows one process from its start to its end; what to do when it ends is its client's business. The
process is started by exec with one end of a socket pair and ends itself when the other end is
closed, so it cannot outlive the site.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import msgspec

from gateway.runtime.frames import FrameDecoder, FrameError, encode
from gateway.runtime.own_module import module_command, module_environment

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

_log = logging.getLogger(__name__)

_MAX_LINE_BYTES = 1 << 14
_EXIT_LIMIT_S = 2.0

_Sent = TypeVar("_Sent", bound=msgspec.Struct, contravariant=True)
_Heard = TypeVar("_Heard")


class ChildDied(Exception):
    """A process ended before it said anything; the text is its last line on stderr."""


class FramePipe(asyncio.Protocol, Generic[_Sent, _Heard]):
    """This process's end of the socket. `receive` raises ValueError for what makes no sense."""

    def __init__(
        self, decoder: FrameDecoder[_Heard], receive: Callable[[list[_Heard]], None], *, name: str
    ) -> None:
        self.receive = receive
        self.num_heard = 0
        """How often anything came."""
        self.lost = asyncio.Event()
        self._decoder = decoder
        self._name = name
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

    def hand_on(self, frames: list[_Heard]) -> None:
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

    def send(self, frame: _Sent) -> None:
        """Queue a frame; where nobody reads any more it goes nowhere."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(frame))

    def close(self) -> None:
        """Close once everything is sent."""
        if self._transport is not None:
            self._transport.close()

    def _break_off(self, error: Exception) -> None:
        _log.warning("what the %s process says makes no sense: %s", self._name, error)
        self.close()


class ChildProcess(Generic[_Sent, _Heard]):
    """A running process that has said its first frame."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        pipe: FramePipe[_Sent, _Heard],
        said: list[_Heard],
        name: str,
    ) -> None:
        self._process = process
        self._pipe = pipe
        self._said = said
        """What came before anybody listened."""
        self._name = name

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
    async def start(
        cls, module: str, first: _Sent, decoder: FrameDecoder[_Heard], *, name: str, limit_s: float
    ) -> tuple[Self, _Heard]:
        """Run `python -m MODULE --fd N`, send it `first` and wait for the first frame it says.

        What it says after that waits for `listen`. `name` is for the log. Raises ChildDied when it
        ends instead, and TimeoutError when it says nothing for `limit_s`.
        """
        loop = asyncio.get_running_loop()
        opening: asyncio.Future[_Heard] = loop.create_future()
        said: list[_Heard] = []

        def keep(frames: list[_Heard]) -> None:
            said.extend(frames)
            if not opening.done():
                opening.set_result(said.pop(0))

        pipe: FramePipe[_Sent, _Heard] = FramePipe(decoder, keep, name=name)
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *module_command(module, "--fd", str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=_environment(),
            )
        await loop.create_unix_connection(lambda: pipe, sock=ours)
        child = cls(process, pipe, said, name)
        try:
            child.send(first)
            async with asyncio.timeout(limit_s):
                return child, await child._first_frame(opening)
        except BaseException:
            await child.close()
            raise

    def listen(self, receive: Callable[[list[_Heard]], None]) -> None:
        """Have `receive` take what the process says, and what it has said since its first frame.

        It raises ValueError for frames that make no sense, which ends the connection.
        """
        self._pipe.receive = receive
        said, self._said = self._said, []
        self._pipe.hand_on(said)

    def send(self, frame: _Sent) -> None:
        """Queue a frame; to a process that is gone it goes nowhere.

        What the process does not read is kept here: whoever sends bounds it.
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
            text = line.decode(errors="replace").rstrip()
            _log.warning("%s %d: %s", self._name, self.pid, text)

    def kill(self) -> None:
        """End the process at once."""
        if self._process.returncode is None:
            self._process.kill()

    async def close(self) -> int:
        """End the process and wait for it; the exit status, negative for a signal."""
        self._pipe.close()
        try:
            async with asyncio.timeout(_EXIT_LIMIT_S):
                return await self._process.wait()
        except TimeoutError:
            self.kill()
            return await self._process.wait()

    async def _first_frame(self, opening: asyncio.Future[_Heard]) -> _Heard:
        async with asyncio.TaskGroup() as group:
            lost = group.create_task(self.lost())
            await asyncio.wait((opening, lost), return_when=asyncio.FIRST_COMPLETED)
            lost.cancel()
        if opening.done():
            return opening.result()
        last_words = await self._process.stderr.read() if self._process.stderr else b""
        lines = last_words.decode(errors="replace").strip().splitlines()
        raise ChildDied(lines[-1] if lines else "no reason")


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
    """The site's, with one thread for numpy's own algebra."""
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return module_environment(os.environ) | one_thread
