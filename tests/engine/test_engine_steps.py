"""The engine step by step, in this process: slots, faults and the delivery of tokens."""

from __future__ import annotations

import random
import threading
import time
from math import inf
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from gateway.core.budget import TurnClass
from gateway.core.errors import EngineFault
from gateway.core.generation import (
    Constraint,
    ConstraintKind,
    FinishReason,
    GenerationEnd,
    GenerationRequest,
    Refusal,
    Sampling,
    TokenFrame,
)
from gateway.core.rows import Move
from gateway.core.scheduling import Scheduler, check
from gateway.engine.bundle import load_bundle
from gateway.engine.worker.engine import Engine
from gateway.engine.worker.grammar import GrammarCompiler
from gateway.engine.worker.model import DecoderModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gateway.core.generation import GenerationEvent

_GREEDY = Sampling(temperature=0.0)
_PROMPT = tuple(random.Random(7).choices(range(256), k=140))

MakeEngine = "Callable[..., Engine]"


@pytest.fixture(scope="module")
def model(tiny_dir: Path) -> DecoderModel:
    path = load_bundle(tiny_dir).artifact("cpu").path
    return DecoderModel.load(path, num_rows=3, max_context_tokens=400, num_threads=1, spin=False)


@pytest.fixture
def compiled() -> threading.Event:
    return threading.Event()


@pytest.fixture
def make_engine(
    model: DecoderModel, tiny_dir: Path, compiled: threading.Event
) -> Iterator[Callable[[float], Engine]]:
    compiler = GrammarCompiler(tiny_dir / "tokenizer.json", model.layout.vocab_size, [257])

    def make(frame_interval_s: float = 0.0) -> Engine:
        return _engine(model, compiler, compiled, frame_interval_s)

    yield make
    compiler.close()


def _engine(
    model: DecoderModel,
    compiler: GrammarCompiler,
    compiled: threading.Event,
    frame_interval_s: float = 0.0,
) -> Engine:
    return Engine(
        model,
        Scheduler(num_slots=2, chunk_tokens=64, max_num_queued=4),
        compiler,
        end_ids=frozenset({257}),
        frame_interval_s=frame_interval_s,
        inter_token_budget_s=0.05,
        on_compiled=compiled.set,
    )


def _prompt(seed: int) -> tuple[int, ...]:
    return tuple(random.Random(seed).choices(range(256), k=140))


def _request(
    max_tokens: int = 6,
    constraint: Constraint | None = None,
    *,
    prompt: tuple[int, ...] = _PROMPT,
    turn_class: TurnClass = TurnClass.AGENT,
) -> GenerationRequest:
    return GenerationRequest("r", prompt, max_tokens, _GREEDY, constraint, turn_class)


def _echo(prompt: tuple[int, ...], num_tokens: int) -> list[int]:
    """What the tiny model answers."""
    tokens = list(prompt)
    for _ in range(num_tokens):
        tokens.append(tokens[-128])
    return tokens[len(prompt) :]


def _tokens(events: list[GenerationEvent]) -> list[int]:
    return [id_ for event in events if isinstance(event, TokenFrame) for id_ in event.ids]


def _finish(engine: Engine) -> dict[int, list[GenerationEvent]]:
    """Step until nothing is left; the events by key."""
    while not engine.is_idle:
        engine.step()
        assert check(engine.scheduler) == []
    events: dict[int, list[GenerationEvent]] = {}
    for key, event in engine.take_events():
        events.setdefault(key, []).append(event)
    return events


def test_a_cancelled_slot_is_taken_by_the_very_next_step(
    make_engine: Callable[[float], Engine],
) -> None:
    engine = make_engine(0.0)
    for key in (1, 2, 3):
        engine.submit(key, _request(100, prompt=_prompt(key)))
    for _ in range(10):
        engine.step()
    assert (engine.load().num_active, engine.load().num_queued) == (2, 1)
    engine.cancel(1)
    assert (engine.load().num_active, engine.load().num_queued) == (1, 1)
    engine.step()
    assert (engine.load().num_active, engine.load().num_queued) == (2, 0)
    assert engine.load().queued_prompt_tokens == len(_PROMPT) - 64
    events = _finish(engine)
    assert isinstance(events[1][-1], GenerationEnd)
    assert events[1][-1].reason is FinishReason.CANCELLED
    assert events[3][-1] == GenerationEnd(FinishReason.LENGTH, len(_PROMPT), 100)


