"""The script for a GPU runs without one, needs little, and sees what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gateway.engine.worker.processor import CPU
from loadtests import cuda_engine
from loadtests.device_checks import divergence, faults, reference
from loadtests.local_site import ROOT
from models.gqa_graph import DecoderShape
from models.make_tiny import BENCHMARK_SHAPES

if TYPE_CHECKING:
    from pathlib import Path

_SHAPE = DecoderShape(
    vocab_size=300,
    hidden_size=64,
    num_layers=2,
    num_heads=2,
    num_kv_heads=1,
    head_dim=32,
    ffn_size=128,
    max_len=1024,
)
_NEEDED = set(
    "numpy onnx google ml_dtypes typing_extensions onnxruntime msgspec tokenizers".split()
)
_LISTS_IMPORTS = (
    "import sys; before = set(sys.modules); import loadtests.cuda_engine\n"
    "roots = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
    "print(*roots - set(sys.stdlib_module_names) - {'gateway', 'loadtests', 'models'})"
)


@pytest.fixture
def small_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(BENCHMARK_SHAPES, "small", _SHAPE)
    monkeypatch.setattr(cuda_engine, "BUILD", tmp_path)
    monkeypatch.setitem(sys.modules, "llguidance", None)
    return "small"


def test_it_runs_and_ends_with_a_table(
    small_shape: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "figures.json"
    arguments = ["--shape", small_shape, "--provider", "cpu", "--quick", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["cuda_engine", *arguments])
    assert cuda_engine.main() == 0
    body = json.loads(file.read_text())
    assert body["against_cpu_fp32"]["tokens"] == 32
    assert [one["rows"] for one in body["decode"]] == [1, 2, 4]
    assert set(body["exactness"]) == {
        "again",
        "batched",
        "cached",
        "resumed",
        "resumed_in_a_batch",
    }
    assert all(one["answers"] == 4 for one in body["exactness"].values())
    assert body["burst"]["ttft_ms"]["n"] == 12
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("burst of 4 clients: ")


def test_a_device_that_computes_something_else_is_noticed(small_shape: str) -> None:
    half = cuda_engine.model_of(
        cuda_engine.bundle_of(small_shape, "fp16"), cuda_engine.processor_of("cpu"), 3
    )
    single = cuda_engine.model_of(cuda_engine.bundle_of(small_shape, "fp32"), CPU, 1)
    prompts = cuda_engine.prompts_of(_SHAPE.vocab_size, 3, longest=30, shortest=2)
    expected = reference(single, prompts, 6)
    assert faults(divergence(half, prompts, expected)) == []
    others = [one._replace(logits=np.roll(one.logits, 1, axis=1)) for one in expected]
    assert len(faults(divergence(half, prompts, others))) == 2


def test_without_a_gpu_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cuda_engine, "what_is_missing", lambda: "no driver; install one")
    monkeypatch.setattr(sys, "argv", ["cuda_engine"])
    with pytest.raises(SystemExit) as stopped:
        cuda_engine.main()
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "cuda_engine: no driver; install one\n"


def test_it_needs_no_more_than_it_says() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LISTS_IMPORTS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) <= _NEEDED
