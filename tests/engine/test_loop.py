"""The engine process's loop: what the site hears while no step can be made."""

from __future__ import annotations

import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from math import inf
from typing import TYPE_CHECKING, cast

from gateway.core.generation import (
    Constraint,
    ConstraintKind,
    EngineLoad,
    FinishReason,
    GenerationEnd,
    GenerationRequest,
)
from gateway.core.scheduling import Scheduler
from gateway.engine.bundle import load_bundle
from gateway.engine.frames import (
    Batch,
    Cancel,
    Capacity,
    Load,
    Submit,
    site_frames,
    worker_frames,
)
from gateway.engine.worker.engine import Engine
from gateway.engine.worker.loop import EngineLoop, Wake
from gateway.engine.worker.model import DecoderModel
from gateway.engine.worker.pace import Pace
from gateway.runtime.frames import encode

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.budget import TurnClass
    from gateway.core.generation import GenerationEvent
    from gateway.engine.frames import WorkerFrame
    from gateway.engine.worker.grammar import GrammarCompiler, Matcher

_WAIT_S = 30.0


class EndlessCompiler:
    """Never done with a grammar."""

    def compile(self, constraint: Constraint, turn_class: TurnClass) -> Future[Matcher]:
        return Future()

    def close(self) -> None:
        """It holds nothing."""


def engine_of(tiny_dir: Path, wake: Wake) -> Engine:
    """One slot, and a compiler that is never done."""
    return Engine(
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


def test_an_engine_that_compiles_only_is_heard_from(tiny_dir: Path) -> None:
    wake = Wake()
    engine = engine_of(tiny_dir, wake)
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


def test_without_capacity_nothing_runs_and_what_waits_expires(tiny_dir: Path) -> None:
    wake = Wake()
    engine = engine_of(tiny_dir, wake)
    engine.measure()
    ours, theirs = socket.socketpair()
    ours.settimeout(_WAIT_S)
    theirs.setblocking(False)
    patient = GenerationRequest("patient", (1, 2, 3), 5)
    late = GenerationRequest("late", (1, 2, 3), 5, first_token_deadline_s=time.monotonic() + 0.05)
    decoder = worker_frames()
    heard: list[WorkerFrame] = []

    def events() -> list[tuple[int, GenerationEvent]]:
        return [one for frame in heard if isinstance(frame, Batch) for one in frame.events]

    with closing(wake), theirs, ThreadPoolExecutor(1) as threads, ours:
        loop = threads.submit(EngineLoop(theirs, site_frames(), engine, wake).run, [])
        ours.sendall(encode(Capacity(0.0)) + encode(Submit(1, patient)) + encode(Submit(2, late)))
        while not events():
            heard += decoder.feed(ours.recv(1 << 16))
        assert events() == [(2, GenerationEnd(FinishReason.EXPIRED, 3, 0))]
        ours.sendall(encode(Capacity(1.0)))
        while not any(isinstance(event, GenerationEnd) for key, event in events() if key == 1):
            heard += decoder.feed(ours.recv(1 << 16))
        ours.close()
        loop.result(timeout=_WAIT_S)


def test_an_engine_with_half_its_capacity_rests_as_long_as_it_works_and_says_so() -> None:
    pace = Pace()
    pace.remeasured(100, 0.1, 0.01)
    load = EngineLoad(0.0, 1, 0, pace.prefill_s_per_token, pace.decode_step_s, 20.0, 20.0)
    assert (pace.rest_s(0.02), pace.with_rests(load)) == (0.0, load)
    assert pace.prefill_tokens_in(0.05) == 40
    pace.capacity_ratio = 0.5
    assert pace.rest_s(0.02) == 0.02
    assert pace.with_rests(load).prefill_s_per_token == 2 * load.prefill_s_per_token
    assert pace.with_rests(load).decode_step_s == 2 * load.decode_step_s
    assert pace.prefill_tokens_in(0.05) == 15
    pace.capacity_ratio = 0.0
    assert pace.rest_s(0.02) == inf
    assert pace.with_rests(load).decode_step_s < inf
