"""What the engine finds out about its kernels when it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import pytest

from gateway.core.errors import EngineFault
from gateway.engine.bundle import load_bundle
from gateway.engine.worker.kv_rows import HostKvRows
from gateway.engine.worker.model import DecoderModel
from gateway.engine.worker.rounding import Rounding, grid_tokens, measure_rounding
from tests.engine.processor import avx512_vnni

if TYPE_CHECKING:
    from pathlib import Path


def _load(path: Path) -> DecoderModel:
    return DecoderModel.load(path, num_rows=2, max_context_tokens=128, num_threads=1, spin=False)


@avx512_vnni
def test_float_activations_of_a_quantised_model_round_differently_in_a_batch(
    random_int8_dir: Path, tmp_path: Path
) -> None:
    shipped = load_bundle(random_int8_dir).artifact("cpu").path
    graph = onnx.load(str(shipped))
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.name == "accuracy_level":
                attribute.i = 1
    onnx.save(graph, str(tmp_path / "model.onnx"))
    assert measure_rounding(_load(shipped)).is_same_in_batch
    assert not measure_rounding(_load(tmp_path / "model.onnx")).is_same_in_batch


def test_a_kernel_that_rounds_by_the_size_of_a_piece_is_noticed(
    random_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _load(load_bundle(random_dir).artifact("cpu").path)
    prefill = model.prefill

    def rounding(row: int, ids: list[int], start: int) -> object:
        logits = prefill(row, ids, start)
        assert isinstance(model.kv, HostKvRows)
        model.kv.arrays["1.value"][row, 0, start, 0] += len(ids) * 1e-6
        return logits

    monkeypatch.setattr(model, "prefill", rounding)
    assert measure_rounding(model) == Rounding(is_same_cut=False, is_same_in_batch=False)


def test_prompts_are_cut_finely_only_where_it_changes_nothing() -> None:
    assert grid_tokens(64, Rounding(is_same_cut=True, is_same_in_batch=False)) == 16
    assert grid_tokens(64, Rounding(is_same_cut=False, is_same_in_batch=True)) == 64
    assert grid_tokens(40, Rounding(is_same_cut=True, is_same_in_batch=True)) == 40


def test_a_model_that_cannot_be_run_says_so(
    random_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _load(load_bundle(random_dir).artifact("cpu").path)

    def faulty(row: int, ids: list[int], start: int) -> object:
        raise EngineFault("broken")

    monkeypatch.setattr(model, "prefill", faulty)
    with pytest.raises(EngineFault, match="broken"):
        measure_rounding(model)
