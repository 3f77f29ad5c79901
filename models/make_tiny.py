"""Model directories for tests and benchmarks: ``python -m models.make_tiny OUT [--shape ...]``.

``tiny`` answers with tokens that are known beforehand (the rule is in `lag_copy`): it echoes the
last message, up to its last ``lag_tokens - 2`` bytes, and stops; a message that ends in ``...`` is
repeated until a limit ends the answer. ``small`` and ``0.5b`` have random weights: their text is
noise, their cost is that of a real model of the shape (15.7 M parameters; Qwen2.5-0.5B).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from models.bundle import BundleFacts, write_bundle
from models.byte_tokenizer import BEGIN, END, MIN_VOCAB_SIZE, byte_tokenizer_json
from models.calibrate import calibrated
from models.gqa_graph import DecoderShape, build_graph, random_weights
from models.lag_copy import lag_copy_shape, lag_copy_weights
from models.matrices import Precision

if TYPE_CHECKING:
    from numpy.typing import NDArray

TINY_LAG_TOKENS = 128
TINY_MAX_CONTEXT_TOKENS = 2048
_NO_LAG_TOKENS = 2  # the template pads no prompt
_NUM_CALIBRATED, _CALIBRATED_TOKENS = 8, 256

BENCHMARK_SHAPES = {
    "small": DecoderShape(
        vocab_size=8192,
        hidden_size=384,
        num_layers=8,
        num_heads=6,
        num_kv_heads=2,
        head_dim=64,
        ffn_size=1024,
        max_len=4096,
    ),
    "0.5b": DecoderShape(
        vocab_size=151936,
        hidden_size=896,
        num_layers=24,
        num_heads=14,
        num_kv_heads=2,
        head_dim=64,
        ffn_size=4864,
        max_len=4096,
        rope_theta=1e6,
        rms_norm_eps=1e-6,
        qkv_bias=True,
    ),
}

_CHAT_TEMPLATE = Path(__file__).with_name("tiny_chat_template.jinja")


def write_tiny_bundle(
    out: Path, *, lag_tokens: int = TINY_LAG_TOKENS, precision: Precision = "fp32"
) -> Path:
    """Write the predictable model's bundle into `out` and return `out`."""
    shape = lag_copy_shape(MIN_VOCAB_SIZE, TINY_MAX_CONTEXT_TOKENS)
    weights = lag_copy_weights(shape, lag_tokens)
    return _write(out, "tiny", shape, weights, precision, lag_tokens)


def write_benchmark_bundle(out: Path, preset: str, precision: Precision) -> Path:
    """Write a random-weight bundle of a preset's shape into `out` and return `out`."""
    shape = BENCHMARK_SHAPES[preset]
    weights = random_weights(shape, seed=0)
    return _write(out, f"random-{preset}", shape, weights, precision, _NO_LAG_TOKENS)


def _write(
    out: Path,
    name: str,
    shape: DecoderShape,
    weights: dict[str, NDArray[np.float32]],
    precision: Precision,
    lag_tokens: int,
) -> Path:
    template = _CHAT_TEMPLATE.read_text("utf-8").replace("LAG_TOKENS", str(lag_tokens))
    peaks: dict[str, float] = {}
    if precision == "w8a8":
        weights, peaks = calibrated(shape, weights, _noise(shape))
    kv_value_bytes = 2 if precision == "fp16" else 4
    facts = BundleFacts(
        id=name,
        version="1",
        licence="Apache-2.0",
        intended_use="Tests and benchmarks.",
        limits="Has learnt nothing: it repeats its input or makes noise.",
        languages=(),
        tool_format="hermes",
        max_context_tokens=shape.max_len,
        kv_bytes_per_token=kv_value_bytes * shape.kv_values_per_token,
        begin_token=BEGIN,
        end_tokens=(END,),
    )
    write_bundle(
        out,
        graphs={
            ("cuda" if precision == "fp16" else "cpu", precision): build_graph(
                shape, weights, precision, peaks=peaks
            )
        },
        tokenizer_json=byte_tokenizer_json(shape.vocab_size),
        chat_template=template,
        facts=facts,
    )
    return out


def _noise(shape: DecoderShape) -> list[list[int]]:
    """Random ids, which is what models that have learnt nothing can be calibrated on."""
    size = (_NUM_CALIBRATED, _CALIBRATED_TOKENS)
    ids: list[list[int]] = np.random.default_rng(0).integers(shape.vocab_size, size=size).tolist()
    return ids


def main() -> None:
    """Write the bundle that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m models.make_tiny",
        description="Write a test or benchmark model directory.",
        epilog="example: python -m models.make_tiny build/small --shape small --precision int8",
    )
    parser.add_argument("out", type=Path, help="directory to write")
    parser.add_argument("--shape", choices=["tiny", *BENCHMARK_SHAPES], default="tiny")
    parser.add_argument("--precision", choices=get_args(Precision), default="fp32")
    arguments = parser.parse_args()
    if arguments.shape == "tiny":
        write_tiny_bundle(arguments.out, precision=arguments.precision)
    else:
        write_benchmark_bundle(arguments.out, arguments.shape, arguments.precision)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
