"""The words that a site and its speech processes exchange, in frames of `runtime.frames`."""

from __future__ import annotations

import msgspec

# msgspec resolves field types when a codec is built, so these exist at run time.
from gateway.runtime.frames import FrameDecoder
from gateway.speech.port import Heard, SpeechGrade, Spoken


class StartRecogniser(msgspec.Struct, frozen=True, array_like=True, tag="start_recogniser"):
    """Site to worker, first and once: be a recogniser."""

    engine: str
    """`auto`: the first that works of those that need no choice."""
    directory: str
    """The engine's model; see the engine for its files."""
    max_num_hearings: int


class StartVoice(msgspec.Struct, frozen=True, array_like=True, tag="start_voice"):
    """Site to worker, first and once: be a voice."""

    engine: str
    directory: str
    """The engine's model; empty for engines that bring their own voices."""
    voice: str
    """Which of the engine's voices; empty: its first choice."""


class Open(msgspec.Struct, frozen=True, array_like=True, tag="open"):
    """Site to worker: begin a hearing under a key that is new on this connection."""

    key: int
    caller: str
    """What the engine said of the caller's sound at the end of an earlier hearing, or nothing."""


class Sound(msgspec.Struct, frozen=True, array_like=True, tag="sound"):
    """Site to worker: more of a hearing."""

    key: int
    pcm: bytes


class Ask(msgspec.Struct, frozen=True, array_like=True, tag="ask"):
    """Site to worker: answer with what was heard so far, or, at the end, for good."""

    key: int
    is_end: bool


class Say(msgspec.Struct, frozen=True, array_like=True, tag="say"):
    """Site to worker: make sound of a clause."""

    key: int
    text: str


class Drop(msgspec.Struct, frozen=True, array_like=True, tag="drop"):
    """Site to worker: nobody wants this any more. Unknown keys are ignored."""

    key: int


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """Worker to site, first: the engine is loaded."""

    name: str
    grade: SpeechGrade


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """Worker to site, first and last: it cannot serve; one line says why, then the mend."""

    message: str


class Result(msgspec.Struct, frozen=True, array_like=True, tag="result"):
    """Worker to site: what a hearing has come to."""

    key: int
    heard: Heard
    is_answer: bool
    """To an `Ask`; else the text has changed by itself."""
    caller: str = ""
    """With a final result: what helps to hear this caller again, in the engine's own words."""


class Piece(msgspec.Struct, frozen=True, array_like=True, tag="piece"):
    """Worker to site: more sound of a clause."""

    key: int
    spoken: Spoken


class Over(msgspec.Struct, frozen=True, array_like=True, tag="over"):
    """Worker to site: nothing more comes for a key; with a problem if the engine failed."""

    key: int
    problem: str = ""


SiteFrame = StartRecogniser | StartVoice | Open | Sound | Ask | Say | Drop
WorkerFrame = Ready | Failed | Result | Piece | Over


def site_frames() -> FrameDecoder[SiteFrame]:
    """For what the site sends."""
    return FrameDecoder(msgspec.msgpack.Decoder(SiteFrame))


def worker_frames() -> FrameDecoder[WorkerFrame]:
    """For what a worker sends."""
    return FrameDecoder(msgspec.msgpack.Decoder(WorkerFrame))
