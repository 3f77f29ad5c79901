"""Llama-shaped decoders as ONNX graphs, in the layout of the onnxruntime-genai model builder.

The graph has inputs ``input_ids`` i64[B, S], ``attention_mask`` i64[B, T] and
``past_key_values.{layer}.key|value`` [B, kv_heads, P, head_dim]; outputs ``logits`` f32[B, S, V]
and ``present.{layer}.key|value``. Rotary embedding happens inside GroupQueryAttention, so there
are no position ids: the mask's row sums say how long each row is, and its width how long the
longest is.

Weights go by their Hugging Face Llama/Qwen2 state-dict names, [out, in] as stored there. This
module needs numpy and onnx only and knows nothing of tokenizers, bundles or training.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, get_args

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from models.graph_parts import MICROSOFT, GraphParts
from models.matrices import Matrices, Precision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

_Dim = str | int | None

_NO_PEAKS: Mapping[str, float] = MappingProxyType({})
_OPSET = 21
_IR_VERSION = 10
_GQA_HEAD_DIM_MULTIPLE = 16  # GroupQueryAttention's rotary path refuses other head sizes


@dataclass(frozen=True)
class DecoderShape:
    """The sizes of a Llama/Qwen2 decoder; ``max_len`` counts tokens (rows of the rotary cache)."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    ffn_size: int
    max_len: int
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-5
    tie_embeddings: bool = True
    qkv_bias: bool = False

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(f"{self.num_heads} heads do not share {self.num_kv_heads} KV heads")
        if self.head_dim % _GQA_HEAD_DIM_MULTIPLE:
            multiple = _GQA_HEAD_DIM_MULTIPLE
            raise ValueError(f"head_dim {self.head_dim} is not a multiple of {multiple}")

    @property
    def kv_values_per_token(self) -> int:
        """Numbers that one token adds to the key and value caches of all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim


def weight_shapes(shape: DecoderShape) -> dict[str, tuple[int, ...]]:
    """Every weight that ``build_graph`` reads, by state-dict name."""
    hidden, q_size = shape.hidden_size, shape.num_heads * shape.head_dim
    kv_size = shape.num_kv_heads * shape.head_dim
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (shape.vocab_size, hidden)}
    for layer in range(shape.num_layers):
        prefix = f"model.layers.{layer}"
        shapes[f"{prefix}.input_layernorm.weight"] = (hidden,)
        for part, size in (("q", q_size), ("k", kv_size), ("v", kv_size)):
            shapes[f"{prefix}.self_attn.{part}_proj.weight"] = (size, hidden)
            if shape.qkv_bias:
                shapes[f"{prefix}.self_attn.{part}_proj.bias"] = (size,)
        shapes[f"{prefix}.self_attn.o_proj.weight"] = (hidden, q_size)
        shapes[f"{prefix}.post_attention_layernorm.weight"] = (hidden,)
        shapes[f"{prefix}.mlp.gate_proj.weight"] = (shape.ffn_size, hidden)
        shapes[f"{prefix}.mlp.up_proj.weight"] = (shape.ffn_size, hidden)
        shapes[f"{prefix}.mlp.down_proj.weight"] = (hidden, shape.ffn_size)
    shapes["model.norm.weight"] = (hidden,)
    if not shape.tie_embeddings:
        shapes["lm_head.weight"] = (shape.vocab_size, hidden)
    return shapes


def random_weights(shape: DecoderShape, seed: int) -> dict[str, NDArray[np.float32]]:
    """Deterministic weights: matrices of unit gain, norms near one, embeddings near unit RMS."""
    rng = np.random.default_rng(seed)
    weights: dict[str, NDArray[np.float32]] = {}
    for name, dims in weight_shapes(shape).items():
        values = rng.standard_normal(dims, dtype=np.float32)
        if name.endswith("norm.weight"):
            values = np.float32(1) + np.float32(0.1) * values
        elif name.endswith(".bias"):
            values *= np.float32(0.1)
        else:
            values *= np.float32(dims[1] ** -0.5)
        weights[name] = values
    return weights


def build_graph(
    shape: DecoderShape,
    weights: Mapping[str, NDArray[np.float32]],
    precision: Precision,
    *,
    accuracy_level: int = 4,
    peaks: Mapping[str, float] = _NO_PEAKS,
) -> ModelProto:
    """Build the decoder's graph with its weights inside.

    ``fp16`` is for CUDA, all others for the CPU provider, with a KV cache in fp32; `matrices` has
    what they are. ``accuracy_level`` is MatMulNBits' activation precision (4 = int8, 1 = fp32).
    A quantised model keeps its embedding in blocks too (``w8a8``: of 8 bits). ``w8a8`` needs the
    `peaks` and weights that `calibrate.calibrated` returns.

    Raises ValueError for a missing or misshapen weight or a size that cannot be quantised, and
    KeyError for a missing peak.
    """
    if precision not in get_args(Precision):
        raise ValueError(
            f"unknown precision {precision!r}: one of {', '.join(get_args(Precision))}"
        )
    for name, dims in weight_shapes(shape).items():
        if name not in weights:
            raise ValueError(f"weight {name} is missing")
        if weights[name].shape != dims:
            raise ValueError(f"weight {name} has shape {weights[name].shape}, expected {dims}")
    parts = GraphParts()
    matrices = Matrices(parts, precision, accuracy_level, peaks)
    return _DecoderGraph(shape, weights, precision, parts, matrices).build()


@dataclass
class _DecoderGraph:
    """One decoder while it grows."""

    shape: DecoderShape
    weights: Mapping[str, NDArray[np.float32]]
    precision: Precision
    parts: GraphParts
    matrices: Matrices

    @property
    def float_type(self) -> int:
        return int(TensorProto.FLOAT16 if self.precision == "fp16" else TensorProto.FLOAT)

    def build(self) -> ModelProto:
        self._lengths()
        residual = self._embedding()
        normed = self._first_norm(residual)
        for layer in range(self.shape.num_layers):
            attended = self._attention(layer, normed)
            residual, normed = self._skip_norm(
                f"/model/layers.{layer}/post_attention_layernorm",
                f"model.layers.{layer}.post_attention_layernorm.weight",
                residual,
                attended,
            )
            fed_forward = self._mlp(layer, normed)
            residual, normed = self._skip_norm(*self._norm_after(layer), residual, fed_forward)
        self._head(normed)
        return self._model()

    def _norm_after(self, layer: int) -> tuple[str, str]:
        following = layer + 1
        if following == self.shape.num_layers:
            return "/model/norm", "model.norm.weight"
        return (
            f"/model/layers.{following}/input_layernorm",
            f"model.layers.{following}.input_layernorm.weight",
        )

    def _lengths(self) -> None:
        """Per-row lengths from the mask's sums, the padded length from its width."""
        self.parts.constant("one", np.array([1], np.int64))
        self.parts.constant("batch_axis_1", np.array(1, np.int64))
        summed = self.parts.node("ReduceSum", "/lengths/sum", ["attention_mask", "one"], keepdims=0)
        last = self.parts.node("Sub", "/lengths/last", [summed, "one"])
        self.parts.node("Cast", "/lengths/seqlens_k", [last], to=TensorProto.INT32)
        dims = self.parts.node("Shape", "/lengths/shape", ["attention_mask"])
        width = self.parts.node("Gather", "/lengths/width", [dims, "batch_axis_1"])
        self.parts.node("Cast", "/lengths/total", [width], to=TensorProto.INT32)

    def _embedding(self) -> str:
        table = "model.embed_tokens.weight"
        return self.matrices.pick("/model/embed_tokens", table, self.weights[table], "input_ids")

    def _first_norm(self, hidden: str) -> str:
        name = "model.layers.0.input_layernorm.weight"
        return self.parts.node(
            "SimplifiedLayerNormalization",
            "/model/layers.0/input_layernorm",
            [hidden, self.matrices.float_weight(name, self.weights[name])],
            axis=-1,
            epsilon=self.shape.rms_norm_eps,
            stash_type=1,
        )

    def _skip_norm(self, name: str, weight: str, residual: str, update: str) -> tuple[str, str]:
        """Add the update to the residual; return (new residual, its norm)."""
        normed, total = f"{name}/output_0", f"{name}/output_3"
        gain = self.matrices.float_weight(weight, self.weights[weight])
        self.parts.append(
            "SkipSimplifiedLayerNormalization",
            name,
            [residual, update, gain],
            [normed, "", "", total],
            domain=MICROSOFT,
            epsilon=self.shape.rms_norm_eps,
        )
        return total, normed

    def _attention(self, layer: int, hidden: str) -> str:
        shape, name = self.shape, f"/model/layers.{layer}/attn"
        prefix = f"model.layers.{layer}.self_attn"
        packed = np.concatenate([self.weights[f"{prefix}.{p}_proj.weight"] for p in "qkv"])
        qkv = self.matrices.multiply(f"{name}/qkv_proj", hidden, packed)
        if shape.qkv_bias:
            bias = np.concatenate([self.weights[f"{prefix}.{p}_proj.bias"] for p in "qkv"])
            bias_name = self.matrices.float_weight(f"model.layers.{layer}.attn.qkv_proj.bias", bias)
            qkv = self.parts.node("Add", f"{name}/qkv_proj/Add", [qkv, bias_name])
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        lengths = ["/lengths/seqlens_k/output_0", "/lengths/total/output_0"]
        attended = f"{name}/GroupQueryAttention/output_0"
        self.parts.append(
            "GroupQueryAttention",
            f"{name}/GroupQueryAttention",
            [qkv, "", "", *past, *lengths, *self._rotary_caches()],
            [attended, f"present.{layer}.key", f"present.{layer}.value"],
            domain=MICROSOFT,
            num_heads=shape.num_heads,
            kv_num_heads=shape.num_kv_heads,
            scale=float(shape.head_dim**-0.5),
            do_rotary=1,
            rotary_interleaved=0,
        )
        return self.matrices.multiply(
            f"{name}/o_proj", attended, self.weights[f"{prefix}.o_proj.weight"]
        )

    def _rotary_caches(self) -> list[str]:
        """Cosines and sines [max_len, head_dim / 2] of RoPE (Su et al. 2021, eq. 15)."""
        exponents = np.arange(0, self.shape.head_dim, 2, dtype=np.float64) / self.shape.head_dim
        angles = np.outer(np.arange(self.shape.max_len), self.shape.rope_theta**-exponents)
        return [
            self.matrices.float_weight("cos_cache", np.cos(angles).astype(np.float32)),
            self.matrices.float_weight("sin_cache", np.sin(angles).astype(np.float32)),
        ]

    def _mlp(self, layer: int, hidden: str) -> str:
        name, prefix = f"/model/layers.{layer}/mlp", f"model.layers.{layer}.mlp"
        gate, up = (
            self.matrices.multiply(
                f"{name}/{part}", hidden, self.weights[f"{prefix}.{part}.weight"]
            )
            for part in ("gate_proj", "up_proj")
        )
        sigmoid = self.parts.node("Sigmoid", f"{name}/Sigmoid", [gate])
        swish = self.parts.node("Mul", f"{name}/swish", [gate, sigmoid])
        gated = self.parts.node("Mul", f"{name}/Mul", [swish, up])
        down = self.weights[f"{prefix}.down_proj.weight"]
        return self.matrices.multiply(f"{name}/down_proj", gated, down)

    def _head(self, hidden: str) -> None:
        logits = "logits_fp16" if self.precision == "fp16" else "logits"
        if self.shape.tie_embeddings:
            table = "model.embed_tokens.weight"
            self.matrices.multiply_by_table("/lm_head", hidden, table, self.weights[table], logits)
        else:
            self.matrices.multiply("/lm_head", hidden, self.weights["lm_head.weight"], logits)
        if self.precision == "fp16":
            self.parts.append("Cast", "/lm_head/Cast", [logits], ["logits"], to=TensorProto.FLOAT)

    def _model(self) -> ModelProto:
        graph = helper.make_graph(
            self.parts.nodes, "decoder", self._inputs(), self._outputs(), self.parts.initialisers
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(MICROSOFT, 1)],
            ir_version=_IR_VERSION,
            producer_name="firsthop",
        )

    def _inputs(self) -> list[ValueInfoProto]:
        int64 = TensorProto.INT64
        return [
            helper.make_tensor_value_info("input_ids", int64, ["batch_size", "sequence_length"]),
            helper.make_tensor_value_info(
                "attention_mask", int64, ["batch_size", "total_sequence_length"]
            ),
            *self._caches("past_key_values", "past_sequence_length"),
        ]

    def _outputs(self) -> list[ValueInfoProto]:
        dims: list[_Dim] = ["batch_size", "sequence_length", self.shape.vocab_size]
        return [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, dims),
            *self._caches("present", "total_sequence_length"),
        ]

    def _caches(self, prefix: str, length: str) -> list[ValueInfoProto]:
        dims: list[_Dim] = ["batch_size", self.shape.num_kv_heads, length, self.shape.head_dim]
        return [
            helper.make_tensor_value_info(f"{prefix}.{layer}.{part}", self.float_type, dims)
            for layer in range(self.shape.num_layers)
            for part in ("key", "value")
        ]
