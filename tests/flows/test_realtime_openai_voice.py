"""The unmodified openai client: telephone sound, sessions that only hear, ephemeral keys, calls."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

import numpy as np
import pytest
from openai import AsyncOpenAI, NotFoundError

from gateway.media.worker.g711 import compress, expand
from gateway.media.worker.secure import Identity
from gateway.session.phrases import SAY_AGAIN
from gateway.speech.resample import Resampler
from loadtests.clients.talker import Talker
from loadtests.utterances import sound_of
from tests.flows.test_realtime_openai import client_of, the
from tests.speech.spoken_sound import require_flite

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from openai.resources.realtime.realtime import AsyncRealtimeConnection
    from openai.types.realtime import RealtimeAudioFormatsParam, ResponseCreateEventParam

    from gateway.media.worker.g711 import Law
    from loadtests.local_site import SiteProcess

pytestmark = pytest.mark.voice
_PIECE_BYTES = 1600
_HEARD = "conversation.item.input_audio_transcription.completed"


def telephone_sound(law: Law) -> bytes:
    """A sentence and the silence after it, at 8 kHz."""
    require_flite()
    to_8_khz = Resampler(16_000, 8_000)
    pcm = to_8_khz.feed(sound_of("pay my bill", "flite:slt")) + to_8_khz.flush() + bytes(16_000)
    return compress(np.frombuffer(pcm, "<i2"), law)


async def feed(connection: AsyncRealtimeConnection, sound: bytes) -> None:
    for at in range(0, len(sound), _PIECE_BYTES):
        piece = base64.b64encode(sound[at : at + _PIECE_BYTES]).decode()
        await connection.input_audio_buffer.append(audio=piece)


@pytest.mark.parametrize("law", ["pcmu", "pcma"])
def test_a_telephone_is_heard_and_answered(echo_site: SiteProcess, law: Law) -> None:
    sound = telephone_sound(law)
    format_: RealtimeAudioFormatsParam = {"type": "audio/pcmu"}
    if law == "pcma":
        format_ = {"type": "audio/pcma"}

    async def talk() -> None:
        async with client_of(echo_site).realtime.connect(model="gpt-realtime") as connection:
            await connection.session.update(
                session={
                    "type": "realtime",
                    "audio": {
                        "input": {
                            "format": format_,
                            "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
                            "transcription": {"model": "default"},
                        },
                        "output": {"format": format_},
                    },
                }
            )
            updated = await the(connection, "session.updated")
            assert updated.session.audio.output.format.type == f"audio/{law}"
            await feed(connection, sound)
            heard = (await the(connection, _HEARD)).transcript
            assert heard  # what the recogniser makes of a telephone is not looked at here
            said = base64.b64decode((await the(connection, "response.output_audio.delta")).delta)
            while (event := await connection.recv()).type != "response.done":
                if event.type == "response.output_audio.delta":
                    said += base64.b64decode(event.delta)
                elif event.type == "response.output_audio_transcript.done":
                    # The model of this site repeats it; of sound in doubt nothing is made.
                    assert event.transcript in (heard, SAY_AGAIN)
            assert 0.3 < len(said) / 8000 < 5.0
            assert np.abs(expand(said, law)).max() > 2000

    asyncio.run(talk())


def test_a_session_may_only_hear(echo_site: SiteProcess) -> None:
    sound = telephone_sound("pcmu")

    async def talk() -> None:
        query = {"intent": "transcription"}
        async with client_of(echo_site).realtime.connect(extra_query=query) as connection:
            created = await the(connection, "session.created")
            assert created.session.type == "transcription"
            await connection.session.update(
                session={
                    "type": "transcription",
                    "audio": {
                        "input": {
                            "format": {"type": "audio/pcmu"},
                            "transcription": {"model": "gpt-4o-transcribe", "language": "en"},
                            "turn_detection": {"type": "server_vad", "silence_duration_ms": 300},
                        }
                    },
                }
            )
            await feed(connection, sound)
            assert (await the(connection, _HEARD)).transcript

    asyncio.run(talk())


def test_an_ephemeral_key_opens_the_session_it_is_for(echo_site: SiteProcess) -> None:
    async def talk() -> None:
        async with client_of(echo_site) as maker:
            made = await maker.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": 60},
                session={
                    "type": "realtime",
                    "model": "gpt-realtime",
                    "output_modalities": ["text"],
                },
            )
        assert made.value.startswith("ek_")
        assert made.session.type == "realtime"
        browser = AsyncOpenAI(base_url=f"{echo_site.http}/v1", api_key=made.value, max_retries=0)
        async with browser.realtime.connect(model="gpt-realtime") as connection:
            created = await the(connection, "session.created")
            assert created.session.output_modalities == ["text"]

    asyncio.run(talk())


def test_a_call_is_placed_watched_and_hung_up(echo_site: SiteProcess) -> None:
    async def talk() -> None:
        caller = Talker(Identity())
        async with client_of(echo_site) as client:
            placed = await client.realtime.calls.with_raw_response.create(
                sdp=caller.offer, session={"type": "realtime", "model": "gpt-realtime"}
            )
            assert placed.status_code == 201
            call_id = placed.headers["location"].rpartition("/")[2]
            await caller.connect(placed.parse().text)
            await asyncio.wait_for(caller.told("session.created"), 30)
            async with client.realtime.connect(call_id=call_id) as sideband:
                await sideband.send(_aside("good morning"))
                done = await the(sideband, "response.output_audio_transcript.done")
                assert done.transcript == "good morning"
                await client.realtime.calls.hangup(call_id)
            with pytest.raises(NotFoundError):
                await _until_refused(lambda: client.realtime.calls.hangup(call_id))
            with pytest.raises(NotFoundError):  # calls come by WebRTC alone, not by telephone
                await client.realtime.calls.refer(call_id, target_uri="tel:+1")
        caller.close()

    asyncio.run(talk())


async def _until_refused(ask: Callable[[], Awaitable[None]]) -> None:
    while True:  # the line is still closing
        await ask()


def _aside(text: str) -> ResponseCreateEventParam:
    return {
        "type": "response.create",
        "response": {
            "conversation": "none",
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [{"type": "input_text", "text": text}],
                }
            ],
        },
    }
