from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.cli.main import main
from gateway.cli.model import fitness
from gateway.engine.bundle import load_bundle
from gateway.engine.graph_report import GraphReport, RuntimeReport, probe_runtime

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.flow


@pytest.fixture(scope="module")
def runtime(tiny_bundle: Path) -> RuntimeReport:
    return probe_runtime(tiny_bundle, run=True)


def test_a_graph_is_described_and_tried(runtime: RuntimeReport, tiny_bundle: Path) -> None:
    (graph,) = runtime.graphs
    bundle = load_bundle(tiny_bundle)
    assert "cpu" in runtime.accelerators
    assert graph.kv_bytes_per_token == bundle.kv_bytes_per_token
    assert "attention_mask" in graph.inputs
    assert graph.weights_bytes > 0
    assert graph.trial is not None
    assert graph.trial.decode_tokens_per_s > 0.0


def test_what_lies_beside_a_model_is_not_run(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(tiny_bundle, tmp_path / "model")
    (copy / "msgspec.py").write_text("raise SystemExit('code of a stranger')")
    monkeypatch.chdir(copy)
    assert probe_runtime(copy).graphs


def test_fitness_says_what_is_in_the_way(runtime: RuntimeReport, tiny_bundle: Path) -> None:
    (graph,), bundle = runtime.graphs, load_bundle(tiny_bundle)

    def problem(**changes: object) -> str:
        changed: GraphReport = msgspec.structs.replace(graph, **changes)
        return fitness(changed, bundle, runtime).problem

    assert problem() == ""
    assert problem(problem="no heads") == "no heads"
    assert problem(provider="cuda") == runtime.cuda_problem != ""
    assert "of memory" in problem(weights_bytes=1 << 50)


def test_inspect_prints_the_facts(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "inspect", str(tiny_bundle), "--no-run"]) == 0
    out = capsys.readouterr().out
    bundle = load_bundle(tiny_bundle)
    for fact in (
        bundle.digest,
        "layout         firsthop",
        "fp32",
        "bytes per token",
        "hermes",
        bundle.intended_use,
        bundle.limits,
        "ok, ",
    ):
        assert fact in out
    assert main(["model", "inspect", str(tiny_bundle), "--no-run", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["digest"] == bundle.digest
    assert facts["runtime"]["graphs"][0]["num_layers"] > 0
    assert facts["fitness"][0]["problem"] == ""


def test_a_graph_that_cannot_be_served_is_code_1(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_bundle, copy)
    graph = load_bundle(copy).artifacts[0].path
    graph.write_bytes(b"no graph")
    assert main(["model", "inspect", str(copy)]) == 1
    assert "digest" in capsys.readouterr().err
    (report,) = probe_runtime(copy).graphs
    assert "is not an ONNX graph" in report.problem
