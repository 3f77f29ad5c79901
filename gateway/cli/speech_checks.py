"""What `firsthop doctor` finds out about speech engines: each is started in its own process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.cli.machine import Check, State
from gateway.config.speech import Speech
from gateway.core.errors import SetupError
from gateway.core.speech_errors import SpeechError
from gateway.speech.client import SpeechService

if TYPE_CHECKING:
    from gateway.speech.client import EngineState

_ENGINES = {
    "recogniser": Speech(recogniser="pocketsphinx", max_num_hearings=1, voice="none"),
    "voice flite": Speech(recogniser="none", voice="flite"),
    "voice espeak-ng": Speech(recogniser="none", voice="espeak-ng"),
}


def speech_checks() -> list[Check]:
    """One line for each engine that needs no model of the operator's, with its grade."""
    return asyncio.run(_checks())


async def _checks() -> list[Check]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_check(name, asked)) for name, asked in _ENGINES.items()]
    return [task.result() for task in tasks]


async def _check(name: str, asked: Speech) -> Check:
    try:
        async with SpeechService(asked) as service:
            return _found(name, service.recogniser_state, service.voice_state)
    except (SetupError, SpeechError) as error:
        cause, _, mend = str(error).rpartition("; ")
        return Check(name, State.WARN, cause or mend, mend if cause else "")


def _found(name: str, *states: EngineState) -> Check:
    state = next(state for state in states if state.name)
    return Check(name, State.OK, f"{state.name}: {state.grade}")
