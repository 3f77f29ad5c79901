"""Model files for llama.cpp: the same weights under its names."""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.byte_tokenizer import END, MIN_VOCAB_SIZE, special_id
from models.gguf_file import GgufPrecision, write_gguf
from models.gqa_graph import DecoderShape, random_weights
from tests.requirements import require

if TYPE_CHECKING:
    from pathlib import Path

_BIASED = DecoderShape(MIN_VOCAB_SIZE + 3, 64, 2, 4, 2, 16, 96, 64, qkv_bias=True)
_PLAIN = DecoderShape(MIN_VOCAB_SIZE, 64, 1, 4, 2, 16, 96, 64, tie_embeddings=False)


@pytest.fixture
def gguf() -> Any:
    present = importlib.util.find_spec("gguf") is not None
    require("llamacpp", present, "pip install gguf")
    return importlib.import_module("gguf")


def _tensors(gguf: Any, path: Path) -> dict[str, Any]:
    return {tensor.name: tensor for tensor in gguf.GGUFReader(str(path)).tensors}


def _write(gguf: Any, path: Path, shape: DecoderShape, precision: GgufPrecision) -> None:
    weights = random_weights(shape, 1)
    write_gguf(path, shape, weights, precision, chat_template="<s>", gguf=gguf)


def test_floats_are_the_graphs(gguf: Any, tmp_path: Path) -> None:
    _write(gguf, tmp_path / "model.gguf", _BIASED, "F32")
    tensors = _tensors(gguf, tmp_path / "model.gguf")
    weights = random_weights(_BIASED, 1)
    assert len(tensors) == len(weights)
    for name, there in (
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.1.self_attn.k_proj.bias", "blk.1.attn_k.bias"),
        ("model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight"),
        ("model.layers.1.post_attention_layernorm.weight", "blk.1.ffn_norm.weight"),
    ):
        assert np.array_equal(tensors[there].data, weights[name])


def test_blocks_hold_the_matrices_and_nothing_else(gguf: Any, tmp_path: Path) -> None:
    _write(gguf, tmp_path / "model.gguf", _BIASED, "Q4_0")
    kind = gguf.GGMLQuantizationType.Q4_0
    for name, tensor in _tensors(gguf, tmp_path / "model.gguf").items():
        is_matrix = "norm" not in name and not name.endswith(".bias")
        assert (tensor.tensor_type == kind) == is_matrix
    head = _tensors(gguf, tmp_path / "model.gguf")["token_embd.weight"]
    error = gguf.quants.dequantize(head.data, kind)
    error -= random_weights(_BIASED, 1)["model.embed_tokens.weight"]
    assert np.abs(error).max() < 0.1


def test_biases_that_a_shape_lacks_are_without_effect(gguf: Any, tmp_path: Path) -> None:
    _write(gguf, tmp_path / "model.gguf", _PLAIN, "F32")
    tensors = _tensors(gguf, tmp_path / "model.gguf")
    assert "output.weight" in tensors
    assert [len(tensors[f"blk.0.attn_{part}.bias"].data) for part in "qkv"] == [64, 32, 32]
    assert not tensors["blk.0.attn_q.bias"].data.any()


def test_tokens_are_those_of_the_byte_tokenizer(gguf: Any, tmp_path: Path) -> None:
    _write(gguf, tmp_path / "model.gguf", _BIASED, "F32")
    fields = gguf.GGUFReader(str(tmp_path / "model.gguf")).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert len(tokens) == _BIASED.vocab_size
    assert (tokens[0x61], tokens[special_id(END)], tokens[-1]) == ("<0x61>", END, "\u2581w2")
    assert fields["tokenizer.ggml.eos_token_id"].contents() == special_id(END)
