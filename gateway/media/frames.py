"""The words site and voice worker exchange; `runtime.frames` says how they lie on the socket.

A call or lane is known by its number, which the site chooses and uses once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

# msgspec resolves field types when a codec is built, so these exist at run time.
from gateway.core.voice_line import LineEvent
from gateway.runtime.frames import FrameDecoder

NUM_SPARE_LINES: Final = 16
"""Of each worker, beyond its calls: for callers who are told that all lines are busy."""


class LaneFormat(StrEnum):
    """How sound is written on a lane, both ways; mono."""

    PCM = "pcm"
    """int16, little endian, 24 kHz."""
    PCMU = "pcmu"
    """G.711 mu-law, 8 kHz."""
    PCMA = "pcma"
    """G.711 A-law, 8 kHz."""


class SoundSettings(msgspec.Struct, frozen=True, array_like=True):
    """How what is said is coded."""

    bitrate_bps: int = 24_000
    complexity: int = 3
    """Opus's, 0 to 10."""


class Start(msgspec.Struct, frozen=True, array_like=True, tag="start"):
    """Site to worker, first and once."""

    host: str
    port: int
    """UDP; 0: a free one."""
    advertised_host: str = ""
    """The address clients are told; empty: `host`."""
    max_num_calls: int = 200
    """Calls and lanes together."""
    calls_per_s: float = 20.0
    lost_s: float = 7.0
    """A call from which nothing has come for so long is lost."""
    grace_s: float = 30.0
    """One that stays lost for so long ends."""
    sound: SoundSettings = SoundSettings()


class Offer(msgspec.Struct, frozen=True, array_like=True, tag="offer"):
    """Site to worker: a client wants a call, or, where the number has one, takes it up again."""

    call: int
    sdp: str
    is_spare: bool = False
    """For a caller who is told that all lines are busy."""


class OpenLane(msgspec.Struct, frozen=True, array_like=True, tag="open_lane"):
    """Site to worker: sound will come by `Feed` and go by `LaneSound`."""

    call: int
    format: LaneFormat
    is_paced: bool


class Feed(msgspec.Struct, frozen=True, array_like=True, tag="feed"):
    """Site to worker: a lane's caller says."""

    call: int
    sound: bytes


class Say(msgspec.Struct, frozen=True, array_like=True, tag="say"):
    """Site to worker; this and what follows as in `core.voice_line.VoiceLine`."""

    call: int
    utterance: int
    pcm: bytes
    is_last: bool


class Keep(msgspec.Struct, frozen=True, array_like=True, tag="keep"):
    """Site to worker, before any call: a prompt that `SayPrompt` has played."""

    prompt: int
    pcm: bytes


class SayPrompt(msgspec.Struct, frozen=True, array_like=True, tag="say_prompt"):
    """Site to worker."""

    call: int
    utterance: int
    prompt: int


class Hold(msgspec.Struct, frozen=True, array_like=True, tag="hold"):
    """Site to worker."""

    call: int


class GoOn(msgspec.Struct, frozen=True, array_like=True, tag="go_on"):
    """Site to worker."""

    call: int


class Hush(msgspec.Struct, frozen=True, array_like=True, tag="hush"):
    """Site to worker."""

    call: int


class Write(msgspec.Struct, frozen=True, array_like=True, tag="write"):
    """Site to worker."""

    call: int
    text: str


class Close(msgspec.Struct, frozen=True, array_like=True, tag="close"):
    """Site to worker."""

    call: int
    reason: str


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """Worker to site: calls can come, to this UDP port."""

    port: int


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """Worker to site, last: it cannot serve; one line says why."""

    message: str


class Answer(msgspec.Struct, frozen=True, array_like=True, tag="answer"):
    """Worker to site: an offer's answer, or that a lane is open (no text)."""

    call: int
    sdp: str = ""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """Worker to site: no call. `code` is the error's; what it carries is in the other fields."""

    call: int
    code: str
    message: str
    param: str | None = None
    limit: float = 0.0
    retry_after_s: float = 0.0


class Happened(msgspec.Struct, frozen=True, array_like=True, tag="happened"):
    """Worker to site: events of lines, in order, with their numbers."""

    events: tuple[tuple[int, LineEvent], ...]


class LaneSound(msgspec.Struct, frozen=True, array_like=True, tag="lane_sound"):
    """Worker to site: what a lane's caller is to hear."""

    call: int
    utterance: int
    sound: bytes


class WorkerStats(msgspec.Struct, frozen=True, array_like=True, tag="stats"):
    """Worker to site, each second: counts since it began, but for the first."""

    num_lines: int
    """Calls and lanes now."""
    num_packets: int
    """Of callers' sound, that came."""
    num_lost: int
    num_late_packets: int
    num_strangers: int
    """Datagrams of nobody's."""
    num_sent: int
    num_late_frames: int
    """Frames that left more than a frame after their time."""
    num_late_ticks: int
    """The worker's timer missed its time: it has too much to do, or too little of a core."""
    cpu_s: float


SiteFrame = (
    Start | Keep | Offer | OpenLane | Feed | Say | SayPrompt | Hold | GoOn | Hush | Write | Close
)
WorkerFrame = Ready | Failed | Answer | Refused | Happened | LaneSound | WorkerStats


def site_frames() -> FrameDecoder[SiteFrame]:
    """For what the site sends."""
    return FrameDecoder(msgspec.msgpack.Decoder(SiteFrame))


def worker_frames() -> FrameDecoder[WorkerFrame]:
    """For what the worker sends."""
    return FrameDecoder(msgspec.msgpack.Decoder(WorkerFrame))
