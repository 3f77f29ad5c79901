"""Model directories for tests and benchmarks: ``python -m models.make_tiny OUT [--shape ...]``.

``tiny`` answers with tokens that are known beforehand (the rule is in `lag_copy`): it echoes the
last message, up to its last ``lag_tokens - 2`` bytes, and stops; a message that ends in ``...`` is
repeated until a limit ends the answer. ``small``, ``0.5b`` and ``1b`` have random weights: their
text is noise, their cost is that of a real model of the shape (15.7 M parameters; Qwen2.5-0.5B;
Llama-3.2-1B).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np

from models.bundle import BundleFacts, kv_value_bytes, provider_of, write_bundle
from models.byte_tokenizer import BEGIN, END, MIN_VOCAB_SIZE, byte_tokenizer_json
from models.calibrate import calibrated
from models.gqa_graph import DecoderShape, build_graph, random_weights
from models.lag_copy import lag_copy_shape, lag_copy_weights
from models.matrices import Precision

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    "1b": DecoderShape(
        vocab_size=128256,
        hidden_size=2048,
        num_layers=16,
        num_heads=32,
        num_kv_heads=8,
        head_dim=64,
        ffn_size=8192,
        max_len=4096,
        rope_theta=5e5,
    ),
}

_CHAT_TEMPLATE = Path(__file__).with_name("tiny_chat_template.jinja")


def write_tiny_bundle(out: Path, *precisions: Precision, lag_tokens: int = TINY_LAG_TOKENS) -> Path:
    """Write the predictable model's bundle into `out` and return `out`.

    It has a graph in each precision, in fp32 if none is named.
    """
    shape = lag_copy_shape(MIN_VOCAB_SIZE, TINY_MAX_CONTEXT_TOKENS)
    weights = lag_copy_weights(shape, lag_tokens)
    return _write(out, "tiny", shape, weights, precisions or ("fp32",), lag_tokens)


def write_benchmark_bundle(out: Path, preset: str, *precisions: Precision) -> Path:
    """Write a random-weight bundle of a preset's shape into `out` and return `out`."""
    shape = BENCHMARK_SHAPES[preset]
    weights = random_weights(shape, seed=0)
    return _write(out, f"random-{preset}", shape, weights, precisions, _NO_LAG_TOKENS)


def _write(
    out: Path,
    name: str,
    shape: DecoderShape,
    weights: dict[str, NDArray[np.float32]],
    precisions: Sequence[Precision],
    lag_tokens: int,
) -> Path:
    template = _CHAT_TEMPLATE.read_text("utf-8").replace("LAG_TOKENS", str(lag_tokens))
    peaks: dict[str, float] = {}
    if "w8a8" in precisions:
        weights, peaks = calibrated(shape, weights, _noise(shape))
    facts = BundleFacts(
        id=name,
        version="1",
        licence="Apache-2.0",
        intended_use="Tests and benchmarks.",
        limits="Has learnt nothing: it repeats its input or makes noise.",
        languages=(),
        tool_format="hermes",
        max_context_tokens=shape.max_len,
        kv_bytes_per_token=kv_value_bytes(precisions[0]) * shape.kv_values_per_token,
        begin_token=BEGIN,
        end_tokens=(END,),
    )
    write_bundle(
        out,
        graphs={
            (provider_of(precision), precision): build_graph(shape, weights, precision, peaks=peaks)
            for precision in precisions
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
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        nargs="+",
        default=["fp32"],
        help="of a graph each; fp16 is for CUDA, all others are for the CPU",
    )
    arguments = parser.parse_args()
    if arguments.shape == "tiny":
        write_tiny_bundle(arguments.out, *arguments.precision)
    else:
        write_benchmark_bundle(arguments.out, arguments.shape, *arguments.precision)
    print(f"wrote {arguments.out}")


if __name__ == "__main__":
    main()
