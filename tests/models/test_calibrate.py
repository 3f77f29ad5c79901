"""What `w8a8` rounds to, and why its weights are made ready first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort

from models.calibrate import calibrated
from models.gqa_graph import DecoderShape, build_graph, random_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SHAPE = DecoderShape(96, 64, 2, 4, 2, 16, 96, 64)
SEQUENCES = np.random.default_rng(3).integers(96, size=(6, 40)).tolist()
GATED = "/model/layers.1/mlp/Mul/output_0"
UP, DOWN = (f"model.layers.1.mlp.{part}_proj.weight" for part in ("up", "down"))


def with_outliers() -> dict[str, NDArray[np.float32]]:
    """As trained models have them: a few channels of the gated feed-forward are huge."""
    weights = random_weights(SHAPE, seed=12)
    weights[UP][:3] *= 200
    weights[DOWN][:, :3] /= 200
    return weights


def logits(
    weights: Mapping[str, NDArray[np.float32]], peaks: Mapping[str, float] | None = None
) -> NDArray[np.float32]:
    graph = build_graph(SHAPE, weights, "w8a8" if peaks else "fp32", peaks=peaks or {})
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session: Any = ort.InferenceSession(graph.SerializeToString(), options)
    ids = np.array(SEQUENCES[:2], np.int64)
    empty = np.zeros((2, SHAPE.num_kv_heads, 0, SHAPE.head_dim), np.float32)
    feeds: dict[str, Any] = {
        i.name: empty for i in session.get_inputs() if i.name.startswith("past_")
    }
    feeds |= {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    return np.asarray(session.run(["logits"], feeds)[0])


def test_making_channels_even_changes_nothing_but_the_rounding() -> None:
    weights = with_outliers()
    even, _ = calibrated(SHAPE, weights, SEQUENCES)
    assert not np.array_equal(even[UP], weights[UP])
    np.testing.assert_allclose(logits(even), logits(weights), atol=1e-3)


def test_outlying_channels_do_not_round_the_others_away() -> None:
    weights = with_outliers()
    exact = logits(weights)
    even, peaks = calibrated(SHAPE, weights, SEQUENCES)
    error = np.abs(logits(even, peaks) - exact).mean()
    uneven = np.abs(logits(weights, peaks | {GATED: 200 * peaks[GATED]}) - exact).mean()
    assert error < uneven / 2


def test_peaks_are_those_of_the_values_that_are_rounded() -> None:
    _, peaks = calibrated(SHAPE, random_weights(SHAPE, seed=13), SEQUENCES)
    assert len(peaks) == 4 * SHAPE.num_layers + 1
    assert all(peak > 0 for peak in peaks.values())
    normed = [peak for name, peak in peaks.items() if "layernorm" in name]
    assert max(normed) < 1.5 * SHAPE.hidden_size**0.5  # norms have a unit RMS and gains near 1
