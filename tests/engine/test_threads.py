"""Which number of threads a small model gets."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gateway.engine.worker.threads import Speed, candidates, fastest_model, is_faster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.engine.worker.port import Floats


class PacedModel:
    """Takes as long as it is told, by a clock that only its runs move."""

    max_context_tokens = 100

    def __init__(self, run_s: float, clock: list[float]) -> None:
        self._run_s = run_s
        self._clock = clock

    def prefill(self, row: int, ids: Sequence[int], start: int) -> Floats:
        self._clock[0] += self._run_s
        return np.zeros(1, np.float32)

    def decode(self, last_ids: Sequence[int], lengths: Sequence[int]) -> Floats:
        return self.prefill(0, last_ids, 0)


@pytest.mark.parametrize(("run_s", "chosen"), [({1: 3, 2: 2, 4: 5}, 2), ({1: 1, 2: 2, 4: 2}, 1)])
def test_the_fastest_is_kept(
    run_s: dict[int, float], chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    models: Any = {number: PacedModel(one_s, clock) for number, one_s in run_s.items()}
    assert fastest_model(models.__getitem__, run_s, num_slots=8) is models[chosen]


def test_one_choice_is_not_measured() -> None:
    clock = [0.0]
    models: Any = {3: PacedModel(1.0, clock)}
    assert fastest_model(models.__getitem__, (3,), num_slots=8) is models[3]
    assert clock == [0.0]


def test_gains_are_weighed_against_losses_by_their_ratio() -> None:
    assert is_faster(Speed(1.0, 1.0, 4.0), Speed(1.0, 3.0, 1.0)) is False
    assert is_faster(Speed(20.0, 1.1, 4.0), Speed(30.0, 1.0, 6.0))


def test_spared_cores_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert candidates(spare_cores=1, is_small=True) == (1, 3, 7)
    assert candidates(spare_cores=0, is_small=False) == (8,)
    assert candidates(spare_cores=9, is_small=True) == (1,)
