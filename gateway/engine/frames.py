"""The words site and engine process exchange."""

from __future__ import annotations

from typing import Annotated

import msgspec

# msgspec resolves field types when a codec is built, so these exist at run time.
from gateway.core.generation import Constraint, EngineLoad, GenerationEvent, GenerationRequest
from gateway.runtime.frames import FrameDecoder


class Start(msgspec.Struct, frozen=True, array_like=True, tag="start"):
    """Site to worker, first and once: what to serve and how."""

    bundle_path: str
    num_slots: int = 8
    max_context_tokens: int = 0
    """Prompt and answer together, by which the KV rows are sized; 0: all the model can."""
    num_threads: int = 0
    """Threads inside an operator; 0: as many as are fastest, of the cores that are not spared."""
    spare_cores: int = 1
    """Cores left to the site and its media when the number of threads is chosen."""
    allow_spinning: bool = False
    """Threads wait actively between operators: faster alone, harmful to whoever shares cores."""
    chunk_tokens: int = 64
    max_num_queued: int = 512
    cache_bytes: int = 64 << 20
    """Memory for KV rows that keep prompts beside those of the slots."""
    inter_token_budget_s: float = 0.05
    """A stream's tokens may be so far apart while other prompts are prefilled."""
    frame_interval_s: float = 0.02
    """A stream's first token leaves at once, later ones at most one frame per interval."""
    accelerator: str = "cpu"
    """`cpu`, `cuda`, `auto` (the GPU where model and machine allow it, else the CPU), or
    `emulated:PROFILE`: made-up tokens at the speed of a step-time profile."""
    looks_ahead: bool = True
    """A small model checks guesses of the next tokens while it serves one stream, where that pays;
    its weights are in memory twice then."""
    resumes_fast: bool = False
    """What a stream that comes here in its middle has said is read like a prompt."""


class Prepare(msgspec.Struct, frozen=True, array_like=True, tag="prepare"):
    """Site to worker: turns will bring this constraint; have it compiled by then.

    What is wrong with it shows when one does.
    """

    constraint: Constraint


class Capacity(msgspec.Struct, frozen=True, array_like=True, tag="capacity"):
    """Site to worker: the share of the time in which steps may run, from now on.

    Between steps the accelerator rests; at 0 nothing runs until there is another word.
    """

    ratio: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Submit(msgspec.Struct, frozen=True, array_like=True, tag="submit"):
    """Site to worker: generate under a key that is new on this connection."""

    key: int
    request: GenerationRequest
    is_resubmission: bool = False
    """An engine process took it before and died: the queue's bound was passed then."""


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="cancel"):
    """Site to worker: nobody wants this any more. Unknown keys are ignored."""

    key: int


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """Worker to site: the model is loaded, has run once, and takes requests."""

    max_context_tokens: int
    vocab_size: int
    num_slots: int
    startup_s: float
    load: EngineLoad
    accelerator: str = "cpu"
    """What runs the model: never `auto`."""
    remark: str = ""
    """Why `auto` did not take the GPU."""


class Batch(msgspec.Struct, frozen=True, array_like=True, tag="batch"):
    """Worker to site: what a step produced, by key."""

    events: tuple[tuple[int, GenerationEvent], ...]


class Load(msgspec.Struct, frozen=True, array_like=True, tag="load"):
    """Worker to site: its load after the first `num_submits_seen` Submits of this connection."""

    load: EngineLoad
    num_submits_seen: int


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """Worker to site, last: it cannot serve; one line says why."""

    message: str


SiteFrame = Start | Prepare | Capacity | Submit | Cancel
WorkerFrame = Ready | Batch | Load | Failed


def site_frames() -> FrameDecoder[SiteFrame]:
    """For what the site sends."""
    return FrameDecoder(msgspec.msgpack.Decoder(SiteFrame))


def worker_frames() -> FrameDecoder[WorkerFrame]:
    """For what the worker sends."""
    return FrameDecoder(msgspec.msgpack.Decoder(WorkerFrame))
