"""The engine process's loop: what the site hears while no step can be made."""

from __future__ import annotations

import socket
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, cast

from gateway.core.generation import (
    Constraint,
    ConstraintKind,
    FinishReason,
    GenerationEnd,
    GenerationRequest,
)
from gateway.core.scheduling import Scheduler
from gateway.engine.bundle import load_bundle
from gateway.engine.frames import (
    Batch,
    Cancel,
    Load,
    Submit,
    site_frames,
    worker_frames,
)
from gateway.engine.worker.engine import Engine
from gateway.engine.worker.loop import EngineLoop, Wake
from gateway.engine.worker.model import DecoderModel
from gateway.runtime.frames import encode

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.budget import TurnClass
    from gateway.engine.frames import WorkerFrame
    from gateway.engine.worker.grammar import GrammarCompiler, Matcher

_WAIT_S = 10.0


class EndlessCompiler:
    """Never done with a grammar."""

    def compile(self, constraint: Constraint, turn_class: TurnClass) -> Future[Matcher]:
        return Future()

    def close(self) -> None:
        """It holds nothing."""


def test_an_engine_that_compiles_only_is_heard_from(tiny_dir: Path) -> None:
    wake = Wake()
    engine = Engine(
        DecoderModel.load(
            load_bundle(tiny_dir).artifact("cpu").path,
            num_rows=2,
            max_context_tokens=64,
            num_threads=1,
            spin=False,
        ),
        Scheduler(num_slots=1, chunk_tokens=64, max_num_queued=4),
        cast("GrammarCompiler", EndlessCompiler()),
        end_ids=frozenset({257}),
        frame_interval_s=0.0,
        inter_token_budget_s=0.05,
        on_compiled=wake.set,
    )
    ours, theirs = socket.socketpair()
    ours.settimeout(_WAIT_S)
    theirs.setblocking(False)
    request = GenerationRequest("r", (1, 2, 3), 5, constraint=Constraint(ConstraintKind.REGEX, "a"))
    decoder = worker_frames()
    heard: list[WorkerFrame] = []
    with closing(wake), theirs, ThreadPoolExecutor(1) as threads, ours:
        loop = threads.submit(EngineLoop(theirs, site_frames(), engine, wake).run, [])
        ours.sendall(encode(Submit(1, request)))
        while sum(isinstance(frame, Load) and frame.num_submits_seen == 1 for frame in heard) < 3:
            heard += decoder.feed(ours.recv(1 << 16))
        ours.sendall(encode(Cancel(1)))
        while not any(isinstance(frame, Batch) for frame in heard):
            heard += decoder.feed(ours.recv(1 << 16))
        ours.shutdown(socket.SHUT_WR)
        loop.result(timeout=_WAIT_S)
    (batch,) = [frame for frame in heard if isinstance(frame, Batch)]
    assert batch.events == ((1, GenerationEnd(FinishReason.CANCELLED, 3, 0)),)