def test_the_first_token_leaves_at_once_and_later_ones_together(
    make_engine: Callable[[float], Engine],
) -> None:
    engine = make_engine(3600.0)
    engine.submit(1, _request(6))
    frames = [event for event in _finish(engine)[1] if isinstance(event, TokenFrame)]
    expected = _PROMPT[-128:-122]
    assert [(frame.first_index, frame.ids) for frame in frames] == [
        (0, expected[:1]),
        (1, expected[1:]),
    ]
    assert frames[0].prefill_s > 0.0
    assert frames[1].prefill_s == frames[1].queue_s == 0.0


def test_a_fault_in_a_prefill_fails_that_request_alone(
    make_engine: Callable[[float], Engine], model: DecoderModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(0.0)
    engine.submit(1, _request())
    for _ in range(3):
        engine.step()
    prefill = model.prefill

    def faulty(row: int, ids: tuple[int, ...], start: int) -> object:
        if start == 64:
            raise EngineFault("the model could not be run: broken")
        return prefill(row, ids, start)

    monkeypatch.setattr(model, "prefill", faulty)
    engine.submit(2, _request(prompt=_prompt(2)))
    events = _finish(engine)
    assert events[2] == [
        GenerationEnd(FinishReason.FAILED, 140, 0, error="the model could not be run: broken")
    ]
    assert events[1][-1] == GenerationEnd(FinishReason.LENGTH, 140, 6)


def test_a_fault_in_decode_fails_only_the_row_that_causes_it(
    make_engine: Callable[[float], Engine], model: DecoderModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(0.0)
    for key in (1, 2):
        engine.submit(key, _request(20, prompt=_prompt(key)))
    for _ in range(8):
        engine.step()
    decode = model.decode
    poison = _echo(_prompt(1), 10)[9]
    assert poison not in _echo(_prompt(2), 20)

    def faulty(ids: list[int], lengths: list[int], *, first_row: int = 0) -> object:
        if poison in ids:
            raise EngineFault("the model could not be run: broken")
        return decode(ids, lengths, first_row=first_row)

    monkeypatch.setattr(model, "decode", faulty)
    events = _finish(engine)
    assert _tokens(events[1]) == _echo(_prompt(1), 10)
    assert events[1][-1] == GenerationEnd(
        FinishReason.FAILED, 140, 10, error="the model could not be run: broken"
    )
    assert _tokens(events[2]) == _echo(_prompt(2), 20)
    assert engine.scheduler.cache.cached_tokens((*_prompt(1), 0, 0)) == 0


def test_the_next_turn_of_a_conversation_prefills_only_what_is_new(
    make_engine: Callable[[float], Engine],
) -> None:
    engine = make_engine(0.0)
    engine.submit(1, _request(20))
    first = _finish(engine)
    turn = (*_PROMPT, *_tokens(first[1]), *_prompt(5))
    engine.submit(2, _request(20, prompt=turn))
    engine.step()
    assert engine.load().queued_prompt_tokens == len(turn) - 128 - 64
    second = _finish(engine)
    assert _tokens(second[2]) == _echo(turn, 20)
    assert isinstance(second[2][-1], GenerationEnd)
    assert second[2][-1].cached_tokens == 128
    assert engine.load().cached_ratio > 0.0


def test_preempted_work_goes_on_where_it_was_and_its_stream_sees_a_pause_only(
    make_engine: Callable[[float], Engine],
) -> None:
    engine = make_engine(0.0)
    engine.submit(1, _request(30, prompt=_prompt(1), turn_class=TurnClass.BATCH))
    engine.submit(2, _request(40, prompt=_prompt(2)))
    for _ in range(15):
        engine.step()
    engine.submit(3, _request(5, prompt=_prompt(3), turn_class=TurnClass.VOICE))
    engine.step()
    assert engine.scheduler.num_preempted == 1
    assert engine.load().num_queued == 1
    events = _finish(engine)
    for key, num_tokens in ((1, 30), (2, 40), (3, 5)):
        assert _tokens(events[key]) == _echo(_prompt(key), num_tokens)
        firsts = [event.first_index for event in events[key] if isinstance(event, TokenFrame)]
        assert firsts == sorted(set(firsts))


def test_an_idle_measurement_leaves_parked_prompts_alone(
    make_engine: Callable[[float], Engine],
) -> None:
    engine = make_engine(0.0)
    for key in (1, 2):
        engine.submit(key, _request(4 * key, prompt=_prompt(key)))
    _finish(engine)
    for _ in range(3):
        engine.measure()
    for key in (1, 2):
        turn = (*_prompt(key), *_prompt(9))
        engine.submit(10 + key, _request(20, prompt=turn))
        events = _finish(engine)
        assert _tokens(events[10 + key]) == _echo(turn, 20)
        end = events[10 + key][-1]
        assert isinstance(end, GenerationEnd)
        assert end.cached_tokens == 128


def test_a_prepared_grammar_is_ready_when_a_request_brings_it(
    make_engine: Callable[[float], Engine],
) -> None:
    engine = make_engine(0.0)
    constraint = Constraint(ConstraintKind.REGEX, "[a-c]{3}")
    engine.prepare(constraint)
    until_s = time.monotonic() + 10.0
    while engine._compiler._outcomes.get(constraint) is None:
        assert time.monotonic() < until_s
        time.sleep(0.001)
    engine.submit(1, _request(8, constraint))
    engine.admit_compiled()
    assert not engine.is_idle


def test_cancelling_while_a_grammar_is_compiled_leaves_nothing(
    make_engine: Callable[[float], Engine], compiled: threading.Event
) -> None:
    engine = make_engine(0.0)
    constraint = Constraint(ConstraintKind.REGEX, "[0-9]{5}")
    engine.submit(1, _request(10, constraint))
    assert engine.load().num_queued == 1
    assert engine.load().queued_prompt_tokens == 140
    engine.cancel(1)
    engine.submit(2, _request(10, constraint))
    while engine.is_idle:
        assert compiled.wait(60)
        compiled.clear()
        engine.admit_compiled()
    events = _finish(engine)
    assert events[1] == [GenerationEnd(FinishReason.CANCELLED, 140, 0)]
    digits = [i for event in events[2] if isinstance(event, TokenFrame) for i in event.ids]
    assert bytes(digits).isdigit()
    assert events[2][-1] == GenerationEnd(FinishReason.STOP, 140, 5)


def test_a_deadline_passes_while_grammars_of_others_are_compiled(
    model: DecoderModel, tiny_dir: Path, compiled: threading.Event
) -> None:
    compiler = GrammarCompiler(tiny_dir / "tokenizer.json", model.layout.vocab_size, [257])
    engine = _engine(model, compiler, compiled)
    release = threading.Event()
    blockers = [compiler._threads.submit(release.wait, 10) for _ in range(2)]
    hasty, patient = (
        msgspec.structs.replace(
            _request(10, Constraint(ConstraintKind.REGEX, "[0-9]{5}")),
            first_token_deadline_s=deadline_s,
        )
        for deadline_s in (time.monotonic() - 1.0, None)
    )
    assert engine.next_expiry_s == inf
    engine.submit(1, hasty)
    engine.submit(2, patient)
    engine.submit(3, _request(10, Constraint(ConstraintKind.REGEX, "[0-9]{6}")))
    engine.cancel(3)
    assert [event for key, event in engine.take_events() if key == 3] == [
        GenerationEnd(FinishReason.CANCELLED, 140, 0)
    ]
    assert engine.next_expiry_s == hasty.first_token_deadline_s
    engine.admit_compiled()
    assert engine.take_events() == ((1, GenerationEnd(FinishReason.EXPIRED, 140, 0)),)
    assert (engine.next_expiry_s, engine.load().num_queued) == (inf, 1)
    release.set()
    while engine.is_idle:
        assert compiled.wait(60)
        compiled.clear()
        engine.admit_compiled()
    assert _finish(engine)[2][-1] == GenerationEnd(FinishReason.STOP, 140, 5)
    assert [one.text for one in compiler._outcomes._by_constraint] == ["[0-9]{5}"]
    engine.close()
    assert all(blocker.result() for blocker in blockers)


def test_a_grammar_that_turns_costly_ends_its_answer_alone(
    make_engine: Callable[[float], Engine], compiled: threading.Event
) -> None:
    engine = make_engine(0.0)
    rules = ["start: A B", "A: /[a-z]{40}/", "B: /(y|yy){5000}/"]
    engine.submit(1, _request(100, Constraint(ConstraintKind.LARK, "\n".join(rules))))
    engine.submit(2, _request(60))
    while engine.scheduler.num_queued + engine.scheduler.num_active < 2:
        assert compiled.wait(60)
        compiled.clear()
        engine.admit_compiled()
    events = _finish(engine)
    end = events[1][-1]
    assert isinstance(end, GenerationEnd)
    assert (end.reason, end.refusal) == (FinishReason.FAILED, Refusal.INVALID_SCHEMA)
    assert end.completion_tokens >= 30
    assert events[2][-1] == GenerationEnd(FinishReason.LENGTH, 140, 60)


@pytest.fixture
def full_engine(make_engine: Callable[[float], Engine]) -> Engine:
    """As many agent turns wait as may."""
    engine = make_engine(0.0)
    for key in range(6):
        engine.submit(key, _request(1))
        if key < 2:
            engine.step()
    return engine


def _began(engine: Engine, request: GenerationRequest, *, is_resubmission: bool = False) -> bool:
    engine.submit(99, request, is_resubmission=is_resubmission)
    *_, end = _finish(engine)[99]
    assert isinstance(end, GenerationEnd)
    if end.refusal is None:
        assert end.reason is FinishReason.LENGTH
        return True
    assert (end.reason, end.refusal) == (FinishReason.EXPIRED, Refusal.QUEUE_FULL)
    return False


def test_a_full_queue_refuses_the_same_class_and_later_ones(full_engine: Engine) -> None:
    assert not _began(full_engine, _request(1))


def test_a_full_queue_refuses_no_earlier_class(full_engine: Engine) -> None:
    assert _began(full_engine, msgspec.structs.replace(_request(1), turn_class=TurnClass.VOICE))


def test_a_full_queue_refuses_nothing_that_was_taken_before(full_engine: Engine) -> None:
    assert _began(full_engine, _request(1), is_resubmission=True)


def test_a_full_queue_refuses_nothing_that_has_begun(full_engine: Engine) -> None:
    begun = msgspec.structs.replace(_request(1), resume=(5,), max_tokens=3)
    assert _began(full_engine, begun)


def test_an_idle_engine_expects_answers_as_long_as_they_have_been(
    make_engine: Callable[[float], Engine],
) -> None:
    engine = make_engine(0.0)
    load = engine.load()
    assert load.mean_remaining_tokens == load.answer_tokens == engine.pace.answer_tokens > 0
    for key in range(3):
        engine.submit(key, _request(2))
    engine.step()
    load = engine.load()
    assert (load.mean_remaining_tokens, load.answer_tokens) == (2.0, 2.0)


def test_a_tokenizer_that_grammars_cannot_use_fails_the_request_alone(
    model: DecoderModel, tmp_path: Path, compiled: threading.Event
) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    compiler = GrammarCompiler(tmp_path / "tokenizer.json", model.layout.vocab_size, [257])
    engine = _engine(model, compiler, compiled)
    engine.submit(1, _request(10, Constraint(ConstraintKind.REGEX, "[0-9]")))
    assert not engine.is_resting
    assert compiled.wait(60)
    engine.admit_compiled()
    engine.submit(2, _request(3))
    events = _finish(engine)
    engine.close()
    (end,) = events[1]
    assert isinstance(end, GenerationEnd)
    assert (end.reason, end.refusal) == (FinishReason.FAILED, None)
    assert "cannot be constrained" in end.error
    assert events[2][-1] == GenerationEnd(FinishReason.LENGTH, 140, 3)


def test_one_runtime_error_leaves_the_model_usable(model: DecoderModel) -> None:
    ids = list(_PROMPT)
    alone = model.prefill(0, ids, 0)[0].copy()
    with pytest.raises(EngineFault, match="could not be run"):
        model.prefill(0, [10**9], 0)
    assert np.array_equal(model.prefill(1, ids, 0)[0], alone)


def test_moved_rows_decode_as_before(model: DecoderModel) -> None:
    model.prefill(0, _PROMPT, 0)
    model.prefill(2, _PROMPT, 0)
    before = model.decode([5], [140])[0].copy()
    model.kv.move(Move(src=2, dst=1, num_tokens=140))
    assert np.array_equal(model.decode([9, 5], [140, 140])[1], before)
