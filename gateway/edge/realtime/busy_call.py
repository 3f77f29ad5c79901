"""A call that finds all lines busy: its caller is told so, aloud and in writing, and it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.core.voice_line import PlayBegan, PlayEnded
from gateway.edge.realtime.error_events import error_event
from gateway.session import phrases
from gateway.session.voice.events import AudioEnded
from gateway.session.voice.speaker import Speaker

if TYPE_CHECKING:
    from gateway.core.call_errors import LinesBusy
    from gateway.edge.realtime.call_channel import OngoingCall
    from gateway.speech.port import Synthesiser

_LIMIT_S: Final = 30.0
"""For the caller to connect and to hear it."""
_LAST_WORD_S: Final = 0.5
"""For what lies in the caller's buffer when the last packet has left."""


async def turn_away(call: OngoingCall, busy: LinesBusy, synthesiser: Synthesiser) -> str:
    """Say it as soon as the caller can hear; returns, with the reason, once that is done."""
    heard = asyncio.Event()
    speaker = Speaker(
        call.line,
        synthesiser,
        tell=lambda event: heard.set() if isinstance(event, AudioEnded) else None,
    )
    await call.channel.send(error_event(busy))
    async with asyncio.TaskGroup() as tasks:
        beside = [tasks.create_task(speaker.run()), tasks.create_task(_follow(call, speaker))]
        answer = speaker.begin()
        speaker.add(answer, phrases.LINES_BUSY)
        speaker.finish(answer)
        try:
            async with asyncio.timeout(_LIMIT_S):
                await heard.wait()
                await asyncio.sleep(_LAST_WORD_S)
        except TimeoutError:
            pass  # nobody came to hear it
        finally:
            for task in beside:
                task.cancel()
    return busy.message


async def _follow(call: OngoingCall, speaker: Speaker) -> None:
    """Let the speaker know what was played; a caller who leaves has heard enough."""
    async for event in call.line.events():
        if isinstance(event, PlayBegan | PlayEnded):
            speaker.played(event)
    speaker.hush()
