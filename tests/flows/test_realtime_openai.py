"""The unmodified openai client's Realtime connection to a whole site."""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
import wave
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from openai import AsyncOpenAI

from tests.requirements import require

if TYPE_CHECKING:
    from pathlib import Path

    from openai.resources.realtime.realtime import AsyncRealtimeConnection

    from loadtests.local_site import SiteProcess

pytestmark = pytest.mark.voice

_EVENT_LIMIT_S = 60.0
_PIECE_BYTES = 4800


def client_of(site: SiteProcess) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{site.http}/v1", api_key="none", max_retries=0)


async def the(connection: AsyncRealtimeConnection, kind: str) -> Any:
    """The next event of a kind."""
    async with asyncio.timeout(_EVENT_LIMIT_S):
        while True:
            event = await connection.recv()
            assert event.type != "error", event
            if event.type == kind:
                return event


def test_a_conversation_in_text(echo_site: SiteProcess) -> None:
    response_ids: list[str] = []

    async def talk() -> None:
        async with client_of(echo_site).realtime.connect(model="gpt-realtime") as connection:
            await connection.session.update(
                session={"type": "realtime", "output_modalities": ["text"]}
            )
            for words in ("good morning", "good night"):
                await connection.conversation.item.create(
                    item={
                        "type": "message",
                        "role": "user",
                        "content": [{"type": "input_text", "text": words}],
                    }
                )
                await connection.response.create()
                text = await the(connection, "response.output_text.done")
                assert text.text == words
                done = await the(connection, "response.done")
                response_ids.append(done.response.id)

    asyncio.run(talk())
    for response_id in response_ids:
        kept = httpx.get(f"{echo_site.http}/v1/requests/{response_id}", timeout=60)
        assert kept.json()["interface"] == "realtime"


def test_a_caller_is_heard_and_answered_in_speech(echo_site: SiteProcess, tmp_path: Path) -> None:
    sound = _speech("pay my bill", tmp_path)

    async def talk() -> None:
        async with client_of(echo_site).realtime.connect(model="gpt-realtime") as connection:
            await connection.session.update(
                session={
                    "type": "realtime",
                    "audio": {
                        "input": {
                            "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
                            "transcription": {"model": "default"},
                        }
                    },
                }
            )
            updated = await the(connection, "session.updated")
            assert updated.session.output_modalities == ["audio"]
            for at in range(0, len(sound), _PIECE_BYTES):
                piece = base64.b64encode(sound[at : at + _PIECE_BYTES]).decode()
                await connection.input_audio_buffer.append(audio=piece)
            heard = await the(connection, "conversation.item.input_audio_transcription.completed")
            delta = await the(connection, "response.output_audio.delta")
            assert len(base64.b64decode(delta.delta)) > 0
            spoken = await the(connection, "response.output_audio_transcript.done")
            # The model of this site repeats what was said to it.
            assert spoken.transcript == heard.transcript

    asyncio.run(talk())


def _speech(text: str, folder: Path) -> bytes:
    """A sentence and the silence after it, as audio/pcm at 24 kHz."""
    require("flite", shutil.which("flite") is not None, "apt-get install flite")
    path = folder / "speech.wav"
    subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(path)], check=True, timeout=30)
    with wave.open(str(path)) as file:
        rate = file.getframerate()
        given = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    at = np.arange(len(given) * 24_000 // rate) * rate / 24_000
    heard = np.interp(at, np.arange(len(given)), given).astype("<i2").tobytes()
    return bytes(heard) + bytes(2 * 24_000)
