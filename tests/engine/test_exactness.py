"""Whatever runs beside a generation and wherever its parts come from, its tokens are the same.

The matrix of model x processor x (batching, chunking, caching, resuming, preemption, all of them)
against each generation alone in a fresh engine whose prompt runs in one piece. Tokens and
log-probabilities are compared bit for bit, which is more than the same tokens.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.config.site import SHIPPED_MODEL
from gateway.core.budget import TurnClass
from gateway.core.generation import GenerationEnd, GenerationRequest, Sampling, TokenFrame
from gateway.core.scheduling import Scheduler, check
from gateway.engine.bundle import load_bundle
from gateway.engine.worker.engine import Engine
from gateway.engine.worker.grammar import GrammarCompiler
from gateway.engine.worker.model import DecoderModel
from gateway.engine.worker.processor import CPU
from gateway.engine.worker.rounding import Rounding, grid_tokens, measure_rounding
from tests.engine.apart import APART
from tests.engine.processor import avx512_vnni

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.generation import TokenLogprob

MODELS = ("tiny_dir", "random_dir", "random_int8_dir", "shipped")
ON_A_DEVICE = ("random_dir", "random_half_dir")
_MAX_CONTEXT_TOKENS = 400
_NUM_SLOTS, _NUM_SPARE_ROWS = 4, 3
_WHOLE = 512
"""A chunk that takes any prompt here whole."""


@dataclass(slots=True)
class Answer:
    """What came of a request."""

    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    cached_tokens: int = 0


@pytest.fixture(
    scope="module",
    params=[*((name, CPU) for name in MODELS), *((name, APART) for name in ON_A_DEVICE)],
    ids=[*MODELS, *(f"{name}-on-a-device" for name in ON_A_DEVICE)],
)
def model(request: pytest.FixtureRequest) -> DecoderModel:
    name, processor = request.param
    root = SHIPPED_MODEL if name == "shipped" else request.getfixturevalue(name)
    return DecoderModel.load(
        load_bundle(root).artifacts[0].path,
        num_rows=_NUM_SLOTS + _NUM_SPARE_ROWS + 1,
        max_context_tokens=_MAX_CONTEXT_TOKENS,
        num_threads=1,
        spin=False,
        looks_ahead=True,
        processor=processor,
    )


@pytest.fixture(scope="module")
def rounding(model: DecoderModel) -> Rounding:
    return measure_rounding(model)


@pytest.fixture(scope="module")
def requests(model: DecoderModel) -> list[GenerationRequest]:
    """Prompts of one token up to several chunks, greedy and by chance."""
    rng = random.Random(5)
    vocab_size = model.layout.vocab_size
    made = []
    for index, num_prompt in enumerate((1, 2, 16, 17, 18, 33, 65, 66, 150, 31, 32, 129)):
        sampling = (
            Sampling(temperature=0.0, top_logprobs=2)
            if index % 2
            else Sampling(temperature=0.9, top_p=0.95, seed=index, top_logprobs=2)
        )
        prompt = tuple(rng.choices(range(vocab_size), k=num_prompt))
        made.append(GenerationRequest(str(index), prompt, 24, sampling, ignore_end=True))
    return made


@pytest.fixture(scope="module")
def expected(model: DecoderModel, requests: list[GenerationRequest]) -> list[Answer]:
    return [_alone(model, request) for request in requests]


def _engine(
    model: DecoderModel,
    *,
    chunk_tokens: int = _WHOLE,
    grid: int = 0,
    batches: bool = False,
    inter_token_budget_s: float = 1.0,
    num_slots: int = _NUM_SLOTS,
    ahead_cost: float = inf,
) -> Engine:
    spare = _NUM_SLOTS + _NUM_SPARE_ROWS - num_slots
    return Engine(
        model,
        Scheduler(
            num_slots,
            chunk_tokens,
            64,
            grid_tokens=grid,
            num_spare_rows=spare,
            batches_prompts=batches,
        ),
        GrammarCompiler(SHIPPED_MODEL / "tokenizer.json", model.layout.vocab_size, []),
        end_ids=frozenset(),
        frame_interval_s=0.0,
        inter_token_budget_s=inter_token_budget_s,
        on_compiled=lambda: None,
        ahead_cost=ahead_cost,
    )


def _exact_engine(model: DecoderModel, rounding: Rounding, *, chunk_tokens: int = 64) -> Engine:
    """As the engine process builds it; beside streams, prompts run in the smallest pieces.

    Every guess is tried, whether it looks good or not.
    """
    return _engine(
        model,
        chunk_tokens=chunk_tokens,
        grid=grid_tokens(chunk_tokens, rounding),
        batches=rounding.is_same_in_batch,
        inter_token_budget_s=0.0,
        ahead_cost=1.0,
    )


def _serve(engine: Engine, requests: Sequence[GenerationRequest]) -> list[Answer]:
    """Submit everything at once and step to the end."""
    for key, request in enumerate(requests, 1):
        engine.submit(key, request)
    while not engine.is_idle:
        engine.step()
        assert check(engine.scheduler) == []
    answers = [Answer(list(request.resume)) for request in requests]
    for key, event in engine.take_events():
        answer = answers[key - 1]
        if isinstance(event, TokenFrame):
            assert event.first_index == len(answer.tokens)
            answer.tokens += event.ids
            answer.logprobs += event.logprobs
        elif isinstance(event, GenerationEnd):
            assert not event.error
            answer.cached_tokens = event.cached_tokens
    return answers


def _alone(model: DecoderModel, request: GenerationRequest) -> Answer:
    (answer,) = _serve(_engine(model), [request])
    assert len(answer.tokens) == request.max_tokens
    assert answer.cached_tokens == 0
    return answer


def _outputs(answers: Sequence[Answer]) -> list[tuple[list[int], list[TokenLogprob]]]:
    return [(answer.tokens, answer.logprobs) for answer in answers]


def _resumed(request: GenerationRequest, answer: Answer, num_known: int) -> GenerationRequest:
    return msgspec.structs.replace(request, resume=tuple(answer.tokens[:num_known]))


@avx512_vnni
def test_prompts_round_alike_where_it_was_measured(rounding: Rounding) -> None:
    assert rounding == Rounding(is_same_cut=True, is_same_in_batch=True)


def test_batched_is_single(
    model: DecoderModel,
    rounding: Rounding,
    requests: list[GenerationRequest],
    expected: list[Answer],
) -> None:
    engine = _engine(model, batches=rounding.is_same_in_batch)
    assert _outputs(_serve(engine, requests)) == _outputs(expected)


@pytest.mark.parametrize("chunk_tokens", [16, 32, 64])
def test_chunked_is_whole(
    model: DecoderModel,
    rounding: Rounding,
    requests: list[GenerationRequest],
    expected: list[Answer],
    chunk_tokens: int,
) -> None:
    engine = _exact_engine(model, rounding, chunk_tokens=chunk_tokens)
    assert _outputs(_serve(engine, requests)) == _outputs(expected)


def test_cached_is_uncached(
    model: DecoderModel,
    rounding: Rounding,
    requests: list[GenerationRequest],
    expected: list[Answer],
) -> None:
    """Conversations: each turn's prompt is the last prompt, its answer and something new."""
    engine = _exact_engine(model, rounding)
    turns, answers = list(requests), list(expected)
    num_cached = 0
    for _ in range(3):
        served = _serve(engine, turns)
        num_cached += sum(answer.cached_tokens for answer in served)
        assert _outputs(served) == _outputs(answers)
        turns = [
            msgspec.structs.replace(turn, prompt=(*turn.prompt, *answer.tokens, 7, 8, 9))
            for turn, answer in zip(turns, answers, strict=True)
        ]
        answers = [_alone(model, turn) for turn in turns]
    assert num_cached > 300


