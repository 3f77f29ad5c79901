"""Which accelerator is taken, and what is said where there is no GPU."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import msgspec
import onnxruntime
import pytest

from gateway.cli import doctor
from gateway.cli.machine import Check, State
from gateway.core.errors import EngineUnavailable
from gateway.engine.bundle import load_bundle
from gateway.engine.bundle_facts import UnsupportedLayout
from gateway.engine.client import EngineClient
from gateway.engine.frames import Start
from gateway.engine.graph_report import RuntimeReport, probe_runtime
from gateway.engine.worker import cuda, processor
from gateway.engine.worker.cuda import CudaUnavailable, what_is_missing
from gateway.engine.worker.loading import load_model
from models.make_tiny import write_tiny_bundle
from tests.engine.apart import APART
from tests.engine.streams import (
    events_of,
    lagged_answer,
    make_request,
    run_bounded,
    start_for,
    tokens_of,
)

_LINKED = ("libcudart", "libcublasLt", "libcublas", "libcurand")


@pytest.fixture(scope="session")
def both_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The predictable model for the CPU and for CUDA."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "both", "fp32", "fp16")


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """A machine on which these libraries can be loaded, and no GPU works."""
    found: set[str] = set()
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(cuda, "_loads", lambda name: name.partition(".so")[0] in found)
    monkeypatch.setattr(cuda, "starts", lambda: False)
    return found


def test_what_is_missing_is_named_with_its_mend(
    libraries: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "no NVIDIA driver" in what_is_missing()
    libraries.add("libcuda")
    said = what_is_missing()
    assert all(f"{name}.so" in said for name in _LINKED)
    assert said.endswith("pip install 'firsthop[cuda]'")
    libraries.update(_LINKED)
    assert "nvidia-smi" in what_is_missing()
    monkeypatch.setattr(cuda, "starts", lambda: True)
    assert what_is_missing() == ""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "has no CUDA" in what_is_missing()


def test_libraries_of_installed_packages_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where packages lie that were carried into a directory of their own."""
    folder = tmp_path / "nvidia" / "cu13" / "lib"
    folder.mkdir(parents=True)
    (folder / "libcudart.so.13").write_bytes(b"")
    loaded = []
    monkeypatch.setattr("ctypes.CDLL", lambda name, mode: loaded.append(name))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert cuda._loads("libcudart.so.13")
    assert loaded == [str(folder / "libcudart.so.13")]


def test_cuda_asked_for_in_vain_is_a_typed_error(both_dir: Path, libraries: set[str]) -> None:
    start = Start(str(both_dir), accelerator="cuda")
    with pytest.raises(CudaUnavailable, match="no NVIDIA driver"):
        load_model(start, load_bundle(both_dir))


def test_cuda_needs_a_graph_for_it(tiny_dir: Path) -> None:
    start = Start(str(tiny_dir), accelerator="cuda")
    with pytest.raises(UnsupportedLayout, match="no graph for the cuda provider"):
        load_model(start, load_bundle(tiny_dir))


def test_auto_falls_back_and_says_why(both_dir: Path, tiny_dir: Path, libraries: set[str]) -> None:
    start = Start(str(both_dir), num_slots=1, num_threads=1, cache_bytes=0, accelerator="auto")
    loaded = load_model(start, load_bundle(both_dir))
    assert (loaded.accelerator, loaded.is_apart) == ("cpu", False)
    assert "no NVIDIA driver" in loaded.remark
    loaded = load_model(start, load_bundle(tiny_dir))
    assert loaded.accelerator == "cpu"
    assert loaded.remark == "the model has no graph for CUDA"


def test_auto_takes_the_gpu_that_works(
    both_dir: Path, libraries: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    libraries.update(("libcuda", *_LINKED))
    monkeypatch.setattr(cuda, "starts", lambda: True)
    on_cuda = dataclasses.replace(APART, name="cuda")
    monkeypatch.setattr(processor, "cuda", lambda: on_cuda)
    cache_bytes = 3 * 2048 * load_bundle(both_dir).kv_bytes_on("cuda")
    start = Start(str(both_dir), num_slots=1, cache_bytes=cache_bytes, accelerator="auto")
    loaded = load_model(start, load_bundle(both_dir))
    assert (loaded.accelerator, loaded.is_apart, loaded.remark) == ("cuda", True, "")
    assert loaded.num_spare_rows == 3


@pytest.mark.flow
def test_a_site_without_a_gpu_serves_on_the_cpu_and_says_why(both_dir: Path) -> None:
    """The real process; one that asks for CUDA in so many words is told what is missing."""
    problem = probe_runtime().cuda_problem
    if not problem:
        pytest.skip("this machine has a GPU")
    request = make_request(max_tokens=20)

    async def served() -> list[int]:
        start = msgspec.structs.replace(start_for(both_dir), accelerator="auto")
        async with EngineClient(start) as engine:
            assert engine.facts.accelerator == engine.start.accelerator == "cpu"
            assert engine.facts.remark == problem
            return tokens_of(await events_of(engine, request))

    assert run_bounded(served()) == lagged_answer(request)

    async def refused() -> None:
        start = msgspec.structs.replace(start_for(both_dir), accelerator="cuda")
        async with EngineClient(start):
            pass

    with pytest.raises(EngineUnavailable, match=re.escape(problem)):
        run_bounded(refused())


def test_doctor_says_what_cuda_wants(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that cannot be used is a warning with its mend, no GPU is none."""
    report = RuntimeReport("1.31", ("cpu",), cuda_problem="libraries are missing; install them")
    monkeypatch.setattr(doctor, "probe_runtime", lambda *_, **__: report)

    def check() -> Check:
        (found,) = [one for one in doctor.engine_checks("") if one.name == "cuda"]
        return found

    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert check().state is State.OK
    monkeypatch.setattr(Path, "exists", lambda _: True)
    assert check() == Check(
        "cuda", State.WARN, "models run on the CPU: libraries are missing", "install them"
    )
    report = msgspec.structs.replace(report, accelerators=("cpu", "cuda"), cuda_problem="")
    assert check().state is State.OK
    assert "GPU" in check().detail
