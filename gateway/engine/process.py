"""Starts an engine process."""

from __future__ import annotations

from gateway.core.errors import EngineUnavailable
from gateway.engine.frames import Failed, Ready, SiteFrame, Start, WorkerFrame, worker_frames
from gateway.runtime.child_process import ChildDied, ChildProcess

_START_LIMIT_S = 120.0  # a large model from a cold disk


class EngineProcess(ChildProcess[SiteFrame, WorkerFrame]):
    """A running engine process that is ready for requests."""

    @classmethod
    async def spawn(cls, start: Start) -> tuple[EngineProcess, Ready]:
        """Start a process and wait until it is ready.

        Raises EngineUnavailable with the worker's own reason when it does not become ready, and
        TimeoutError.
        """
        try:
            process, opening = await cls.start(
                *("gateway.engine.worker", start, worker_frames()),
                name="engine",
                limit_s=_START_LIMIT_S,
            )
        except ChildDied as error:
            raise EngineUnavailable(
                f"the engine process ended before it was ready: {error}"
            ) from error
        if isinstance(opening, Ready):
            return process, opening
        await process.close()
        reason = opening.message if isinstance(opening, Failed) else f"it began with {opening}"
        raise EngineUnavailable(reason)
