"""A TCP connection's way between two sites that can be cut, mended and broken."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK_BYTES = 1 << 16


class Cable:
    """A relay in a thread of its own; all it carries goes to one port of this machine."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._writers: set[asyncio.StreamWriter] = set()
        self._is_whole = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="cable", daemon=True)
        self._is_ready = threading.Event()
        self.port = 0

    @classmethod
    @contextmanager
    def to(cls, target_port: int) -> Iterator[Self]:
        """A whole one, until the context is left."""
        cable = cls(target_port)
        cable._thread.start()
        cable._is_ready.wait()
        try:
            yield cable
        finally:
            cable._do(cable._loop.stop)
            cable._thread.join()

    def cut(self) -> None:
        """Carry nothing any more, and say so to nobody: what is under way waits."""
        self._do(self._is_whole.clear)

    def mend(self) -> None:
        """Carry again, first what has waited."""
        self._do(self._is_whole.set)

    def snap(self) -> None:
        """End what is connected now, as when the other machine is reset; new connections work."""
        self._do(self._abort)

    def _do(self, deed: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(deed)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._is_whole.set()
        server = self._loop.run_until_complete(asyncio.start_server(self._connect, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        self._loop.run_forever()
        server.close()
        self._abort()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    async def _connect(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            await self._is_whole.wait()
            far, on = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            back.transport.abort()
            return
        self._writers |= {back, on}
        try:
            async with asyncio.TaskGroup() as pumping:
                pumping.create_task(self._pump(near, on))
                pumping.create_task(self._pump(far, back))
        finally:
            self._writers -= {back, on}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                await self._is_whole.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
