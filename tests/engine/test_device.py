"""A model whose arrays lie on a device: the same numbers, few copies, addresses that stay.

The device is ONNX Runtime's allocator on the CPU, which also runs the graph in half precision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto

from gateway.core.errors import EngineFault
from gateway.core.rows import Move
from gateway.core.scheduling import Scheduler
from gateway.engine.bundle import load_bundle
from gateway.engine.bundle_facts import BundleUnreadable
from gateway.engine.worker.device_copies import FetchedRows
from gateway.engine.worker.engine import Engine
from gateway.engine.worker.grammar import GrammarCompiler
from gateway.engine.worker.model import DecoderModel
from gateway.engine.worker.processor import CPU, Processor, cuda
from gateway.engine.worker.served_graph import served_graph
from gateway.engine.worker.step_graphs import StepGraphs
from models.make_tiny import write_tiny_bundle
from tests.engine.apart import APART
from tests.engine.streams import CHANCE, lagged_answer, make_request

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.core.generation import Sampling
    from gateway.engine.worker.tensors import Binding

_PROMPT = tuple(range(40))


def _load(root: Path, processor: Processor, num_rows: int = 3) -> DecoderModel:
    return DecoderModel.load(
        load_bundle(root).artifacts[0].path,
        num_rows=num_rows,
        max_context_tokens=400,
        num_threads=1,
        spin=False,
        processor=processor,
    )


@pytest.fixture(scope="module")
def device(random_half_dir: Path) -> DecoderModel:
    return _load(random_half_dir, APART)


def test_a_device_gives_the_bits_of_the_host(random_half_dir: Path, device: DecoderModel) -> None:
    host = _load(random_half_dir, CPU)
    found: list[list[np.ndarray[Any, Any]]] = []
    for model in (host, device):
        logits = [model.prefill(0, _PROMPT[:20], 0)[0].copy()]
        logits.append(model.prefill(0, _PROMPT[20:], 20)[0].copy())
        first = model.prefill_together(1, [_PROMPT[:7], _PROMPT[:9]])
        logits += [first[0].copy(), first[1].copy()]
        model.kv.move(Move(src=0, dst=2, num_tokens=40))
        both = model.decode([1, 2, 3], [40, 7, 40])
        logits += [both[row].copy() for row in range(3)]
        top = model.top(3)
        kv = [part for row in range(3) for part in model.kv.read(row, 7)]
        found.append([*logits, top.values.copy(), top.ids.copy(), *kv])
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
    assert {array.dtype for array in found[1][-6:]} == {np.dtype(np.float16)}


def test_half_precision_is_close_to_single(random_dir: Path, device: DecoderModel) -> None:
    """Of the same random weights: logits of unit size differ in the second place behind the point
    at most, and both find the same token likeliest."""
    single = _load(random_dir, CPU)
    for num_tokens in range(3, 40, 4):
        expected = single.prefill(0, _PROMPT[:num_tokens], 0)[0]
        found = device.prefill(0, _PROMPT[:num_tokens], 0)[0]
        assert np.abs(found - expected).max() < 0.02
        assert found.argmax() == expected.argmax()


def test_half_precision_follows_the_tiny_models_rule(tmp_path: Path) -> None:
    request = make_request(max_tokens=30)
    model = _load(write_tiny_bundle(tmp_path, "fp16"), APART, num_rows=1)
    answer = [int(model.prefill(0, request.prompt, 0)[0].argmax())]
    while len(answer) < request.max_tokens:
        length = len(request.prompt) + len(answer) - 1
        answer.append(int(model.decode([answer[-1]], [length])[0].argmax()))
    assert answer == lagged_answer(request)


def test_keys_values_and_weights_are_halves(random_half_dir: Path) -> None:
    graph = onnx.load(str(load_bundle(random_half_dir).artifact("cuda").path)).graph
    caches = [*graph.input[2:], *graph.output[1:]]
    assert {one.type.tensor_type.elem_type for one in caches} == {TensorProto.FLOAT16}
    kinds = {tensor.data_type for tensor in graph.initializer}
    assert kinds == {TensorProto.FLOAT16, TensorProto.INT64}


def test_a_step_can_be_captured(random_half_dir: Path) -> None:
    """CUDA has kernels for all of it, and none of them reads the host's memory while it runs, which
    a replay would read again when it holds something else."""
    served, _ = served_graph(load_bundle(random_half_dir).artifact("cuda").path)
    assert {node.op_type for node in onnx.load_from_string(served).graph.node} == {
        "Cast",
        "Flatten",
        "FusedMatMul",
        "Gather",
        "GroupQueryAttention",
        "MatMul",
        "Mul",
        "Sigmoid",
        "SimplifiedLayerNormalization",
        "SkipSimplifiedLayerNormalization",
        "TopK",
    }


@pytest.mark.parametrize(
    ("sampling", "is_fetched"),
    [
        (make_request().sampling, False),
        (CHANCE, True),
        (msgspec.structs.replace(CHANCE, top_p=1.0, top_k=20), False),
    ],
    ids=["greedy", "top-p", "top-k"],
)
def test_all_logits_of_a_row_are_fetched_only_when_they_are_needed(
    device: DecoderModel,
    random_half_dir: Path,
    sampling: Sampling,
    is_fetched: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows: list[int] = []
    fetch = FetchedRows.__getitem__

    def counted(self: FetchedRows, row: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        rows.append(row)
        return fetch(self, row)

    monkeypatch.setattr(FetchedRows, "__getitem__", counted)
    tokenizer = load_bundle(random_half_dir).tokenizer_path
    engine = Engine(
        device,
        Scheduler(2, 64, 8),
        GrammarCompiler(tokenizer, device.layout.vocab_size, []),
        end_ids=frozenset(),
        frame_interval_s=0.0,
        inter_token_budget_s=1.0,
        on_compiled=lambda: None,
    )
    for key in range(2):
        engine.submit(key, make_request(key, num_prompt=20, max_tokens=5, sampling=sampling))
    while not engine.is_idle:
        engine.step()
    assert bool(rows) is is_fetched
    engine.close()


def test_a_replayed_step_finds_its_numbers_where_they_were(
    device: DecoderModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each number of rows and rounded length has one graph and one set of addresses for ever."""
    runs: dict[str, set[int]] = {}
    session = device._session

    class Watched:
        """A session whose runs are written down."""

        def io_binding(self) -> Binding:
            return session.io_binding()

        def run_with_iobinding(self, binding: Binding, options: Any = None) -> None:
            runs.setdefault(options.get_run_config_entry("gpu_graph_id"), set()).add(id(binding))
            session.run_with_iobinding(binding, options)

    monkeypatch.setattr(device, "_session", Watched())
    step = device._steps[2] = device._row_run(0, 2)
    step.tokens(1)
    address = step._tokens.pointer
    for length in (30, 299, 31, 300):
        device.decode([1, 2], [length, 5])
        device.prefill_together(0, [[1] * 9, [2] * 8])
        device.prefill(0, [1] * 9, 0)
        device.decode([1], [length])
    assert step._tokens.pointer == address
    assert all(len(bindings) == 1 for graph, bindings in runs.items() if graph != "-1")
    assert len(runs) == 1 + 2 * 2


def test_lengths_are_rounded_up_to_the_context() -> None:
    graphs = StepGraphs(700)
    assert [graphs.length(total) for total in (1, 256, 257, 512, 513, 700)] == [
        256,
        256,
        512,
        512,
        700,
        700,
    ]
    assert graphs.options(1, 3) is graphs.options(1, 250)
    assert graphs.options(1, 3) is not graphs.options(2, 3)


def test_a_device_without_memory_or_without_a_gpu_says_so(random_half_dir: Path) -> None:
    with pytest.raises(EngineFault, match="no memory for the model's arrays on cpu"):
        APART.tensor((1 << 60,), np.float32)
    with pytest.raises(BundleUnreadable, match="does not"):
        _load(random_half_dir, cuda())
