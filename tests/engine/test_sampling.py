"""Sampling: the right distribution, the right candidates, the same draw for the same counter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import EngineFault, InvalidRequest
from gateway.core.generation import Sampling
from gateway.engine.worker.sampling import (
    Sampler,
    Top,
    draw_together,
    gumbel,
    largest,
    logprob_of,
    nucleus,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOGITS = np.array([2.0, 1.0, 0.5, 0.0, -1.0, -3.0], np.float32)


def _softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    weights = np.exp(logits.astype(np.float64) / temperature)
    normalised: NDArray[np.float64] = weights / weights.sum()
    return normalised


def _draws(sampling: Sampling, num_draws: int = 4000) -> NDArray[np.int64]:
    sampler = Sampler(sampling, ())
    return np.array([sampler.draw(_LOGITS, position, None) for position in range(num_draws)])


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.6])
def test_draws_are_distributed_as_the_softmax(temperature: float) -> None:
    counts = np.bincount(_draws(Sampling(temperature=temperature, seed=5)), minlength=6)
    expected = 4000 * _softmax(_LOGITS, temperature)
    chi_squared = float(((counts - expected) ** 2 / expected).sum())
    assert chi_squared < 20.5  # the 0.999 quantile at five degrees of freedom


def test_noise_is_standard_gumbel_and_independent_across_its_counters() -> None:
    ids = np.arange(20_000)
    noise = gumbel(3, 0, ids)
    assert noise.mean() == pytest.approx(np.euler_gamma, abs=0.03)
    assert noise.var() == pytest.approx(np.pi**2 / 6, abs=0.06)
    for other in (gumbel(4, 0, ids), gumbel(3, 1, ids), gumbel(3, 0, ids + 1)):
        assert abs(np.corrcoef(noise, other)[0, 1]) < 0.03


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 1 << 20))
def test_a_draw_depends_on_seed_and_position_alone(seed: int, position: int) -> None:
    ids = np.arange(300)
    assert np.array_equal(gumbel(seed, position, ids)[7:9], gumbel(seed, position, ids[7:9]))
    sampling = Sampling(seed=seed)
    seasoned, fresh = Sampler(sampling, ()), Sampler(sampling, (1, 2))
    seasoned.draw(_LOGITS, position + 1, None)
    assert seasoned.draw(_LOGITS, position, None) == fresh.draw(_LOGITS, position, None)


def test_different_seeds_draw_differently() -> None:
    assert not np.array_equal(_draws(Sampling(seed=1), 50), _draws(Sampling(seed=2), 50))


@pytest.mark.parametrize(
    ("sampling", "possible"),
    [
        (Sampling(top_k=2), {0, 1}),
        (Sampling(top_k=1), {0}),
        (Sampling(temperature=0.0), {0}),
        (Sampling(temperature=5e-324), {0}),
        (Sampling(temperature=1e-307, top_p=0.9, min_p=0.1), {0}),
        (Sampling(top_p=0.5), {0}),
        (Sampling(top_p=0.8), {0, 1, 2}),
        (Sampling(min_p=0.2), {0, 1, 2}),
        (Sampling(min_p=1.0), {0}),
        (Sampling(logit_bias={0: -100.0, 5: 100.0}), {5}),
        (Sampling(logit_bias={70_000: 100.0}, top_k=1), {0}),
    ],
)
def test_only_the_candidates_are_drawn_and_each_of_them_is(
    sampling: Sampling, possible: set[int]
) -> None:
    assert set(_draws(sampling, 400).tolist()) == possible


def test_the_grammar_mask_comes_first() -> None:
    allowed = np.array([False, False, False, True, True, False])
    for sampling in (Sampling(temperature=0.0), Sampling(top_k=2), Sampling(top_p=0.3)):
        assert Sampler(sampling, ()).draw(_LOGITS, 0, allowed) in (3, 4)


@given(
    st.lists(st.floats(-20, 20), min_size=1, max_size=600),
    st.floats(0.01, 1.0),
    st.integers(1, 40),
)
def test_nucleus_and_largest_equal_their_definitions(
    values: list[float], top_p: float, count: int
) -> None:
    scaled = np.array(values)
    order = np.argsort(-scaled, kind="stable")
    assert np.array_equal(largest(scaled, count), order[:count])
    probabilities = np.exp(scaled - scaled.max())
    probabilities /= probabilities.sum()
    kept = nucleus(scaled, top_p)
    assert np.array_equal(kept, order[: len(kept)])
    assert probabilities[kept].sum() >= top_p - 1e-9
    assert probabilities[kept[:-1]].sum() < top_p + 1e-9


def test_penalties_follow_their_definitions() -> None:
    flat = np.array([1.0, 1.0, 1.0, -1.0], np.float32)
    once = Sampling(temperature=0.0, presence_penalty=0.5, frequency_penalty=0.25)
    sampler = Sampler(once, (2,))
    assert sampler.draw(flat, 0, None) == 0
    sampler.saw(0)
    sampler.saw(1)
    sampler.saw(1)
    shaped = sampler._shape(flat, None)
    assert shaped.tolist() == [0.25, 0.0, 1.0, -1.0]
    repeated = Sampler(Sampling(temperature=0.0, repetition_penalty=2.0), (2, 3))
    repeated.saw(0)
    assert repeated._shape(flat, None).tolist() == [0.5, 1.0, 0.5, -2.0]
    assert flat.tolist() == [1.0, 1.0, 1.0, -1.0]


_SAMPLINGS = st.builds(
    Sampling,
    temperature=st.floats(0.0, 2.0),
    top_k=st.integers(0, 1 << 20),
    top_p=st.floats(0.0, 1.0, exclude_min=True),
    min_p=st.floats(0.0, 1.0),
    presence_penalty=st.floats(-2.0, 2.0),
    frequency_penalty=st.floats(-2.0, 2.0),
    repetition_penalty=st.floats(0.01, 10.0),
    logit_bias=st.dictionaries(st.integers(0, 8), st.floats(-100.0, 100.0)),
)


@given(_SAMPLINGS, st.floats(1e-3, 1e30))
def test_whatever_is_asked_for_in_range_can_be_drawn(sampling: Sampling, scale: float) -> None:
    sampler = Sampler(sampling, (0, 5))
    for token_id in (1, 1, 3):
        sampler.saw(token_id)
    allowed = np.array([True, True, False, True, True, False])
    assert allowed[sampler.draw(_LOGITS * np.float32(scale), 3, allowed)]


@pytest.mark.parametrize("penalty", [1e-300, 0.0, 0.009, 10.1])
def test_a_repetition_penalty_without_measure_is_refused(penalty: float) -> None:
    with pytest.raises(InvalidRequest, match=r"repetition_penalty must be at least 0\.01"):
        Sampling(repetition_penalty=penalty)


def test_plain_greedy_is_recognised() -> None:
    assert Sampler(Sampling(temperature=0.0), ()).is_plain_greedy
    assert not Sampler(Sampling(temperature=0.0, frequency_penalty=0.1), ()).is_plain_greedy
    assert not Sampler(Sampling(temperature=0.0, logit_bias={1: 1.0}), ()).is_plain_greedy
    assert not Sampler(Sampling(), ()).is_plain_greedy


def test_logprobs_are_those_of_the_raw_logits() -> None:
    expected = np.log(_softmax(_LOGITS))
    logprob = logprob_of(_LOGITS, 2, 3)
    assert logprob.logprob == pytest.approx(expected[2])
    assert [token_id for token_id, _ in logprob.top] == [0, 1, 2]
    every = logprob_of(_LOGITS, 0, 20)
    assert sum(np.exp(value) for _, value in every.top) == pytest.approx(1.0)
    assert logprob_of(_LOGITS, 0, 0).top == ()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_not_numbers_fail_the_draw(temperature: float) -> None:
    sampler = Sampler(Sampling(temperature=temperature), ())
    with pytest.raises(EngineFault):
        sampler.draw(np.full(6, np.nan, np.float32), 0, None)
    with pytest.raises(EngineFault):
        sampler.draw(_LOGITS, 0, np.zeros(6, np.bool_))


def _top(logits: NDArray[np.float32], count: int) -> Top:
    ids = np.array([largest(row, count) for row in logits])
    return Top(np.take_along_axis(logits, ids, axis=1), ids)


@given(_SAMPLINGS, st.integers(0, 1 << 20), st.sets(st.integers(0, 99), min_size=1))
def test_the_largest_logits_are_enough_or_say_that_they_are_not(
    sampling: Sampling, position: int, admitted: set[int]
) -> None:
    logits = np.random.default_rng(position).integers(-9, 9, 100).astype(np.float32)
    allowed = np.isin(np.arange(100), list(admitted))
    top = _top(logits[None], 20).row(0)
    sampler = Sampler(sampling, (0, 5))
    few = sampler.draw_from(top.only(allowed[top.ids]), position)
    assert few is None or few == sampler.draw(logits, position, allowed)
    within = allowed[top.ids].sum() >= max(1, sampling.top_k)
    if within and sampling.top_k and not sampling.logit_bias and not sampler._penalises:
        assert few is not None


def test_rows_drawn_together_get_what_each_draws_alone() -> None:
    rng = np.random.default_rng(8)
    logits = rng.integers(-9, 9, (40, 300)).astype(np.float32)
    samplers = [
        Sampler(Sampling(temperature=0.2 + row / 25, top_k=2 + row % 63, seed=row), ())
        for row in range(40)
    ]
    positions = rng.integers(0, 1000, 40).tolist()
    assert all(sampler.is_plain_top_k_within(64) for sampler in samplers)
    assert draw_together(samplers, positions, _top(logits, 64)) == [
        sampler.draw(row, at, None)
        for sampler, at, row in zip(samplers, positions, logits, strict=True)
    ]


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(top_k=65),
        Sampling(),
        Sampling(top_k=1),
        Sampling(top_k=5, top_p=0.9),
        Sampling(top_k=5, min_p=0.1),
        Sampling(top_k=5, logit_bias={1: 1.0}),
        Sampling(top_k=5, presence_penalty=0.1),
    ],
)
def test_rows_that_need_more_than_the_largest_logits_are_drawn_apart(sampling: Sampling) -> None:
    assert not Sampler(sampling, ()).is_plain_top_k_within(64)
