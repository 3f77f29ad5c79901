"""What a Realtime session is set to, and how `session.update` changes it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from gateway.core.errors import InvalidRequest
from gateway.wire.json_faults import named_fault
from gateway.wire.realtime.items import ToolName

_SESSION = "session"


class PcmFormat(msgspec.Struct, frozen=True, tag_field="type", tag="audio/pcm"):
    """int16, little endian, mono."""

    rate: Literal[24000] = 24000


class MuLawFormat(msgspec.Struct, frozen=True, tag_field="type", tag="audio/pcmu"):
    """G.711 mu-law, 8 kHz."""


class ALawFormat(msgspec.Struct, frozen=True, tag_field="type", tag="audio/pcma"):
    """G.711 A-law, 8 kHz."""


AudioFormat: TypeAlias = PcmFormat | MuLawFormat | ALawFormat


class ServerVad(msgspec.Struct, frozen=True, tag_field="type", tag="server_vad"):
    """A turn ends after so much silence."""

    threshold: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.5
    prefix_padding_ms: Annotated[int, Meta(ge=0, le=10_000)] = 300
    silence_duration_ms: Annotated[int, Meta(ge=0, le=10_000)] = 500
    idle_timeout_ms: Annotated[int, Meta(ge=1_000, le=600_000)] | None = None
    create_response: bool = True
    interrupt_response: bool = True


class SemanticVad(msgspec.Struct, frozen=True, tag_field="type", tag="semantic_vad"):
    """A turn ends when what was said is a whole request."""

    eagerness: Literal["low", "medium", "high", "auto"] = "auto"
    create_response: bool = True
    interrupt_response: bool = True


TurnDetection: TypeAlias = ServerVad | SemanticVad


class Transcription(msgspec.Struct, frozen=True):
    """That the client wants to read what was heard."""

    model: str | None = None
    language: str | None = None


class NoiseReduction(msgspec.Struct, frozen=True):
    """What the client's microphone is like; nothing is done about it here."""

    type: Literal["near_field", "far_field"] | None = None


class AudioInput(msgspec.Struct, frozen=True):
    """The caller's sound."""

    format: AudioFormat = PcmFormat()
    noise_reduction: NoiseReduction | None = None
    transcription: Transcription | None = None
    turn_detection: TurnDetection | None = ServerVad()


class AudioOutput(msgspec.Struct, frozen=True):
    """The assistant's sound."""

    format: AudioFormat = PcmFormat()
    voice: Annotated[str, Meta(max_length=64)] | None = None
    speed: Annotated[float, Meta(ge=0.25, le=1.5)] = 1.0


class Audio(msgspec.Struct, frozen=True):
    """Sound both ways."""

    input: AudioInput = AudioInput()
    output: AudioOutput = AudioOutput()


class FunctionTool(msgspec.Struct, frozen=True, tag_field="type", tag="function"):
    """A tool that the client runs."""

    name: ToolName
    description: str = ""
    parameters: dict[str, Any] = {}


class NamedChoice(msgspec.Struct, frozen=True, tag_field="type", tag="function"):
    """This tool and no other."""

    name: str


ToolChoice: TypeAlias = Literal["auto", "none", "required"] | NamedChoice
MaxTokens: TypeAlias = Annotated[int, Meta(ge=1, le=1 << 20)] | Literal["inf"]
Modalities: TypeAlias = Annotated[
    tuple[Literal["text", "audio"], ...], Meta(min_length=1, max_length=2)
]
Includes: TypeAlias = tuple[Literal["item.input_audio_transcription.logprobs"], ...]
Tools: TypeAlias = Annotated[tuple[FunctionTool, ...], Meta(max_length=256)]


class SessionConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the session is set to. Fields that change nothing here are not in it."""

    type: Literal["realtime", "transcription"] = "realtime"
    """A transcription session only hears: its callers' words are told, and nothing is answered."""
    model: Annotated[str, Meta(max_length=256)] = "default"
    instructions: str = ""
    output_modalities: Modalities = ("audio",)
    audio: Audio = Audio()
    tools: Tools = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    max_output_tokens: MaxTokens = "inf"
    tracing: Any = None
    """Kept for clients that ask what they have set; tracing is the operator's."""
    prompt: None = None
    include: Includes = ()

    @property
    def only_hears(self) -> bool:
        """Whether it is a transcription session."""
        return self.type == "transcription"

    @property
    def wants_audio(self) -> bool:
        """Whether answers are spoken."""
        return not self.only_hears and "audio" in self.output_modalities

    @property
    def wants_transcripts(self) -> bool:
        """Whether the client reads what was heard."""
        return self.only_hears or self.audio.input.transcription is not None


_HINTS = {
    "session.type": "realtime or transcription",
    "session.prompt": "there are no stored prompts here; send instructions",
    "session.tools.type": "only function tools are served",
    "session.tool_choice.type": "only function tools are served",
    "session.audio.input.format.rate": "audio/pcm has 24000 samples a second",
    "session.audio.output.format.rate": "audio/pcm has 24000 samples a second",
}
_NULLABLE = frozenset(
    {"turn_detection", "transcription", "noise_reduction", "tracing", "prompt", "idle_timeout_ms"}
)
"""Fields in which null means something; in others it means that the client has no wish."""
_NESTED = frozenset({"audio", "input", "output"})
"""Objects of which an update changes the given fields only."""
_OF_HEARING = frozenset({"type", "audio", "include"})
"""What a transcription session has."""


def updated(config: SessionConfig, changes: dict[str, Any]) -> SessionConfig:
    """The configuration after `session.update`. Raises InvalidRequest that names the field."""
    try:
        merged = msgspec.convert(_merged(msgspec.to_builtins(config), changes), SessionConfig)
    except msgspec.ValidationError as error:
        raise named_fault(str(error), _HINTS, under=_SESSION) from None
    if merged.only_hears and (others := changes.keys() - _OF_HEARING):
        name = f"session.{min(others)}"
        raise InvalidRequest(f"{name}: a transcription session answers nothing", param=name)
    return merged


def _merged(held: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(held)
    for name, value in changes.items():
        if name in _NESTED and isinstance(value, dict):
            merged[name] = _merged(held.get(name, {}), value)
        elif value is not None or name in _NULLABLE:
            merged[name] = value
    return merged
