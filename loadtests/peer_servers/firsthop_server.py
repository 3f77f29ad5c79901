"""Our voice worker, and beside it, as a site's conversations are, what says back what it hears."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import uvloop

from gateway.core.voice_line import HEARD_HZ, SAID_HZ, WINDOW_S, CallerSound
from gateway.media.client import VoiceWorkers
from gateway.media.frames import Start
from gateway.speech.resample import Resampler
from loadtests.peer_servers.offers import serve_offers

if TYPE_CHECKING:
    from gateway.media.lines import CallLine


async def _echo(line: CallLine) -> None:
    """One utterance that goes on for the whole call, as the caller's speech does."""
    resampler = Resampler(HEARD_HZ, SAID_HZ, is_live=True)
    async for event in line.events():
        if isinstance(event, CallerSound) and event.pcm:
            num_bytes = 2 * round(HEARD_HZ * WINDOW_S) * len(event.speech)
            # What led up to the speech would keep the echo late for ever.
            line.say(1, resampler.feed(event.pcm[-num_bytes:]))


async def _main() -> None:
    start = Start("127.0.0.1", 0, calls_per_s=1000.0)
    async with VoiceWorkers([start]) as workers, asyncio.TaskGroup() as tasks:

        async def answer(offer: str) -> str:
            line, sdp = await workers.accept(offer)
            tasks.create_task(_echo(line))
            return sdp

        await serve_offers(answer)


if __name__ == "__main__":
    uvloop.run(_main())
