"""The emulated accelerator: its rule, its time, and the real worker process around it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from gateway.core.generation import (
    Constraint,
    ConstraintKind,
    FinishReason,
    GenerationEnd,
    GenerationRequest,
    Sampling,
    TokenFrame,
)
from gateway.core.rows import Move
from gateway.core.step_time import Curve, StepTimes
from gateway.engine.bundle_facts import BundleUnreadable
from gateway.engine.client import EngineClient
from gateway.engine.frames import Start
from gateway.engine.worker.emulated import AcceleratorClock, EmulatedModel, Vocabulary
from gateway.engine.worker.rounding import measure_rounding

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_WORD = (1 << 64) - 1
_TIMES = StepTimes(
    name="test",
    decode=Curve((1, 8), (0.010, 0.017)),
    decode_s_per_context_token=1e-6,
    prefill=Curve((1, 64), (0.010, 0.073)),
    prefill_s_per_pair=1e-8,
    is_measured=False,
)
_ACCELERATOR = """\
basis = "assumed"
about = "fast enough for tests"
[decode]
rows = [1, 8]
step_ms = [0.5, 0.6]
context_us_per_token = 0.0
[prefill]
tokens = [1, 64]
chunk_ms = [0.5, 1.0]
past_ns_per_pair = 0.0
[sources]
"decode.step_ms" = "chosen"
"decode.context_us_per_token" = "chosen"
"prefill.chunk_ms" = "chosen"
"prefill.past_ns_per_pair" = "chosen"
"""


class FakeTime:
    """Time that passes only while somebody sleeps, and then a little too long."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.late_s = 0.0

    def now(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.now_s += duration_s + self.late_s


@pytest.fixture
def passing() -> FakeTime:
    return FakeTime()


@pytest.fixture
def vocabulary(tiny_dir: Path) -> Vocabulary:
    return Vocabulary.read(tiny_dir / "tokenizer.json")


@pytest.fixture
def model(passing: FakeTime, vocabulary: Vocabulary) -> EmulatedModel:
    clock = AcceleratorClock(passing.now, passing.sleep)
    return EmulatedModel(
        lambda: _TIMES, vocabulary, num_rows=4, max_context_tokens=512, clock=clock
    )


def _mix(word: int) -> int:
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB & _WORD
    return word ^ (word >> 31)


def _answer(prompt: Sequence[int], count: int, words: Sequence[int]) -> list[int]:
    """The rule once more, one token at a time."""
    tokens, total = list(prompt), 0
    for position in range(len(prompt) + count):
        if position >= len(prompt):
            tokens.append(words[_mix(total) % len(words)])
        keyed = _mix((position + 1) * 0x9E3779B97F4A7C15 & _WORD)
        total = (total + _mix((keyed + tokens[position]) & _WORD)) & _WORD
    return tokens[len(prompt) :]


def _prompt(seed: int, num_tokens: int = 150) -> tuple[int, ...]:
    return tuple(random.Random(seed).choices(range(256), k=num_tokens))


def test_answers_are_words_of_the_tokenizer(vocabulary: Vocabulary) -> None:
    assert vocabulary.answer_ids == tuple(sorted({*range(65, 91), *range(97, 123)}))
    assert vocabulary.vocab_size > 256


def test_chunks_rows_and_moves_leave_the_answer_alone(
    model: EmulatedModel, vocabulary: Vocabulary
) -> None:
    prompts = [_prompt(seed) for seed in range(3)]
    expected = [_answer(prompt, 3, vocabulary.answer_ids) for prompt in prompts]
    model.prefill(0, prompts[0], 0)
    model.prefill(3, prompts[1][:64], 0)
    model.kv.move(Move(src=3, dst=1, num_tokens=64))
    model.prefill(2, prompts[2][:100], 0)
    model.prefill(2, prompts[2][100:], 100)
    first = model.prefill(1, prompts[1][64:], 64)
    assert int(first.argmax()) == expected[1][0]
    for step in range(2):
        last = [answer[step] for answer in expected]
        logits = model.decode(last, [150 + step] * 3)
        assert logits.argmax(axis=1).tolist() == [answer[step + 1] for answer in expected]


def test_prompts_prefilled_together_are_as_alone(
    model: EmulatedModel, vocabulary: Vocabulary, passing: FakeTime
) -> None:
    prompts = [_prompt(1, 40), _prompt(2, 64)]
    logits = model.prefill_together(1, prompts)
    assert passing.now_s == pytest.approx(100.0 + _TIMES.prefill_s(2 * 64, 0))
    expected = [_answer(prompt, 2, vocabulary.answer_ids) for prompt in prompts]
    assert logits.argmax(axis=1).tolist() == [answer[0] for answer in expected]
    logits = model.decode([answer[0] for answer in expected], [40, 64], first_row=1)
    assert logits.argmax(axis=1).tolist() == [answer[1] for answer in expected]
    assert measure_rounding(model) == (True, True)


def test_any_wrong_token_position_or_row_changes_the_answer(model: EmulatedModel) -> None:
    prompt = list(_prompt(1))
    swapped = [prompt[1], prompt[0], *prompt[2:]]
    assert prompt[0] != prompt[1]
    model.prefill(0, prompt, 0)
    model.prefill(1, swapped, 0)
    model.prefill(2, [prompt[0] ^ 1, *prompt[1:]], 0)
    hashes = [int(model.kv.chain[row, 149]) for row in range(3)]
    assert len(set(hashes)) == 3


def test_runs_take_the_time_of_the_profile(model: EmulatedModel, passing: FakeTime) -> None:
    model.prefill(0, _prompt(1, 64), 0)
    assert passing.now_s == pytest.approx(100.073)
    model.prefill(0, _prompt(2, 64), 64)
    assert passing.now_s == pytest.approx(100.146 + 64 * 64 * 1e-8)
    before_s = passing.now_s
    model.decode([1, 2], [128, 30])
    assert passing.now_s - before_s == pytest.approx(0.011 + 158e-6)


def test_late_wakes_do_not_add_up_in_a_row_of_runs(passing: FakeTime) -> None:
    clock = AcceleratorClock(passing.now, passing.sleep)
    passing.late_s = 0.0004
    for _ in range(100):
        clock.occupy(passing.now(), 0.010)
    assert passing.now_s == pytest.approx(101.0004)


def test_an_idle_accelerator_owes_nothing_and_a_long_stall_is_lost(passing: FakeTime) -> None:
    clock = AcceleratorClock(passing.now, passing.sleep)
    passing.late_s = 1.0
    clock.occupy(passing.now(), 0.010)
    assert passing.now_s == pytest.approx(101.010)
    passing.late_s = 0.0
    clock.occupy(passing.now(), 0.010)
    assert passing.now_s == pytest.approx(101.015)  # only 5 ms of the second are made up for
    passing.late_s = 0.001
    clock.occupy(passing.now(), 0.010)
    passing.late_s, passing.now_s = 0.0, 200.0
    clock.occupy(passing.now(), 0.010)
    assert passing.now_s == pytest.approx(200.010)


def test_a_tokenizer_without_words_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text('{"added_tokens": [], "model": {"vocab": {"1": 0}}}')
    with pytest.raises(BundleUnreadable, match="no plain words"):
        Vocabulary.read(path)
    path.write_text("[]")
    with pytest.raises(BundleUnreadable, match=r"is no tokenizer\.json"):
        Vocabulary.read(path)


@pytest.fixture
def start(tiny_dir: Path, tmp_path: Path) -> Start:
    profile = tmp_path / "fast.toml"
    profile.write_text(_ACCELERATOR)
    return Start(str(tiny_dir), num_slots=4, accelerator=f"emulated:{profile}")


async def _tokens(engine: EngineClient, request: GenerationRequest) -> list[int]:
    tokens: list[int] = []
    async for event in engine.generate(request):
        if isinstance(event, TokenFrame):
            assert event.first_index == len(tokens)
            tokens += event.ids
        else:
            assert event.reason is FinishReason.LENGTH
    return tokens


def _request(seed: int, max_tokens: int = 300) -> GenerationRequest:
    return GenerationRequest(str(seed), _prompt(seed), max_tokens, Sampling(temperature=0.0))


@pytest.mark.flow
def test_streams_survive_a_killed_worker_token_for_token(
    start: Start, vocabulary: Vocabulary
) -> None:
    async def main() -> list[list[int]]:
        async with asyncio.timeout(60), EngineClient(start) as engine:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_tokens(engine, _request(seed))) for seed in range(6)]
                stream = engine.generate(_request(7))
                await anext(stream)
                assert engine.pid is not None
                os.kill(engine.pid, signal.SIGKILL)
                async for _ in stream:
                    pass
            assert engine.restarts == 1
            return [task.result() for task in tasks]

    answers = asyncio.run(main())
    words = vocabulary.answer_ids
    assert answers == [_answer(_prompt(seed), 300, words) for seed in range(6)]


@pytest.mark.flow
def test_a_grammar_and_a_cancellation_work_as_on_a_real_model(start: Start) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), EngineClient(start) as engine:
            endless = engine.generate(_request(1, max_tokens=1500))
            await anext(endless)
            await endless.aclose()
            digits = GenerationRequest(
                "d",
                _prompt(2),
                20,
                Sampling(temperature=0.0),
                Constraint(ConstraintKind.REGEX, "[0-9]{5}"),
            )
            events = [event async for event in engine.generate(digits)]
            ids = [i for event in events if isinstance(event, TokenFrame) for i in event.ids]
            assert len(ids) == 5
            assert bytes(ids).isdigit()
            assert isinstance(events[-1], GenerationEnd)
            assert events[-1].reason is FinishReason.STOP
            while engine.load().num_active:  # noqa: ASYNC110 (a load is a snapshot)
                await asyncio.sleep(0.001)

    asyncio.run(main())
