from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from gateway.engine.bundle_facts import BundleUnreadable, UnsupportedLayout
from gateway.engine.worker.served_graph import (
    EXTERNAL_WEIGHTS_KEY,
    Layout,
    detect_layout,
    served_graph,
)
from models.calibrate import calibrated
from models.gqa_graph import DecoderShape, build_graph, random_weights

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import ModelProto

    from models.matrices import Precision

SHAPE = DecoderShape(
    vocab_size=96,
    hidden_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    ffn_size=96,
    max_len=48,
)
UNTIED = DecoderShape(
    vocab_size=96,
    hidden_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    ffn_size=96,
    max_len=48,
    tie_embeddings=False,
    qkv_bias=True,
)
REEXPORT = r"python -m onnxruntime_genai\.models\.builder"


def open_session(model: bytes, folder: Path | None = None) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if folder is not None:
        options.add_session_config_entry(EXTERNAL_WEIGHTS_KEY, str(folder))
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def saved(model: ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def exported(shape: DecoderShape, precision: Precision = "fp32") -> ModelProto:
    weights = random_weights(shape, seed=11)
    peaks: dict[str, float] = {}
    if precision == "w8a8":
        weights, peaks = calibrated(shape, weights, [range(48), range(48, 96)])
    return build_graph(shape, weights, precision, peaks=peaks)


class Slots:
    """In-place KV caches [slots, kv_heads, max_len, head_dim], bound as past and present."""

    def __init__(self, session: Any, num_slots: int) -> None:
        self.session = session
        dims = (num_slots, SHAPE.num_kv_heads, SHAPE.max_len, SHAPE.head_dim)
        # What a slot's former user left behind must not matter.
        self.caches = [np.full(dims, 7, np.float32) for _ in range(2 * SHAPE.num_layers)]

    def run(self, first_row: int, ids: list[list[int]], past: list[int]) -> NDArray[np.float32]:
        """Run right-padded rows; row i continues after past[i] tokens. Returns [rows, V]."""
        width = max(map(len, ids))
        lengths = [length + len(row) for length, row in zip(past, ids, strict=True)]
        tokens = np.zeros((len(ids), width), np.int64)
        for index, row in enumerate(ids):
            tokens[index, : len(row)] = row
        binding = self.session.io_binding()
        binding.bind_output("logits", "cpu")
        last = np.array([index * width + len(row) - 1 for index, row in enumerate(ids)])
        for name, array in (
            ("input_ids", tokens),
            ("last_positions", np.array(lengths, np.int32) - np.int32(1)),
            ("total_length", np.array(max(lengths), np.int32)),
            ("logits_index", last),
        ):
            binding.bind_cpu_input(name, array)
        names = [
            f"{layer}.{part}" for layer in range(SHAPE.num_layers) for part in ("key", "value")
        ]
        for name, cache in zip(names, self.caches, strict=True):
            view = cache[first_row : first_row + len(ids)]
            place = ("cpu", 0, np.float32, view.shape, view.ctypes.data)
            binding.bind_input(f"past_key_values.{name}", *place)
            binding.bind_output(f"present.{name}", *place)
        self.session.run_with_iobinding(binding)
        return np.asarray(binding.get_outputs()[0].numpy())


def generate_alone(session: Any, prompt: list[int], num_tokens: int) -> NDArray[np.float32]:
    """Logits of each step of one greedy sequence, whole prefix recomputed every time: [n, V]."""
    ids, steps = list(prompt), []
    for _ in range(num_tokens):
        steps.append(full_logits(session, np.array([ids]))[0, -1])
        ids.append(int(steps[-1].argmax()))
    return np.array(steps)


def full_logits(session: Any, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logits [B, S, V] of the unchanged graph."""
    cache = np.float16 if session.get_inputs()[2].type == "tensor(float16)" else np.float32
    empty = np.zeros((len(ids), SHAPE.num_kv_heads, 0, SHAPE.head_dim), cache)
    feeds = {i.name: empty for i in session.get_inputs() if i.name.startswith("past_")}
    feeds |= {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return np.asarray(session.run(["logits"], feeds)[0])


@pytest.mark.parametrize("shape", [SHAPE, UNTIED], ids=["tied", "untied"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int4", "w8a8"])
def test_served_logits_are_the_full_logits_at_the_asked_position(
    tmp_path: Path, shape: DecoderShape, precision: Precision
) -> None:
    model = exported(shape, precision)
    full = open_session(model.SerializeToString())
    served = open_session(served_graph(saved(model, tmp_path))[0])
    ids = np.random.default_rng(1).integers(0, shape.vocab_size, (3, 9))
    index = np.array([8, 0, 4])
    lengths = {
        "last_positions": np.full(3, 8, np.int32),
        "total_length": np.array(9, np.int32),
    }
    cache = np.float16 if precision == "fp16" else np.float32
    empty = np.zeros((3, shape.num_kv_heads, 0, shape.head_dim), cache)
    feeds = {i.name: empty for i in served.get_inputs() if i.name.startswith("past_")}
    feeds |= {"input_ids": ids, "logits_index": np.arange(3) * 9 + index, **lengths}
    logits = served.run(["logits"], feeds)[0]
    assert logits.dtype == np.float32
    assert logits.shape == (3, shape.vocab_size)
    expected = full_logits(full, ids)[np.arange(3), index]
    np.testing.assert_allclose(
        logits, expected, rtol=1e-3 if precision == "fp16" else 1e-5, atol=1e-4
    )


def test_ragged_batched_decode_in_place_equals_single_sequences(tmp_path: Path) -> None:
    model = exported(SHAPE)
    alone = open_session(model.SerializeToString())
    slots = Slots(open_session(served_graph(saved(model, tmp_path))[0]), num_slots=4)
    prompts = [[5, 17, 3], [90], [41, 8, 8, 77, 2, 60, 33, 1, 12], [7, 7, 7, 7, 7]]
    num_tokens = 12
    expected = [generate_alone(alone, prompt, num_tokens) for prompt in prompts]
    steps = [slots.run(row, [prompt], [0])[0] for row, prompt in enumerate(prompts)]
    lengths = [len(prompt) for prompt in prompts]
    for step in range(num_tokens):
        for row in range(len(prompts)):
            np.testing.assert_allclose(steps[row], expected[row][step], atol=1e-4)
        following = [[int(logits.argmax())] for logits in steps]
        steps = list(slots.run(0, following, lengths))
        lengths = [length + 1 for length in lengths]


def test_right_padded_first_prefill_equals_single_sequences(tmp_path: Path) -> None:
    model = exported(SHAPE)
    alone = open_session(model.SerializeToString())
    slots = Slots(open_session(served_graph(saved(model, tmp_path))[0]), num_slots=3)
    prompts = [[5, 17, 3], [90], [41, 8, 8, 77, 2, 60]]
    logits = slots.run(0, prompts, [0, 0, 0])
    for row, prompt in enumerate(prompts):
        np.testing.assert_allclose(logits[row], generate_alone(alone, prompt, 1)[0], atol=1e-4)


def test_chunked_prefill_equals_one_prefill(tmp_path: Path) -> None:
    prompt = [41, 8, 8, 77, 2, 60, 33, 1, 12]
    model = exported(SHAPE)
    alone = open_session(model.SerializeToString())
    slots = Slots(open_session(served_graph(saved(model, tmp_path))[0]), num_slots=1)
    slots.run(0, [prompt[:4]], [0])
    slots.run(0, [prompt[4:5]], [4])
    logits = slots.run(0, [prompt[5:]], [5])
    np.testing.assert_allclose(logits[0], generate_alone(alone, prompt, 1)[0], atol=1e-4)


def test_external_weights_stay_where_they_are(tmp_path: Path) -> None:
    model = exported(SHAPE)
    expected = generate_alone(open_session(model.SerializeToString()), [5, 17, 3], 1)
    onnx.save_model(
        model,
        str(tmp_path / "model.onnx"),
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=256,
    )
    data = (tmp_path / "model.onnx.data").read_bytes()
    changed, _ = served_graph(tmp_path / "model.onnx")
    assert len(changed) < len(data) / 4
    slots = Slots(open_session(changed, tmp_path), num_slots=1)
    np.testing.assert_allclose(slots.run(0, [[5, 17, 3]], [0]), expected, atol=1e-4)
    assert (tmp_path / "model.onnx.data").read_bytes() == data


@pytest.mark.parametrize(
    ("precision", "kv_dtype"), [("int8", "float32"), ("w8a8", "float32"), ("fp16", "float16")]
)
def test_layout_is_read_off_the_graph(tmp_path: Path, precision: Any, kv_dtype: Any) -> None:
    _, layout = served_graph(saved(exported(SHAPE, precision), tmp_path))
    assert layout == Layout(
        num_layers=2,
        num_kv_heads=2,
        head_dim=16,
        vocab_size=96,
        kv_dtype=kv_dtype,
        has_position_ids=False,
        logits="all_positions",
        max_len_tokens=48,
    )
    assert layout.kv_bytes_per_token == SHAPE.kv_values_per_token * (2 if "16" in kv_dtype else 4)


@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_head_size_is_found_where_the_builder_leaves_it_symbolic(precision: Precision) -> None:
    model = exported(SHAPE, precision)
    for value in (*model.graph.input[2:], *model.graph.output[1:]):
        value.type.tensor_type.shape.dim[3].dim_param = "kv_cache_dim"
    layout = detect_layout(model)
    assert (layout.num_kv_heads, layout.head_dim) == (2, 16)


def test_position_ids_of_the_public_layout_are_reported() -> None:
    model = exported(SHAPE)
    dims = ["batch_size", "sequence_length"]
    model.graph.input.append(helper.make_tensor_value_info("position_ids", TensorProto.INT64, dims))
    assert detect_layout(model).has_position_ids


def test_recorded_shapes_of_the_head_do_not_contradict_the_trimmed_graph(tmp_path: Path) -> None:
    """The builder records [B, S, V] for inner values; a cast or scale may follow the head."""
    model = exported(SHAPE)
    head = model.graph.node[-1]
    head.output[0] = "unscaled"
    scale = numpy_helper.from_array(np.array(2, np.float32), "scale")
    model.graph.initializer.append(scale)
    model.graph.node.append(
        helper.make_node("Mul", ["unscaled", "scale"], ["logits"], name="scale")
    )
    recorded: list[str | int | None] = ["batch_size", "sequence_length", SHAPE.vocab_size]
    model.graph.value_info.append(
        helper.make_tensor_value_info("unscaled", TensorProto.FLOAT, recorded)
    )
    alone = open_session(model.SerializeToString())
    slots = Slots(open_session(served_graph(saved(model, tmp_path))[0]), num_slots=1)
    expected = generate_alone(alone, [5, 17, 3], 1)
    np.testing.assert_allclose(slots.run(0, [[5, 17, 3]], [0]), expected, atol=1e-4)


def concatenating(model: ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "GroupQueryAttention":
            node.op_type = "Concat"


def paged(model: ModelProto) -> None:
    for node in model.graph.node:
        if node.op_type == "GroupQueryAttention":
            node.op_type = "PagedAttention"


def pruned_by_gather(model: ModelProto) -> None:
    head = model.graph.node[-1]
    gather = helper.make_node("Gather", [head.input[0], "one"], ["last"], name="last", axis=1)
    head.input[0] = "last"
    model.graph.node.insert(len(model.graph.node) - 1, gather)


def pruned_by_shape(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 1


def foreign_input(model: ModelProto) -> None:
    dims: list[str | int | None] = [1]
    model.graph.input.append(
        helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, dims)
    )


def no_mask(model: ModelProto) -> None:
    del model.graph.input[1]


def no_logits(model: ModelProto) -> None:
    model.graph.output[0].name = "last_hidden_state"


def headless(model: ModelProto) -> None:
    model.graph.node[-1].op_type = "Softmax"


def sizeless(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_param = "vocab"


def masked_twice(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Cast", ["attention_mask"], ["wide"], to=1))
    model.graph.node.append(helper.make_node("Mul", ["logits", "wide"], ["masked"]))
    model.graph.output.append(helper.make_tensor_value_info("masked", TensorProto.FLOAT, None))


def fewer_caches(model: ModelProto) -> None:
    del model.graph.input[-2:]


def quantised_cache(model: ModelProto) -> None:
    model.graph.input[2].type.tensor_type.elem_type = TensorProto.INT8


REFUSALS = {
    concatenating: rf"by concatenation.*{REEXPORT}",
    paged: "without use_paged_attention",
    pruned_by_gather: "without prune_lm_head",
    pruned_by_shape: "without prune_lm_head",
    foreign_input: rf"input use_cache_branch.*{REEXPORT}",
    no_mask: "no input attention_mask",
    no_logits: "no output logits",
    headless: "but a Softmax",
    sizeless: "does not state its KV and logits sizes",
    masked_twice: "attention mask for more than lengths",
    fewer_caches: "2 attention layers but 1 KV inputs",
    quantised_cache: "type INT8",
}


@pytest.mark.parametrize("spoil", REFUSALS, ids=lambda spoil: spoil.__name__)
def test_graph_that_cannot_be_served_is_refused_with_the_mend(tmp_path: Path, spoil: Any) -> None:
    model = exported(SHAPE)
    spoil(model)
    with pytest.raises(UnsupportedLayout, match=REFUSALS[spoil]) as caught:
        served_graph(saved(model, tmp_path))
    assert str(caught.value).startswith(f"{tmp_path}/model.onnx: ")
    assert "\n" not in str(caught.value)


def in_initializer(model: ModelProto, location: str) -> None:
    set_external_data(model.graph.initializer[0], location)


def in_constant(model: ModelProto, location: str) -> None:
    tensor = helper.make_tensor("c", TensorProto.FLOAT, [1], b"abcd", raw=True)
    set_external_data(tensor, location)
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def in_branch(model: ModelProto, location: str) -> None:
    inner = helper.make_graph([], "inner", [], [])
    tensor = helper.make_tensor("c", TensorProto.FLOAT, [1], b"abcd", raw=True)
    set_external_data(tensor, location)
    inner.initializer.append(tensor)
    branch = helper.make_attribute("then_branch", inner)
    node = helper.make_node("If", ["c"], ["d"])
    node.attribute.append(branch)
    model.graph.node.append(node)


@pytest.mark.parametrize("place", [in_initializer, in_constant, in_branch])
@pytest.mark.parametrize("location", ["weights.data", "../model.onnx.data", "/model.onnx.data"])
def test_weights_in_files_that_no_digest_covers_are_refused(
    tmp_path: Path, place: Any, location: str
) -> None:
    model = exported(SHAPE)
    place(model, location)
    with pytest.raises(UnsupportedLayout, match=re.escape(repr(location))):
        served_graph(saved(model, tmp_path))


def test_file_that_is_no_graph_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(BundleUnreadable, match="is not an ONNX graph"):
        served_graph(path)
    with pytest.raises(BundleUnreadable, match="is not an ONNX graph"):
        served_graph(tmp_path / "absent.onnx")
