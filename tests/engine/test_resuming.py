"""A stream that comes to an engine in its middle."""

from __future__ import annotations

import random
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from gateway.core.generation import GenerationEnd, GenerationRequest, Sampling, TokenFrame
from gateway.core.scheduling import Scheduler, check
from gateway.engine.bundle import load_bundle
from gateway.engine.worker.engine import Engine
from gateway.engine.worker.grammar import GrammarCompiler
from gateway.engine.worker.model import DecoderModel

if TYPE_CHECKING:
    from pathlib import Path

LAG_TOKENS = 128
PROMPT = tuple(random.Random(7).choices(range(256), k=140))
ANSWER = PROMPT[-LAG_TOKENS : -LAG_TOKENS + 60]
"""What the tiny model says."""


@pytest.mark.parametrize(("resumes_fast", "num_steps"), [(True, 3), (False, 43)])
def test_what_it_has_said_is_read_like_a_prompt_or_step_by_step(
    tiny_dir: Path, resumes_fast: bool, num_steps: int
) -> None:
    path = load_bundle(tiny_dir).artifact("cpu").path
    model = DecoderModel.load(path, num_rows=3, max_context_tokens=400, num_threads=1, spin=False)
    grammars = GrammarCompiler(tiny_dir / "tokenizer.json", model.layout.vocab_size, [257])
    with closing(grammars):
        engine = Engine(
            model,
            Scheduler(num_slots=2, chunk_tokens=64, max_num_queued=4),
            grammars,
            end_ids=frozenset({257}),
            frame_interval_s=0.0,
            inter_token_budget_s=0.05,
            on_compiled=lambda: None,
            resumes_fast=resumes_fast,
        )
        greedy = Sampling(temperature=0.0)
        engine.submit(1, GenerationRequest("r", PROMPT, 60, greedy, resume=ANSWER[:40]))
        events, steps = list(engine.take_events()), 0
        while not engine.is_idle:
            engine.step()
            assert check(engine.scheduler) == []
            steps += not events
            events += engine.take_events()
    assert steps == num_steps
    frames = [event for _, event in events if isinstance(event, TokenFrame)]
    assert frames[0].first_index == 40
    assert [token_id for frame in frames for token_id in frame.ids] == list(ANSWER[40:])
    end = events[-1][1]
    assert isinstance(end, GenerationEnd)
    assert (end.prompt_tokens, end.completion_tokens, end.cached_tokens) == (140, 60, 0)
