"""Several tokens of the only stream in one run."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import msgspec
import onnx
import pytest

from gateway.core.errors import EngineFault
from gateway.core.generation import (
    Constraint,
    ConstraintKind,
    FinishReason,
    GenerationEnd,
    TokenFrame,
)
from gateway.core.scheduling import Scheduler, check
from gateway.engine.bundle import load_bundle
from gateway.engine.worker.ahead_cost import ahead_cost
from gateway.engine.worker.ahead_graph import ahead_graph
from gateway.engine.worker.engine import Engine
from gateway.engine.worker.grammar import GrammarCompiler
from gateway.engine.worker.model import DecoderModel
from gateway.engine.worker.served_graph import served_graph
from tests.engine.streams import lagged_answer, make_request

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gateway.core.generation import GenerationRequest
    from gateway.engine.worker.port import Logits
    from gateway.engine.worker.sampling import Top

_CONTEXT_TOKENS = 400


class CountedRuns:
    """Runs ahead, counted, until they are to fail."""

    def __init__(self, model: DecoderModel) -> None:
        assert model.ahead is not None
        self._ahead = model.ahead
        self.count = 0
        self.fails = False

    def decode(self, ids: Sequence[int], start: int) -> tuple[Logits, Top]:
        """As the model's."""
        if self.fails:
            raise EngineFault("broken")
        self.count += 1
        return self._ahead.decode(ids, start)


def _load(bundle: Path) -> DecoderModel:
    return DecoderModel.load(
        load_bundle(bundle).artifact("cpu").path,
        num_rows=3,
        max_context_tokens=_CONTEXT_TOKENS,
        num_threads=1,
        spin=False,
        looks_ahead=True,
    )


@pytest.fixture
def model(tiny_dir: Path) -> DecoderModel:
    return _load(tiny_dir)


@pytest.fixture
def runs(model: DecoderModel, monkeypatch: pytest.MonkeyPatch) -> CountedRuns:
    counted = CountedRuns(model)
    monkeypatch.setattr(model, "ahead", counted)
    return counted


@pytest.fixture
def engine(model: DecoderModel, tiny_dir: Path) -> Iterator[Engine]:
    compiler = GrammarCompiler(tiny_dir / "tokenizer.json", model.layout.vocab_size, [257])
    yield Engine(
        model,
        Scheduler(num_slots=2, chunk_tokens=512, max_num_queued=4),
        compiler,
        end_ids=frozenset({257}),
        frame_interval_s=0.0,
        inter_token_budget_s=1.0,
        on_compiled=lambda: None,
        ahead_cost=1.5,
    )
    compiler.close()


def _served(engine: Engine, request: GenerationRequest) -> tuple[list[int], GenerationEnd, int]:
    """The tokens, the end and how many steps there were."""
    engine.submit(1, request)
    steps = 0
    while not engine.is_resting:
        engine.admit_compiled()
        engine.step()
        steps += 1
        assert check(engine.scheduler) == []
    *frames, (_, end) = engine.take_events()
    assert isinstance(end, GenerationEnd)
    ids = [i for _, frame in frames if isinstance(frame, TokenFrame) for i in frame.ids]
    return ids, end, steps


def test_a_stream_that_repeats_its_prompt_takes_fewer_runs(
    engine: Engine, runs: CountedRuns
) -> None:
    request = make_request(num_prompt=150, max_tokens=100)
    ids, _, steps = _served(engine, request)
    assert ids == lagged_answer(request)
    assert runs.count > 15
    assert steps < 60


def test_an_answer_ends_where_it_is_full(engine: Engine, runs: CountedRuns) -> None:
    for max_tokens in (40, 41, 42, 43):
        request = make_request(num_prompt=150, max_tokens=max_tokens)
        ids, end, _ = _served(engine, request)
        assert ids == lagged_answer(request)
        assert end.reason is FinishReason.LENGTH
    assert runs.count


def test_an_answer_fills_the_context_to_its_end(engine: Engine, runs: CountedRuns) -> None:
    request = make_request(num_prompt=300, max_tokens=1000)
    ids, end, _ = _served(engine, request)
    assert ids == lagged_answer(request)[: _CONTEXT_TOKENS - 300]
    assert end.reason is FinishReason.LENGTH
    assert runs.count


def test_a_grammar_holds_for_every_token(engine: Engine, runs: CountedRuns) -> None:
    request = make_request(num_prompt=150, max_tokens=80)
    constraint = Constraint(ConstraintKind.REGEX, "(ab){40}")
    bound = msgspec.structs.replace(request, constraint=constraint)
    ids, end, _ = _served(engine, bound)
    assert bytes(ids) == b"ab" * 40
    assert end.error == ""
    assert runs.count > 10


def test_a_run_that_fails_is_made_again_token_by_token(engine: Engine, runs: CountedRuns) -> None:
    runs.fails = True
    request = make_request(num_prompt=150, max_tokens=60)
    ids, end, steps = _served(engine, request)
    assert ids == lagged_answer(request)
    assert end.error == ""
    assert steps == 60


def test_two_streams_are_a_batch(engine: Engine, runs: CountedRuns) -> None:
    for key in (1, 2):
        engine.submit(key, make_request(key, num_prompt=150, max_tokens=60))
    while len(engine.scheduler.table.decoding) < 2:
        engine.step()
    num_alone = runs.count
    while not engine.is_idle:
        engine.step()
    assert runs.count <= num_alone + 1


def test_other_bits_make_it_useless(random_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _load(random_dir)
    assert 1.0 < ahead_cost(model) < inf
    assert model.ahead is not None
    decode = model.ahead.decode

    def rounding(ids: Sequence[int], start: int) -> tuple[Logits, Top]:
        logits, top = decode(ids, start)
        logits[3][0] += 1e-6
        return logits, top

    monkeypatch.setattr(model.ahead, "decode", rounding)
    assert ahead_cost(model) == inf
    model.ahead = None
    assert ahead_cost(model) == inf


def test_a_graph_that_says_something_of_single_tokens_is_left_alone(random_dir: Path) -> None:
    served, _ = served_graph(load_bundle(random_dir).artifact("cpu").path)
    assert ahead_graph(served) is not None
    graph = onnx.load_from_string(served)
    for node in graph.graph.node:
        if node.op_type == "GroupQueryAttention":
            node.input.append("position_ids")
    assert ahead_graph(graph.SerializeToString()) is None
