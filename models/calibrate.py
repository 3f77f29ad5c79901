"""What ``w8a8`` must know of a model before its activations can be rounded to fixed levels.

A few channels of a gated feed-forward are a hundred times larger than the rest, so that one step
for all of them would round the rest away. As in SmoothQuant (Xiao et al. 2022, arXiv 2211.10438,
eq. 4) part of each channel's size is moved over into the weights: the up projection makes the
channel smaller, the down projection larger again, which changes nothing but the rounding.

On the shipped model, over 60 dialogues it was not calibrated on: mean KL divergence from fp32
7e-5 nats, against 7e-4 without smoothing, 8e-6 for ``int8`` and 2e-4 for ``int4`` blocks
beside an embedding of 8 bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from models.gqa_graph import DecoderShape, build_graph

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from onnx import ModelProto

    Weights = dict[str, NDArray[np.float32]]

_MOVED = 0.85  # of a channel's size, in nats; 0.5 left twice, 1.0 one and a half times the error
_SMALLEST = 1e-3  # channels that are never larger are left as they are
_SILENT = 3


def calibrated(
    shape: DecoderShape,
    weights: Mapping[str, NDArray[np.float32]],
    sequences: Iterable[Sequence[int]],
) -> tuple[Weights, dict[str, float]]:
    """Weights that can be rounded, and the peaks of what they are multiplied with.

    `sequences` of token ids should be as the model will see them; a hundred are enough.
    """
    channels = _channel_peaks(shape, build_graph(shape, weights, "fp32"), sequences)
    smooth = dict(weights)
    for layer in range(shape.num_layers):
        prefix, gated = f"model.layers.{layer}.mlp", f"/model/layers.{layer}/mlp/Mul/output_0"
        up, down = f"{prefix}.up_proj.weight", f"{prefix}.down_proj.weight"
        factors = _factors(channels[gated], weights[down])
        smooth[up] = weights[up] / factors[:, None]
        smooth[down] = weights[down] * factors
        channels[gated] = channels[gated] / factors
    return smooth, {name: float(peaks.max()) for name, peaks in channels.items()}


def _factors(peaks: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """By how much each channel is made smaller; their geometric mean is 1."""
    sizes = np.abs(weight).max(axis=0)
    logs = _MOVED * np.log(np.maximum(peaks, _SMALLEST))
    logs -= (1 - _MOVED) * np.log(np.maximum(sizes, _SMALLEST))
    factors: NDArray[np.float32] = np.exp(logs - logs.mean()).astype(np.float32)
    return factors


def _channel_peaks(
    shape: DecoderShape, graph: ModelProto, sequences: Iterable[Sequence[int]]
) -> dict[str, NDArray[np.float32]]:
    """The largest magnitude of each channel of whatever is multiplied with a matrix."""
    multiplied = {
        node.input[0] for node in graph.graph.node if node.op_type in {"MatMul", "FusedMatMul"}
    }
    names = sorted(multiplied)
    graph.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = _SILENT
    session: Any = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    empty = np.zeros((1, shape.num_kv_heads, 0, shape.head_dim), np.float32)
    past = {i.name: empty for i in session.get_inputs() if i.name.startswith("past_key_values")}
    peaks = {name: np.zeros(1, np.float32) for name in names}
    for ids in sequences:
        tokens = np.array([ids], np.int64)
        feeds = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), **past}
        for name, values in zip(names, session.run(names, feeds), strict=True):
            here = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            peaks[name] = np.maximum(peaks[name], here)
    return peaks
