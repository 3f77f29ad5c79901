"""Sessions outlive the parts of their site that are killed; who vanishes is forgotten."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openai import AsyncOpenAI
from websockets.exceptions import InvalidStatus

from gateway.session import phrases
from gateway.speech.resample import Resampler
from loadtests.local_site import SiteProcess, running_site, wait_until
from loadtests.utterances import sound_of
from tests.speech.spoken_sound import require_flite

if TYPE_CHECKING:
    from openai.resources.realtime.realtime import AsyncRealtimeConnection

_EVENT_LIMIT_S = 30.0
_PIECE_BYTES = 4800
_SPEECH = {
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


def test_engines_killed_while_the_caller_speaks_have_him_asked_again(
    echo_site: SiteProcess,
) -> None:
    async def talk() -> None:
        async with client_of(echo_site).realtime.connect(model="gpt-realtime") as connection:
            await connection.session.update(session=_SPEECH)
            whole = speech()
            await feed(connection, whole[: len(whole) // 2])
            await the(connection, "input_audio_buffer.speech_started")
            kill(echo_site, "gateway.speech.worker")
            await feed(connection, whole[len(whole) // 2 :] + bytes(48_000))
            await the(connection, "conversation.item.input_audio_transcription.failed")
            asked = await the(connection, "response.output_audio_transcript.done")
            assert asked.transcript == phrases.SAY_AGAIN
            await the(connection, "response.done")
            assert await heard(connection) == "pay my bill"

    asyncio.run(talk())


def test_a_session_outlives_the_worker_that_carries_its_sound(echo_site: SiteProcess) -> None:
    async def talk() -> None:
        async with client_of(echo_site).realtime.connect(model="gpt-realtime") as connection:
            await connection.session.update(session=_SPEECH)
            assert await heard(connection) == "pay my bill"
            kill(echo_site, "gateway.media.worker")
            assert (await the(connection, "error")).error.code == "voice_unavailable"
            wait_until(lambda: bool(children(echo_site, "gateway.media.worker")), "it is back")
            while True:  # until it takes calls, the sound of a session is refused
                try:
                    assert await heard(connection) == "pay my bill"
                    return
                except AssertionError:
                    await asyncio.sleep(0.1)

    asyncio.run(talk())


def test_an_answer_goes_on_when_its_engine_is_killed(echo_site: SiteProcess) -> None:
    async def talk() -> None:
        async with client_of(echo_site).realtime.connect(model="gpt-realtime") as connection:
            await connection.session.update(
                session={"type": "realtime", "output_modalities": ["text"]}
            )
            part = {"type": "input_text", "text": "again and again..."}
            item = {"type": "message", "role": "user", "content": [part]}
            await connection.conversation.item.create(item=item)
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


def test_ten_times_more_callers_than_lines(echo_bundle: Path, tmp_path: Path) -> None:
    settings = {"FIRSTHOP_REALTIME_MAX_SESSIONS": "2"}
    with running_site(tmp_path, "--model", str(echo_bundle), **settings) as site:

        async def come() -> None:
            realtime = client_of(site).realtime

            reasons = set[tuple[int, bytes | None]]()

            async def dial() -> AsyncRealtimeConnection | None:
                """A connection, or None where all lines are busy."""
                try:
                    return await realtime.connect(model="gpt-realtime").enter()
                except InvalidStatus as refused:
                    reasons.add((refused.response.status_code, refused.response.body))
                    return None

            async with asyncio.TaskGroup() as dialling:
                calls = [dialling.create_task(dial()) for _ in range(20)]
            inside = [one for call in calls if (one := call.result()) is not None]
            assert len(inside) == 2
            assert all(code == 503 and b"lines_busy" in (body or b"") for code, body in reasons)
            for one in inside:  # without a goodbye
                one._connection.transport.abort()
            async with asyncio.timeout(_EVENT_LIMIT_S):
                while (again := await dial()) is None:
                    continue  # the places are not free yet
                await again.close()

        asyncio.run(come())
        site.wait_idle()
