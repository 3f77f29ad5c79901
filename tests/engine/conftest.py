"""Bundles for engine tests, written once per test run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from models.bundle import BundleFacts, write_bundle
from models.byte_tokenizer import BEGIN, END, byte_tokenizer_json
from models.gqa_graph import DecoderShape, build_graph, random_weights
from models.make_tiny import write_tiny_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from models.matrices import Precision

_RANDOM_SHAPE = DecoderShape(
    vocab_size=300,
    hidden_size=128,
    num_layers=3,
    num_heads=4,
    num_kv_heads=2,
    head_dim=32,
    ffn_size=256,
    max_len=512,
)


@pytest.fixture(scope="session")
def tiny_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model whose next token is the one 128 positions before."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def random_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random fp32 model with a byte vocabulary and 512 tokens of context."""
    return _write_random(tmp_path_factory.mktemp("bundles") / "random", "fp32")


@pytest.fixture(scope="session")
def random_int8_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with weights and activations in 8 bits."""
    return _write_random(tmp_path_factory.mktemp("bundles") / "random-int8", "int8")


@pytest.fixture(scope="session")
def random_half_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model in half precision, keys and values too, for CUDA."""
    return _write_random(tmp_path_factory.mktemp("bundles") / "random-half", "fp16")


def _write_random(out: Path, precision: Precision) -> Path:
    facts = BundleFacts(
        id="random",
        version="1",
        licence="Apache-2.0",
        intended_use="Tests.",
        limits="Makes noise.",
        languages=(),
        tool_format="hermes",
        max_context_tokens=_RANDOM_SHAPE.max_len,
        kv_bytes_per_token=4 * _RANDOM_SHAPE.kv_values_per_token,
        begin_token=BEGIN,
        end_tokens=(END,),
    )
    graph = build_graph(_RANDOM_SHAPE, random_weights(_RANDOM_SHAPE, seed=1), precision)
    write_bundle(
        out,
        graphs={("cuda" if precision == "fp16" else "cpu", precision): graph},
        tokenizer_json=byte_tokenizer_json(_RANDOM_SHAPE.vocab_size),
        chat_template="{{ messages[-1].content }}",
        facts=facts,
    )
    return out
