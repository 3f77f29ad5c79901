"""A model file for llama.cpp: its Llama architecture, random weights, one token for each byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

_NUM_LAYERS, _WIDTH, _NUM_HEADS, _HIDDEN = 2, 64, 4, 128
_CONTEXT_TOKENS = 512
_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "assistant:"
)


def write_tiny_gguf(path: Path, gguf: Any) -> None:
    """Write the model; `gguf` is the package of that name, which is not typed."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_context_length(_CONTEXT_TOKENS)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_NUM_LAYERS)
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(_NUM_HEADS)
    writer.add_head_count_kv(_NUM_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _NUM_HEADS)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    num_tokens = _add_tokens(writer, gguf)
    _add_weights(writer, num_tokens)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokens(writer: Any, gguf: Any) -> int:
    kinds = gguf.TokenType
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL] + [kinds.BYTE] * 256)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(_TEMPLATE)
    return len(tokens)


def _add_weights(writer: Any, num_tokens: int) -> None:
    random = np.random.default_rng(0)

    def matrix(name: str, rows: int, columns: int) -> None:
        weights = random.standard_normal((rows, columns)) / np.sqrt(columns)
        writer.add_tensor(f"{name}.weight", weights.astype(np.float32))

    def norm(name: str) -> None:
        writer.add_tensor(f"{name}.weight", np.ones(_WIDTH, np.float32))

    matrix("token_embd", num_tokens, _WIDTH)
    for layer in range(_NUM_LAYERS):
        norm(f"blk.{layer}.attn_norm")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"blk.{layer}.{part}", _WIDTH, _WIDTH)
        norm(f"blk.{layer}.ffn_norm")
        matrix(f"blk.{layer}.ffn_gate", _HIDDEN, _WIDTH)
        matrix(f"blk.{layer}.ffn_up", _HIDDEN, _WIDTH)
        matrix(f"blk.{layer}.ffn_down", _WIDTH, _HIDDEN)
    norm("output_norm")
    matrix("output", num_tokens, _WIDTH)
