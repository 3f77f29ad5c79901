"""Tokens are those of all logits, whether the model finds the largest itself or not."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from gateway.core.generation import (
    Constraint,
    ConstraintKind,
    GenerationEnd,
    GenerationRequest,
    Sampling,
    TokenFrame,
)
from gateway.core.scheduling import Scheduler
from gateway.engine.bundle import load_bundle
from gateway.engine.worker.engine import Engine
from gateway.engine.worker.grammar import GrammarCompiler
from gateway.engine.worker.model import DecoderModel

if TYPE_CHECKING:
    from pathlib import Path

_SAMPLINGS = (
    Sampling(temperature=0.0),
    Sampling(temperature=1.5, top_k=3, seed=1),
    Sampling(temperature=1.5, top_k=50, seed=2),
    Sampling(temperature=2.0, top_k=64, top_p=0.9, seed=3),
    Sampling(temperature=2.0, top_k=40, min_p=0.05, seed=4),
    Sampling(temperature=1.0, top_k=100, seed=5),
    Sampling(temperature=1.0, top_p=0.9, seed=6),
    Sampling(temperature=0.0, frequency_penalty=1.0),
    Sampling(temperature=1.0, top_k=9, logit_bias={99: 5.0}, seed=7),
)
_GRAMMARS = (None, Constraint(ConstraintKind.REGEX, "[a-h]{9,30}"))


def _served(root: Path, model: DecoderModel, constraint: Constraint | None) -> list[list[int]]:
    """What each sampling draws, all in one batch."""
    compiled = threading.Event()
    compiler = GrammarCompiler(root / "tokenizer.json", model.layout.vocab_size, [257])
    engine = Engine(
        model,
        Scheduler(len(_SAMPLINGS), 64, 64),
        compiler,
        end_ids=frozenset({257}),
        frame_interval_s=0.0,
        inter_token_budget_s=1.0,
        on_compiled=compiled.set,
    )
    for key, sampling in enumerate(_SAMPLINGS):
        prompt = tuple(range(40 + key))
        engine.submit(key, GenerationRequest("r", prompt, 20, sampling, constraint))
    while not engine.is_resting:
        if engine.is_idle:
            assert compiled.wait(60)
            compiled.clear()
        engine.admit_compiled()
        engine.step()
    compiler.close()
    tokens: list[list[int]] = [[] for _ in _SAMPLINGS]
    for key, event in engine.take_events():
        if isinstance(event, TokenFrame):
            tokens[key] += event.ids
        elif isinstance(event, GenerationEnd):
            assert not event.error
    return tokens


@pytest.mark.parametrize("constraint", _GRAMMARS, ids=["free", "grammar"])
def test_the_models_largest_logits_give_what_all_of_them_give(
    random_dir: Path, constraint: Constraint | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = DecoderModel.load(
        load_bundle(random_dir).artifact("cpu").path,
        num_rows=len(_SAMPLINGS) + 1,
        max_context_tokens=128,
        num_threads=1,
        spin=False,
    )
    with_top = _served(random_dir, model, constraint)
    monkeypatch.setattr(model, "top", lambda num_rows: None)
    assert with_top == _served(random_dir, model, constraint)
    assert all(len(tokens) >= 9 for tokens in with_top)
