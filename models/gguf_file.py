"""The decoders of `gqa_graph` as files for llama.cpp, with the same weights.

The tokenizer is that of `byte_tokenizer`: a token for each byte, the special tokens, and filler
words up to the size of the vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from models.byte_tokenizer import BEGIN, END, PAD, SPECIAL_TOKENS, special_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from models.gqa_graph import DecoderShape

GgufPrecision = Literal["F32", "Q4_0"]

_ARCHITECTURE: Final = "qwen2"  # Llama's decoder with biases; rotary halves as in the graphs
_LAYER_PARTS: Final = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_OUTER_PARTS: Final = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}


def write_gguf(
    path: Path,
    shape: DecoderShape,
    weights: Mapping[str, NDArray[np.float32]],
    precision: GgufPrecision,
    *,
    chat_template: str,
    gguf: Any,
) -> None:
    """Write a model file; matrices and embedding are of `precision`, norms and biases floats.

    `weights` go by their state-dict names. `gguf` is the package of that name, which is not typed.
    """
    writer = gguf.GGUFWriter(str(path), _ARCHITECTURE)
    writer.add_context_length(shape.max_len)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(shape.num_layers)
    writer.add_feed_forward_length(shape.ffn_size)
    writer.add_head_count(shape.num_heads)
    writer.add_head_count_kv(shape.num_kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_layer_norm_rms_eps(shape.rms_norm_eps)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_file_type(getattr(gguf.LlamaFileType, _file_type(precision)))
    _add_tokens(writer, gguf, shape.vocab_size)
    writer.add_chat_template(chat_template)
    kind = getattr(gguf.GGMLQuantizationType, precision)
    for name, values in weights.items():
        if values.ndim == 1 or precision == "F32":
            writer.add_tensor(_tensor_name(name), values)
        else:
            writer.add_tensor(
                _tensor_name(name), gguf.quants.quantize(values, kind), raw_dtype=kind
            )
    _add_missing_biases(writer, shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_missing_biases(writer: Any, shape: DecoderShape) -> None:
    """The architecture wants some; without effect where the shape has none."""
    if shape.qkv_bias:
        return
    sizes = {"q": shape.num_heads, "k": shape.num_kv_heads, "v": shape.num_kv_heads}
    for layer in range(shape.num_layers):
        for part, num_heads in sizes.items():
            zeros = np.zeros(num_heads * shape.head_dim, np.float32)
            writer.add_tensor(f"blk.{layer}.attn_{part}.bias", zeros)


def _file_type(precision: GgufPrecision) -> str:
    return "ALL_F32" if precision == "F32" else f"MOSTLY_{precision}"


def _tensor_name(name: str) -> str:
    """`model.layers.3.mlp.up_proj.weight` is `blk.3.ffn_up.weight` there."""
    if name in _OUTER_PARTS:
        return _OUTER_PARTS[name]
    layer, _, rest = name.removeprefix("model.layers.").partition(".")
    part, _, kind = rest.rpartition(".")
    return f"blk.{layer}.{_LAYER_PARTS[part]}.{kind}"


def _add_tokens(writer: Any, gguf: Any, vocab_size: int) -> None:
    kinds = gguf.TokenType
    words = [f"<0x{byte:02X}>" for byte in range(256)]
    types = [kinds.BYTE] * len(words) + [kinds.CONTROL] * len(SPECIAL_TOKENS)
    words += SPECIAL_TOKENS
    words += [f"\u2581w{number}" for number in range(vocab_size - len(words))]
    types += [kinds.NORMAL] * (len(words) - len(types))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_scores([0.0] * len(words))
    writer.add_token_types(types)
    writer.add_bos_token_id(special_id(BEGIN))
    writer.add_eos_token_id(special_id(END))
    writer.add_unk_token_id(special_id(PAD))
    writer.add_pad_token_id(special_id(PAD))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
