"""How a session takes turns, and how its lane sounds, as its configuration says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.core.errors import InvalidRequest
from gateway.core.turn_settings import Eagerness, TurnMode, TurnSettings
from gateway.media.frames import LaneFormat
from gateway.wire.realtime.session_config import (
    ALawFormat,
    MuLawFormat,
    PcmFormat,
    SemanticVad,
    ServerVad,
)

if TYPE_CHECKING:
    from gateway.wire.realtime.session_config import SessionConfig

_LANES: Final = {
    PcmFormat: LaneFormat.PCM,
    MuLawFormat: LaneFormat.PCMU,
    ALawFormat: LaneFormat.PCMA,
}

BYTES_PER_S: Final = {LaneFormat.PCM: 48_000, LaneFormat.PCMU: 8_000, LaneFormat.PCMA: 8_000}


def turn_settings(config: SessionConfig, *, max_call_s: float) -> TurnSettings:
    """Of `audio.input.turn_detection`; none: the client ends turns, and interrupts by itself."""
    match config.audio.input.turn_detection:
        case None:
            return TurnSettings(mode=TurnMode.MANUAL, may_interrupt=False, max_call_s=max_call_s)
        case ServerVad() as vad:
            idle_ms = vad.idle_timeout_ms
            return TurnSettings(
                mode=TurnMode.FIXED,
                threshold=vad.threshold,
                prefix_padding_s=vad.prefix_padding_ms / 1e3,
                silence_s=vad.silence_duration_ms / 1e3,
                may_interrupt=vad.interrupt_response,
                idle_timeout_s=None if idle_ms is None else idle_ms / 1e3,
                max_call_s=max_call_s,
            )
        case SemanticVad() as vad:
            return TurnSettings(
                mode=TurnMode.SEMANTIC,
                eagerness=Eagerness(vad.eagerness),
                may_interrupt=vad.interrupt_response,
                max_call_s=max_call_s,
            )


def answers_by_itself(config: SessionConfig) -> bool:
    """Whether the end of the caller's turn makes a response."""
    detection = config.audio.input.turn_detection
    return detection is not None and detection.create_response and not config.only_hears


def lane_format(config: SessionConfig) -> LaneFormat:
    """How sound is written on a WebSocket. Raises InvalidRequest where the two ways differ."""
    heard, said = config.audio.input.format, config.audio.output.format
    if config.wants_audio and type(heard) is not type(said):
        raise InvalidRequest(
            "input and output have one format here; set both", param="session.audio.output.format"
        )
    return _LANES[type(heard)]
