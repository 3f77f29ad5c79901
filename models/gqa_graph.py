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

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from models.block_quant import BLOCK, Bits, quantise

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Precision = Literal["fp32", "fp16", "int8", "int4"]

_Dim = str | int | None

_MICROSOFT = "com.microsoft"
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
) -> ModelProto:
    """Build the decoder's graph with its weights inside.

    ``fp32`` and the block-quantised ``int8`` and ``int4`` (float activations and KV cache) are for
    the CPU provider, ``fp16`` for CUDA. ``accuracy_level`` is MatMulNBits' activation precision
    (4 = int8, 1 = fp32). A quantised model keeps its embedding as 8-bit rows; a tied head
    multiplies with the same rows, also in an int4 model.

    Raises ValueError for a missing or misshapen weight or a size that cannot be quantised.
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
    return _DecoderGraph(shape, weights, precision, accuracy_level).build()


@dataclass
class _DecoderGraph:
    """One graph while it grows: nodes and initialisers in the order they are reached."""

    shape: DecoderShape
    weights: Mapping[str, NDArray[np.float32]]
    precision: Precision
    accuracy_level: int
    nodes: list[NodeProto] = field(default_factory=list)
    initialisers: list[TensorProto] = field(default_factory=list)

    @property
    def float_type(self) -> int:
        return int(TensorProto.FLOAT16 if self.precision == "fp16" else TensorProto.FLOAT)

    @property
    def quantised(self) -> bool:
        return self.precision in {"int8", "int4"}

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
        self._constant("one", np.array([1], np.int64))
        self._constant("batch_axis_1", np.array(1, np.int64))
        summed = self._node("ReduceSum", "/lengths/sum", ["attention_mask", "one"], keepdims=0)
        last = self._node("Sub", "/lengths/last", [summed, "one"])
        self._node("Cast", "/lengths/seqlens_k", [last], to=TensorProto.INT32)
        dims = self._node("Shape", "/lengths/shape", ["attention_mask"])
        width = self._node("Gather", "/lengths/width", [dims, "batch_axis_1"])
        self._node("Cast", "/lengths/total", [width], to=TensorProto.INT32)

    def _embedding(self) -> str:
        table, name = self.weights["model.embed_tokens.weight"], "/model/embed_tokens"
        if not self.quantised:
            rows = self._float("model.embed_tokens.weight", table)
            return self._node("Gather", name, [rows, "input_ids"])
        levels, scales = self._quantised_rows("model.embed_tokens", table, 8)
        picked = self._node("Gather", f"{name}/levels", [levels, "input_ids"])
        picked_scales = self._node("Gather", f"{name}/scales", [scales, "input_ids"])
        self._constant("zero_point", np.array(128, np.float32))
        self._constant("last_axis", np.array([-1], np.int64))
        self._constant("hidden_dims", np.array([0, 0, self.shape.hidden_size], np.int64))
        wide = self._node("Cast", f"{name}/float", [picked], to=TensorProto.FLOAT)
        centred = self._node("Sub", f"{name}/centred", [wide, "zero_point"])
        per_block = self._node("Unsqueeze", f"{name}/per_block", [picked_scales, "last_axis"])
        scaled = self._node("Mul", f"{name}/scaled", [centred, per_block])
        return self._node("Reshape", name, [scaled, "hidden_dims"])

    def _first_norm(self, hidden: str) -> str:
        name = "model.layers.0.input_layernorm.weight"
        return self._node(
            "SimplifiedLayerNormalization",
            "/model/layers.0/input_layernorm",
            [hidden, self._float(name, self.weights[name])],
            axis=-1,
            epsilon=self.shape.rms_norm_eps,
            stash_type=1,
        )

    def _skip_norm(self, name: str, weight: str, residual: str, update: str) -> tuple[str, str]:
        """Add the update to the residual; return (new residual, its norm)."""
        normed, total = f"{name}/output_0", f"{name}/output_3"
        gain = self._float(weight, self.weights[weight])
        self._append(
            "SkipSimplifiedLayerNormalization",
            name,
            [residual, update, gain],
            [normed, "", "", total],
            domain=_MICROSOFT,
            epsilon=self.shape.rms_norm_eps,
        )
        return total, normed

    def _attention(self, layer: int, hidden: str) -> str:
        shape, name = self.shape, f"/model/layers.{layer}/attn"
        prefix = f"model.layers.{layer}.self_attn"
        packed = np.concatenate([self.weights[f"{prefix}.{p}_proj.weight"] for p in "qkv"])
        qkv = self._linear(f"{name}/qkv_proj", hidden, packed)
        if shape.qkv_bias:
            bias = np.concatenate([self.weights[f"{prefix}.{p}_proj.bias"] for p in "qkv"])
            bias_name = self._float(f"model.layers.{layer}.attn.qkv_proj.bias", bias)
            qkv = self._node("Add", f"{name}/qkv_proj/Add", [qkv, bias_name])
        past = [f"past_key_values.{layer}.{part}" for part in ("key", "value")]
        lengths = ["/lengths/seqlens_k/output_0", "/lengths/total/output_0"]
        attended = f"{name}/GroupQueryAttention/output_0"
        self._append(
            "GroupQueryAttention",
            f"{name}/GroupQueryAttention",
            [qkv, "", "", *past, *lengths, *self._rotary_caches()],
            [attended, f"present.{layer}.key", f"present.{layer}.value"],
            domain=_MICROSOFT,
            num_heads=shape.num_heads,
            kv_num_heads=shape.num_kv_heads,
            scale=float(shape.head_dim**-0.5),
            do_rotary=1,
            rotary_interleaved=0,
        )
        return self._linear(f"{name}/o_proj", attended, self.weights[f"{prefix}.o_proj.weight"])

    def _rotary_caches(self) -> list[str]:
        """Cosines and sines [max_len, head_dim / 2] of RoPE (Su et al. 2021, eq. 15)."""
        exponents = np.arange(0, self.shape.head_dim, 2, dtype=np.float64) / self.shape.head_dim
        angles = np.outer(np.arange(self.shape.max_len), self.shape.rope_theta**-exponents)
        return [
            self._float("cos_cache", np.cos(angles).astype(np.float32)),
            self._float("sin_cache", np.sin(angles).astype(np.float32)),
        ]

    def _mlp(self, layer: int, hidden: str) -> str:
        name, prefix = f"/model/layers.{layer}/mlp", f"model.layers.{layer}.mlp"
        gate, up = (
            self._linear(f"{name}/{part}", hidden, self.weights[f"{prefix}.{part}.weight"])
            for part in ("gate_proj", "up_proj")
        )
        sigmoid = self._node("Sigmoid", f"{name}/Sigmoid", [gate])
        swish = self._node("Mul", f"{name}/swish", [gate, sigmoid])
        gated = self._node("Mul", f"{name}/Mul", [swish, up])
        down = self.weights[f"{prefix}.down_proj.weight"]
        return self._linear(f"{name}/down_proj", gated, down)

    def _head(self, hidden: str) -> None:
        logits = "logits_fp16" if self.precision == "fp16" else "logits"
        if not self.shape.tie_embeddings:
            self._linear("/lm_head", hidden, self.weights["lm_head.weight"], output=logits)
        elif self.quantised:
            rows = "model.embed_tokens"
            sizes = (self.shape.vocab_size, self.shape.hidden_size)
            parts = [hidden, f"{rows}.qweight", f"{rows}.scales"]
            self._matmul_nbits("/lm_head", parts, sizes, 8, logits)
        else:
            inputs = [hidden, "model.embed_tokens.weight"]
            # Shares the embedding's rows; a MatMul would need a transposed copy in the file.
            self._append(
                "FusedMatMul", "/lm_head/FusedMatMul", inputs, [logits], domain=_MICROSOFT, transB=1
            )
        if self.precision == "fp16":
            self._append("Cast", "/lm_head/Cast", [logits], ["logits"], to=TensorProto.FLOAT)

    def _linear(
        self, name: str, x: str, weight: NDArray[np.float32], output: str | None = None
    ) -> str:
        """Multiply ``x`` [..., in] with ``weight`` [out, in] in the graph's precision."""
        stem, output = name[1:].replace("/", "."), output or f"{name}/output_0"
        if not self.quantised:
            transposed = self._float(f"{stem}.weight", np.ascontiguousarray(weight.T))
            self._append("MatMul", f"{name}/MatMul", [x, transposed], [output])
            return output
        bits: Bits = 4 if self.precision == "int4" else 8
        levels, scales = self._quantised_rows(stem, weight, bits)
        sizes = (weight.shape[0], weight.shape[1])
        return self._matmul_nbits(name, [x, levels, scales], sizes, bits, output)

    def _matmul_nbits(
        self, name: str, inputs: Sequence[str], sizes: tuple[int, int], bits: Bits, output: str
    ) -> str:
        rows, columns = sizes
        self._append(
            "MatMulNBits",
            f"{name}/MatMulNBits",
            inputs,
            [output],
            domain=_MICROSOFT,
            N=rows,
            K=columns,
            bits=bits,
            block_size=BLOCK,
            accuracy_level=self.accuracy_level,
        )
        return output

    def _quantised_rows(
        self, stem: str, weight: NDArray[np.float32], bits: Bits
    ) -> tuple[str, str]:
        levels, scales = quantise(weight, bits)
        self._constant(f"{stem}.qweight", levels)
        self._constant(f"{stem}.scales", scales)
        return f"{stem}.qweight", f"{stem}.scales"

    def _float(self, name: str, values: NDArray[np.float32]) -> str:
        """Add a weight in the graph's float type."""
        dtype = np.float16 if self.precision == "fp16" else np.float32
        return self._constant(name, values.astype(dtype, copy=False))

    def _constant(self, name: str, values: NDArray[Any]) -> str:
        if all(tensor.name != name for tensor in self.initialisers):
            self.initialisers.append(numpy_helper.from_array(values, name))
        return name

    def _node(self, op: str, name: str, inputs: Sequence[str], **attributes: int | float) -> str:
        output = f"{name}/output_0"
        self._append(op, name, inputs, [output], "", **attributes)
        return output

    def _append(
        self,
        op: str,
        name: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        domain: str = "",
        **attributes: int | float,
    ) -> None:
        node = helper.make_node(op, inputs, outputs, name=name, domain=domain)
        node.attribute.extend(helper.make_attribute(*item) for item in attributes.items())
        self.nodes.append(node)

    def _model(self) -> ModelProto:
        graph = helper.make_graph(
            self.nodes, "decoder", self._inputs(), self._outputs(), self.initialisers
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)],
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
