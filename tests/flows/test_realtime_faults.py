"""Sessions outlive the parts of their site that are killed."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from openai import AsyncOpenAI

from gateway.speech.resample import Resampler
from loadtests.local_site import SiteProcess, wait_until
from loadtests.utterances import sound_of
from tests.speech.spoken_sound import require_flite

if TYPE_CHECKING:
    from openai.resources.realtime.realtime import AsyncRealtimeConnection
    from openai.types.realtime import RealtimeSessionCreateRequestParam

pytestmark = pytest.mark.voice

_EVENT_LIMIT_S = 60.0
_PIECE_BYTES = 4800
_SPEECH: RealtimeSessionCreateRequestParam = {
    "type": "realtime",
    "audio": {
        "input": {
            "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
            "transcription": {"model": "default"},
        }
    },
}


def client_of(site: SiteProcess) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{site.http}/v1", api_key="none", max_retries=0)


def children(site: SiteProcess, module: str) -> list[int]:
    """The site's processes that run a module."""
    pids = Path(f"/proc/{site.process.pid}/task/{site.process.pid}/children").read_text().split()
    return [int(pid) for pid in pids if module in Path(f"/proc/{pid}/cmdline").read_text()]


def kill(site: SiteProcess, module: str) -> None:
    pids = children(site, module)
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


async def the(connection: AsyncRealtimeConnection, kind: str) -> Any:
    """The next event of a kind."""
    async with asyncio.timeout(_EVENT_LIMIT_S):
        while True:
            event = await connection.recv()
            assert kind == "error" or event.type != "error", event
            if event.type == kind:
                return event


def speech() -> bytes:
    """A sentence as audio/pcm at 24 kHz."""
    require_flite()
    to_24_khz = Resampler(16_000, 24_000)
    return to_24_khz.feed(sound_of("pay my bill", "flite:slt")) + to_24_khz.flush()


async def feed(connection: AsyncRealtimeConnection, sound: bytes) -> None:
    for at in range(0, len(sound), _PIECE_BYTES):
        piece = base64.b64encode(sound[at : at + _PIECE_BYTES]).decode()
        await connection.input_audio_buffer.append(audio=piece)


async def heard(connection: AsyncRealtimeConnection) -> str:
    """Say the sentence; what was understood, once it was answered too."""
    await feed(connection, speech() + bytes(48_000))
    done = await the(connection, "conversation.item.input_audio_transcription.completed")
    await the(connection, "response.done")
    transcript: str = done.transcript
    return transcript


async def takes_sound(connection: AsyncRealtimeConnection) -> bool:
    """Whether there is a line for the session's sound now."""
    await asyncio.sleep(0.1)
    await connection.input_audio_buffer.clear()
    while (event := await connection.recv()).type not in ("input_audio_buffer.cleared", "error"):
        continue
    return event.type != "error"


def test_a_session_outlives_the_worker_that_carries_its_sound(echo_site: SiteProcess) -> None:
    async def talk() -> None:
        async with client_of(echo_site).realtime.connect(model="gpt-realtime") as connection:
            await connection.session.update(session=_SPEECH)
            assert await heard(connection) == "pay my bill"
            kill(echo_site, "gateway.media.worker")
            assert (await the(connection, "error")).error.code == "voice_unavailable"
            async with asyncio.timeout(_EVENT_LIMIT_S):
                while not await takes_sound(connection):
                    continue  # its next worker is starting
            assert await heard(connection) == "pay my bill"

    asyncio.run(talk())


def test_an_answer_goes_on_when_its_engine_is_killed(echo_site: SiteProcess) -> None:
    async def talk() -> None:
        async with client_of(echo_site).realtime.connect(model="gpt-realtime") as connection:
            await connection.session.update(
                session={"type": "realtime", "output_modalities": ["text"]}
            )
            await connection.conversation.item.create(
                item={
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": "again and again..."}],
                }
            )
            await connection.response.create()
            await the(connection, "response.output_text.delta")
            before = echo_site.engine_pid()
            os.kill(before, signal.SIGKILL)
            wait_until(lambda: children(echo_site, "gateway.engine.worker") != [before], "new")
            await the(connection, "response.output_text.delta")
            await connection.response.cancel()
            done = await the(connection, "response.done")
            assert done.response.status == "cancelled"

    asyncio.run(talk())
    wait_until(lambda: bool(children(echo_site, "gateway.engine.worker")), "the engine is back")
    echo_site.wait_idle()
