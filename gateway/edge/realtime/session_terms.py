"""What a session is set to, as far as this site can do it, and how clients are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.errors import UnknownModel, UnsupportedTools
from gateway.core.realtime_errors import VoiceMissing
from gateway.core.turn import Message, Role, model_named
from gateway.wire.realtime.session_config import SessionConfig, updated

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.edge.desk import Desk
    from gateway.edge.realtime.caller import Caller
    from gateway.edge.realtime.voices import Voices
    from gateway.wire.realtime.client_events import ResponseWishes

_NOTHING_SAID = (Message(Role.USER),)


class Unserved(msgspec.Struct, frozen=True):
    """A wish of the client that the session goes on without; it is told in `session.updated`."""

    param: str
    code: str
    message: str


class SessionTerms:
    """A session's configuration: after the first `update`, one that turns can be answered with."""

    def __init__(self, desk: Desk, caller: Caller, voices: Voices) -> None:
        self._desk = desk
        self._caller = caller
        self._no_voice = voices.missing
        """Why answers cannot be spoken; empty when they can."""
        self._speech = {} if voices.missing else _engines(voices)
        self.config = SessionConfig()
        self._unserved: tuple[Unserved, ...] = ()

    async def update(
        self, changes: dict[str, Any], *, check: Callable[[SessionConfig], None] | None = None
    ) -> None:
        """Apply `session.update`, all of it or nothing.

        What clients set by habit and this site cannot do (instructions to a model that follows
        none, speech without an engine) is left out and told; tools that cannot be called are
        refused, because their client waits for calls. `check` may refuse more. Raises
        InvalidRequest, UnknownModel, UnsupportedTools, VoiceMissing.
        """
        config = updated(self.config, changes)
        unserved: list[Unserved] = []
        if config.only_hears and self._no_voice:
            raise VoiceMissing(self._no_voice, param="session.type")
        if config.include:
            reason = "the recogniser gives no probabilities of its words"
            unserved.append(Unserved("session.include", "invalid_request", reason))
        if config.wants_audio and self._no_voice:
            config = msgspec.structs.replace(config, output_modalities=("text",))
            unserved.append(Unserved("session.output_modalities", "voice_missing", self._no_voice))
        if check is not None:
            check(config)
        try:
            await self._check(config)
        except UnsupportedTools as error:
            if not config.instructions:
                raise
            config = msgspec.structs.replace(config, instructions="")
            await self._check(config)
            unserved.append(Unserved("session.instructions", error.code, error.message))
        self.config, self._unserved = config, tuple(unserved)

    async def restore(self, config: SessionConfig) -> None:
        """Be what the session was elsewhere. Raises what `update` raises."""
        self.config = msgspec.structs.replace(self.config, type=config.type)
        given = config.__struct_fields__ if not config.only_hears else ("type", "audio", "include")
        stated = msgspec.to_builtins(config)
        await self.update({name: stated[name] for name in given})

    async def of_response(self, wishes: ResponseWishes | None) -> SessionConfig:
        """What one response is made with; nothing is left out of what it asks for by itself.

        Raises InvalidRequest, UnsupportedTools, VoiceMissing.
        """
        if wishes is None:
            return self.config
        given = {
            name: value
            for name in SessionConfig.__struct_fields__
            if (value := getattr(wishes, name, None)) is not None and name != "audio"
        }
        config = msgspec.structs.replace(self.config, **given)
        if config.wants_audio and self._no_voice:
            raise VoiceMissing(self._no_voice, param="response.output_modalities")
        if config != self.config:
            await self._check(config)
        return config

    def messages(self, config: SessionConfig, said: tuple[Message, ...]) -> tuple[Message, ...]:
        """The conversation under the instructions in force."""
        if not config.instructions:
            return said
        return (Message(Role.SYSTEM, config.instructions), *said)

    def facts(self, session_id: str, expires_at: int) -> dict[str, Any]:
        """The session object of `session.created` and `session.updated`."""
        if self.config.only_hears:
            return self._facts_of_hearing(session_id, expires_at)
        config, output = self.config, self.config.audio.output
        stated = msgspec.to_builtins(config)
        info = model_named(config.model, self._desk.runner.models)
        if info is not None:
            stated["model"] = info.model_id
        voice = self._speech.get("voice")
        stated["audio"]["output"]["voice"] = voice["name"] if voice else output.voice
        return {
            "id": session_id,
            "object": "realtime.session",
            **stated,
            "truncation": "disabled",
            "expires_at": expires_at,
            "firsthop": {
                "model": info.full_name if info is not None else "",
                "tools": "server" if self._caller.server_tools else "client",
                "unserved": msgspec.to_builtins(self._unserved),
                **self._speech,
            },
        }

    def _facts_of_hearing(self, session_id: str, expires_at: int) -> dict[str, Any]:
        return {
            "id": session_id,
            "object": "realtime.transcription_session",
            "type": self.config.type,
            "audio": {"input": msgspec.to_builtins(self.config.audio.input)},
            "include": self.config.include,
            "expires_at": expires_at,
            "firsthop": {"unserved": msgspec.to_builtins(self._unserved), **self._speech},
        }

    async def _check(self, config: SessionConfig) -> None:
        if config.only_hears:
            return
        models = self._desk.runner.models
        if model_named(config.model, models) is None:
            names = (name for info in models for name in (info.model_id, *info.aliases))
            raise UnknownModel(config.model, tuple(names))
        messages = self.messages(config, _NOTHING_SAID)
        visit = self._desk.visit(interface="realtime")
        await self._desk.runner.check(self._caller.turn(visit, config, messages))


def _engines(voices: Voices) -> dict[str, dict[str, str]]:
    """What hears and what speaks, and what each is good for."""
    ears, mouth = voices.recogniser, voices.synthesiser
    return {
        "recogniser": {"name": ears.name, "grade": ears.grade.value},
        "voice": {"name": mouth.name, "grade": mouth.grade.value},
    }
