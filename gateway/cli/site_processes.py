"""The processes of a local grid: started together, started again when one ends, ended together."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
import time
from typing import TYPE_CHECKING

from gateway.core.errors import SetupError
from gateway.runtime.signals import signals
from gateway.runtime.tasks import first_cause

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.cli.grid_plan import PlannedSite

_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.5, 30.0
"""Before a site that ended is started again; doubled while it does not last."""
_LASTS_S = 30.0
_READY = b"is ready"
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


async def run_sites(sites: Sequence[PlannedSite], announce: Callable[[], None]) -> None:
    """Keep the sites running until SIGTERM or Ctrl-C, then let them drain.

    `announce` is called once, when all take requests. Raises SetupError when one does not start.
    """
    kept = [_KeptSite(site) for site in sites]
    with signals() as asked, first_cause():
        async with asyncio.TaskGroup() as tasks:
            keeping = [tasks.create_task(one.run(), name=one.site.name) for one in kept]
            starting = tasks.create_task(_announce_all(kept, announce))
            await asked.end.wait()
            starting.cancel()
            for task in keeping:
                task.cancel()
            cutting = tasks.create_task(_cut_off(kept, asked.cut))
            await asyncio.wait(keeping)
            cutting.cancel()


async def _announce_all(kept: Sequence[_KeptSite], announce: Callable[[], None]) -> None:
    for one in kept:
        await one.ready.wait()
    announce()


async def _cut_off(kept: Sequence[_KeptSite], cut: asyncio.Event) -> None:
    await cut.wait()
    for one in kept:
        one.cut_off()


class _KeptSite:
    """One site's process, and the one after it if it ends."""

    def __init__(self, site: PlannedSite) -> None:
        self.site = site
        self.ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    async def run(self) -> None:
        """Until cancelled, which ends the process in good order, or until that has ended so.

        Raises SetupError.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            started_s = time.monotonic()
            process = self._process = await self._start()
            try:
                await self._read(process)
                code = await process.wait()
            except asyncio.CancelledError:
                _send(process, signal.SIGTERM)
                await self._read(process)
                await process.wait()
                raise
            if not self.ready.is_set():
                raise SetupError(f"site {self.site.name} did not start; it says why above")
            if code == 0:
                print(f"Site {self.site.name} was told to end, and has.", file=sys.stderr)
                return
            if time.monotonic() - started_s > _LASTS_S:
                pause_s = _FIRST_PAUSE_S
            print(f"Site {self.site.name} {_how(code)}; it is started again.", file=sys.stderr)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    def cut_off(self) -> None:
        """Running turns are not waited for: the second Ctrl-C."""
        if self._process is not None:
            _send(self._process, signal.SIGINT)

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self.site.command,
            env=dict(self.site.environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which ends the others
            preexec_fn=_end_with_parent,
        )

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Take what the site prints, to its end; it says when it is ready."""
        if process.stdout is None:
            raise SetupError(f"site {self.site.name} has no output")
        async for line in process.stdout:
            if _READY in line:
                self.ready.set()
                if self._was_ready:
                    print(f"Site {self.site.name} is ready again.", file=sys.stderr)
                self._was_ready = True

    _was_ready = False


def _end_with_parent() -> None:
    """No site outlives the command that started it, however that ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _send(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        process.send_signal(number)


def _how(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
