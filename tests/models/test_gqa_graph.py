from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import pytest

from models.block_quant import Bits, dequantise, quantise
from models.calibrate import calibrated
from models.gqa_graph import DecoderShape, build_graph, random_weights, weight_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from models.matrices import Precision

Weights = dict[str, "NDArray[np.float32]"]

LLAMA = DecoderShape(
    vocab_size=96,
    hidden_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    ffn_size=96,
    max_len=64,
)
QWEN2 = DecoderShape(
    vocab_size=96,
    hidden_size=64,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    ffn_size=96,
    max_len=64,
    rope_theta=1e6,
    tie_embeddings=False,
    qkv_bias=True,
)
SHAPES = pytest.mark.parametrize("shape", [LLAMA, QWEN2], ids=["llama-tied", "qwen2-untied-bias"])
IDS = np.array([[5, 17, 3, 90, 41, 8, 8, 77]], np.int64)


def reference_logits(
    shape: DecoderShape, weights: Mapping[str, NDArray[np.float32]], ids: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Hugging Face's Llama/Qwen2 forward pass of one sequence, in float64."""
    w = {name: values.astype(np.float64) for name, values in weights.items()}
    length, head_dim = len(ids), shape.head_dim
    inverse = shape.rope_theta ** -(np.arange(0, head_dim, 2) / head_dim)
    angles = np.tile(np.outer(np.arange(length), inverse), 2)
    cos, sin = np.cos(angles), np.sin(angles)

    def norm(x: NDArray[np.float64], gain: NDArray[np.float64]) -> NDArray[np.float64]:
        rms = np.sqrt((x * x).mean(-1, keepdims=True) + shape.rms_norm_eps)
        return np.asarray(x / rms * gain)

    def heads(x: NDArray[np.float64], layer: int, part: str, count: int) -> NDArray[np.float64]:
        prefix = f"model.layers.{layer}.self_attn.{part}_proj"
        out = x @ w[f"{prefix}.weight"].T + w.get(f"{prefix}.bias", np.float64(0))
        return out.reshape(length, count, head_dim).transpose(1, 0, 2)

    def rotate(x: NDArray[np.float64]) -> NDArray[np.float64]:
        first, second = np.split(x, 2, axis=-1)
        return x * cos + np.concatenate((-second, first), axis=-1) * sin

    x = w["model.embed_tokens.weight"][ids]
    causal = np.triu(np.full((length, length), -np.inf), 1)
    for layer in range(shape.num_layers):
        prefix = f"model.layers.{layer}"
        normed = norm(x, w[f"{prefix}.input_layernorm.weight"])
        q = rotate(heads(normed, layer, "q", shape.num_heads))
        k = rotate(heads(normed, layer, "k", shape.num_kv_heads))
        v = heads(normed, layer, "v", shape.num_kv_heads)
        group = shape.num_heads // shape.num_kv_heads
        k, v = k.repeat(group, 0), v.repeat(group, 0)
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(head_dim) + causal
        probabilities = np.exp(scores - scores.max(-1, keepdims=True))
        probabilities /= probabilities.sum(-1, keepdims=True)
        attended = (probabilities @ v).transpose(1, 0, 2).reshape(length, -1)
        x = x + attended @ w[f"{prefix}.self_attn.o_proj.weight"].T
        normed = norm(x, w[f"{prefix}.post_attention_layernorm.weight"])
        gate = normed @ w[f"{prefix}.mlp.gate_proj.weight"].T
        up = normed @ w[f"{prefix}.mlp.up_proj.weight"].T
        x = x + (gate / (1 + np.exp(-gate)) * up) @ w[f"{prefix}.mlp.down_proj.weight"].T
    head = w["model.embed_tokens.weight" if shape.tie_embeddings else "lm_head.weight"]
    return np.asarray(norm(x, w["model.norm.weight"]) @ head.T)


def open_session(shape: DecoderShape, weights: Weights, precision: Precision) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    peaks: dict[str, float] = {}
    if precision == "w8a8":
        weights, peaks = calibrated(shape, weights, IDS.tolist())
    model = build_graph(shape, weights, precision, peaks=peaks).SerializeToString()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def full_logits(session: Any, shape: DecoderShape, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    cache = np.float16 if session.get_inputs()[2].type == "tensor(float16)" else np.float32
    empty = np.zeros((len(ids), shape.num_kv_heads, 0, shape.head_dim), cache)
    feeds = {i.name: empty for i in session.get_inputs() if i.name.startswith("past_")}
    feeds |= {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    logits = session.run(["logits"], feeds)[0]
    assert logits.dtype == np.float32
    return np.asarray(logits)


@SHAPES
def test_fp32_graph_equals_the_reference_forward_pass(shape: DecoderShape) -> None:
    weights = random_weights(shape, seed=1)
    logits = full_logits(open_session(shape, weights, "fp32"), shape, IDS)
    np.testing.assert_allclose(logits[0], reference_logits(shape, weights, IDS[0]), atol=2e-5)


def quantised_weights(shape: DecoderShape, weights: Weights, precision: Precision) -> Weights:
    """The weights that a quantised graph stands for."""
    rounded = dict(weights)
    for name, dims in weight_shapes(shape).items():
        if len(dims) == 2:
            bits: Bits = 8 if precision == "int8" else 4
            rounded[name] = dequantise(*quantise(weights[name], bits), bits)
    return rounded


@SHAPES
@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_quantised_graph_is_the_forward_pass_of_its_rounded_weights(
    shape: DecoderShape, precision: Precision
) -> None:
    weights = random_weights(shape, seed=2)
    logits = full_logits(open_session(shape, weights, precision), shape, IDS)[0]
    expected = reference_logits(shape, quantised_weights(shape, weights, precision), IDS[0])
    # Activations are rounded to int8 inside MatMulNBits (accuracy level 4).
    assert np.abs(logits - expected).max() < 0.05 * np.abs(expected).max()


@SHAPES
@pytest.mark.parametrize("precision", ["int8", "w8a8"])
def test_eight_bits_stay_close_to_fp32(shape: DecoderShape, precision: Precision) -> None:
    weights = random_weights(shape, seed=3)
    exact = full_logits(open_session(shape, weights, "fp32"), shape, IDS)
    rounded = full_logits(open_session(shape, weights, precision), shape, IDS)
    assert np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()


def test_fp16_graph_has_half_precision_caches_and_float_logits() -> None:
    weights = random_weights(LLAMA, seed=4)
    logits = full_logits(open_session(LLAMA, weights, "fp16"), LLAMA, IDS)
    expected = reference_logits(LLAMA, weights, IDS[0])
    assert np.abs(logits[0] - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize(("precision", "bits"), [("int4", 4), ("int8", 8)])
def test_tied_quantised_head_shares_the_embedding_rows(precision: Precision, bits: int) -> None:
    model = build_graph(LLAMA, random_weights(LLAMA, seed=5), precision)
    table_bytes = LLAMA.vocab_size * LLAMA.hidden_size * bits // 8
    large = [t.name for t in model.graph.initializer if len(t.raw_data) >= table_bytes]
    assert large.count("model.embed_tokens.qweight") == 1
    assert "lm_head.qweight" not in {t.name for t in model.graph.initializer}


@pytest.mark.parametrize("bits", [4, 8])
def test_quantiser_error_is_within_one_step_of_each_block(bits: Any) -> None:
    weight = np.random.default_rng(6).standard_normal((7, 96), dtype=np.float32)
    weight[3, 32:64] = 0
    packed, scales = quantise(weight, bits)
    error = np.abs(dequantise(packed, scales, bits) - weight).reshape(7, 3, 32)
    assert packed.shape == (7, 3, 4 * bits)
    # One whole step: the level opposite to the peak's sign is missing by one.
    assert (error <= np.abs(scales)[:, :, None] * 1.001).all()
    assert (error[3, 1] == 0).all()


def test_random_weights_repeat_with_the_seed() -> None:
    first, again, other = (random_weights(LLAMA, seed) for seed in (7, 7, 8))
    assert all((first[name] == again[name]).all() for name in first)
    assert (first["model.norm.weight"] != other["model.norm.weight"]).any()


def test_bad_shapes_and_weights_are_refused_by_name() -> None:
    weights = random_weights(LLAMA, seed=9)
    with pytest.raises(ValueError, match="3 KV heads"):
        DecoderShape(96, 64, 2, 4, 3, 16, 96, 64)
    with pytest.raises(ValueError, match="head_dim 24"):
        DecoderShape(96, 64, 2, 4, 2, 24, 96, 64)
    with pytest.raises(ValueError, match=r"model\.norm\.weight has shape \(3,\)"):
        build_graph(LLAMA, weights | {"model.norm.weight": np.ones(3, np.float32)}, "fp32")
    del weights["model.norm.weight"]
    with pytest.raises(ValueError, match=r"model\.norm\.weight is missing"):
        build_graph(LLAMA, weights, "fp32")
    with pytest.raises(ValueError, match="not a multiple of the block"):
        quantise(np.ones((4, 40), np.float32), 8)