def test_a_shared_beginning_is_as_good_as_an_own_one(
    model: DecoderModel, rounding: Rounding, requests: list[GenerationRequest]
) -> None:
    shared = requests[8].prompt
    branches = [
        msgspec.structs.replace(request, prompt=(*shared, *request.prompt[:20]))
        for request in requests[:8]
    ]
    served = _serve(_exact_engine(model, rounding), branches)
    assert _outputs(served) == _outputs([_alone(model, branch) for branch in branches])
    assert sum(answer.cached_tokens for answer in served) >= 5 * 128


@pytest.mark.parametrize("num_known", [1, 9, 23])
def test_resumed_is_unbroken(
    model: DecoderModel,
    rounding: Rounding,
    requests: list[GenerationRequest],
    expected: list[Answer],
    num_known: int,
) -> None:
    engine = _exact_engine(model, rounding)
    again = [
        _resumed(request, answer, num_known)
        for request, answer in zip(requests, expected, strict=True)
    ]
    served = _serve(engine, again)
    assert [answer.tokens for answer in served] == [answer.tokens for answer in expected]
    assert [answer.logprobs for answer in served] == [
        answer.logprobs[num_known:] for answer in expected
    ]


def test_preempted_is_undisturbed(
    model: DecoderModel,
    rounding: Rounding,
    requests: list[GenerationRequest],
    expected: list[Answer],
) -> None:
    engine = _exact_engine(model, rounding)
    for key, request in enumerate(requests, 1):
        batch = msgspec.structs.replace(request, turn_class=TurnClass.BATCH)
        engine.submit(key, batch)
    voice_keys: list[int] = []
    steps = 0
    while not engine.is_idle:
        engine.step()
        steps += 1
        if steps % 9 == 0 and len(voice_keys) < 9:
            key = 100 + steps
            voice_keys.append(key)
            request = requests[len(voice_keys)]
            engine.submit(key, msgspec.structs.replace(request, turn_class=TurnClass.VOICE))
    assert engine.scheduler.num_preempted >= 3
    tokens: dict[int, list[int]] = {}
    for key, event in engine.take_events():
        if isinstance(event, TokenFrame):
            assert event.first_index == len(tokens.setdefault(key, []))
            tokens[key] += event.ids
    for key, answer in enumerate(expected, 1):
        assert tokens[key] == answer.tokens
    for nth, key in enumerate(voice_keys, 1):
        assert tokens[key] == expected[nth].tokens


def test_several_tokens_in_a_run_are_as_one_by_one(
    model: DecoderModel,
    rounding: Rounding,
    requests: list[GenerationRequest],
    expected: list[Answer],
) -> None:
    assert model.ahead is not None
    engine = _exact_engine(model, rounding)
    for request, answer in zip(requests, expected, strict=True):
        assert _outputs(_serve(engine, [request])) == _outputs([answer])
        resumed = _resumed(request, answer, 20)
        assert _serve(engine, [resumed])[0].tokens == answer.tokens


def test_all_of_it_at_once(
    model: DecoderModel,
    rounding: Rounding,
    requests: list[GenerationRequest],
    expected: list[Answer],
) -> None:
    engine = _exact_engine(model, rounding)
    rng = random.Random(9)
    for _ in range(2):
        order = rng.sample(range(len(requests)), len(requests))
        known = [rng.choice((0, 0, 5, 20)) for _ in order]
        served = _serve(
            engine,
            [_resumed(requests[i], expected[i], n) for i, n in zip(order, known, strict=True)],
        )
        for answer, index, num_known in zip(served, order, known, strict=True):
            assert answer.tokens == expected[index].tokens
            assert answer.logprobs == expected[index].logprobs[num_known:]
