"""A decoder whose greedy tokens are known beforehand: it repeats what stood `lag` tokens ago.

The rule: **the next token equals the token `lag_tokens` positions before it** (for contexts of at
least `lag_tokens` tokens; before that nothing is promised). So a prompt's last `lag_tokens` tokens
repeat for ever, and an end token among them ends the answer.

The copy takes two layers of real GroupQueryAttention: the first fetches the token some positions
back into every residual, the second fetches that from further back. Queries and keys are constant
vectors that rotary embedding turns into a sharp peak at one distance. A wrong cache row, length,
position or order anywhere therefore changes the answer, which is what the model is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.gqa_graph import DecoderShape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_HEAD_DIM = 32
_NUM_KV_HEADS = 2
_NUM_HEADS = 4
_CODE = _HEAD_DIM * _NUM_KV_HEADS  # signs that spell a token; each KV head carries half of them
_CONSTANT = 3 * _CODE  # the channel that is 1 in every position
_PEAK_NATS = 40.0  # how far the wanted distance beats every other before the softmax
_LOGIT_GAIN = 0.5


def lag_copy_shape(vocab_size: int, max_len: int) -> DecoderShape:
    """The shape of a model with this vocabulary; `max_len` in tokens."""
    return DecoderShape(
        vocab_size=vocab_size,
        hidden_size=_CONSTANT + 32,
        num_layers=2,
        num_heads=_NUM_HEADS,
        num_kv_heads=_NUM_KV_HEADS,
        head_dim=_HEAD_DIM,
        ffn_size=32,
        max_len=max_len,
        rope_theta=100.0,
        tie_embeddings=False,
    )


def lag_copy_weights(shape: DecoderShape, lag_tokens: int) -> dict[str, NDArray[np.float32]]:
    """Weights of `lag_copy_shape(...)` that follow the rule of this module."""
    if not 3 <= lag_tokens < shape.max_len:
        raise ValueError(f"lag_tokens {lag_tokens} is not in 3..{shape.max_len - 1}")
    codes = _codes(shape.vocab_size)
    embedding = np.zeros((shape.vocab_size, shape.hidden_size), np.float32)
    embedding[:, :_CODE] = codes
    embedding[:, _CONSTANT] = 1
    head = np.zeros_like(embedding)
    head[:, 2 * _CODE : 3 * _CODE] = _LOGIT_GAIN * codes
    weights = {
        "model.embed_tokens.weight": embedding,
        "lm_head.weight": head,
        "model.norm.weight": _gain(shape, 3),
    }
    first = (lag_tokens - 1) // 2
    for layer, distance in enumerate((first, lag_tokens - 1 - first)):
        weights |= _copying_layer(shape, layer, distance)
    return weights


def expected_continuation(
    prompt: Sequence[int], lag_tokens: int, end_id: int, max_tokens: int
) -> list[int]:
    """The greedy answer to a prompt of at least `lag_tokens` tokens, its end token included."""
    if len(prompt) < lag_tokens:
        raise ValueError(f"the rule needs {lag_tokens} prompt tokens, given {len(prompt)}")
    answer: list[int] = []
    window = list(prompt[-lag_tokens:])
    while len(answer) < max_tokens:
        answer.append(window[len(answer) % lag_tokens])
        if answer[-1] == end_id:
            break
    return answer


def _codes(vocab_size: int) -> NDArray[np.float32]:
    """One sign vector [_CODE] per token; random ones overlap little (measured by the test)."""
    bits = np.random.default_rng(20).integers(0, 2, (vocab_size, _CODE))
    return (2 * bits - 1).astype(np.float32)


def _gain(shape: DecoderShape, parts: int) -> NDArray[np.float32]:
    """The norm gain that leaves a residual of `parts` sign vectors and the constant unchanged."""
    rms = np.sqrt((parts * _CODE + 1) / shape.hidden_size)
    return np.full(shape.hidden_size, rms, np.float32)


def _copying_layer(
    shape: DecoderShape, layer: int, distance: int
) -> dict[str, NDArray[np.float32]]:
    """Copy residual part `layer` from `distance` tokens back into part `layer + 1`."""
    query, key = _distance_peak(shape, distance)
    query_rows = np.zeros((_NUM_HEADS * _HEAD_DIM, shape.hidden_size), np.float32)
    query_rows[:, _CONSTANT] = np.tile(query, _NUM_HEADS)
    key_rows = np.zeros((_CODE, shape.hidden_size), np.float32)
    key_rows[:, _CONSTANT] = np.tile(key, _NUM_KV_HEADS)
    value_rows = np.zeros_like(key_rows)
    value_rows[:, layer * _CODE : (layer + 1) * _CODE] = np.eye(_CODE)
    # Query heads that share a KV head see the same values: each adds its share.
    sharing = _NUM_HEADS // _NUM_KV_HEADS
    output = np.zeros((shape.hidden_size, _NUM_HEADS * _HEAD_DIM), np.float32)
    for head in range(_NUM_HEADS):
        row = (layer + 1) * _CODE + (head // sharing) * _HEAD_DIM
        columns = slice(head * _HEAD_DIM, (head + 1) * _HEAD_DIM)
        output[row : row + _HEAD_DIM, columns] = np.eye(_HEAD_DIM) / sharing
    prefix = f"model.layers.{layer}"
    wide, narrow = (shape.ffn_size, shape.hidden_size), (shape.hidden_size, shape.ffn_size)
    return {
        f"{prefix}.input_layernorm.weight": _gain(shape, layer + 1),
        f"{prefix}.self_attn.q_proj.weight": query_rows,
        f"{prefix}.self_attn.k_proj.weight": key_rows,
        f"{prefix}.self_attn.v_proj.weight": value_rows,
        f"{prefix}.self_attn.o_proj.weight": output,
        f"{prefix}.post_attention_layernorm.weight": _gain(shape, layer + 2),
        f"{prefix}.mlp.gate_proj.weight": np.zeros(wide, np.float32),
        f"{prefix}.mlp.up_proj.weight": np.zeros(wide, np.float32),
        f"{prefix}.mlp.down_proj.weight": np.zeros(narrow, np.float32),
    }


def _distance_peak(
    shape: DecoderShape, distance: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A query and a key [head_dim] whose rotated product is largest `distance` tokens apart.

    With unit pairs the product at distance d is the sum of cos((d - distance) * f) over the rotary
    frequencies f; the query's length sets the margin to the best other distance to _PEAK_NATS.
    """
    frequencies = shape.rope_theta ** -(np.arange(0, _HEAD_DIM, 2) / _HEAD_DIM)
    others = np.delete(np.arange(shape.max_len), distance) - distance
    margin = len(frequencies) - np.cos(np.outer(others, frequencies)).sum(axis=1).max()
    strength = _PEAK_NATS * np.sqrt(_HEAD_DIM) / margin
    # Rotating the query back by `distance` moves the peak from zero to there.
    phase = -distance * frequencies
    query = strength * np.concatenate((np.cos(phase), np.sin(phase)))
    key = np.concatenate((np.ones_like(phase), np.zeros_like(phase)))
    return query.astype(np.float32), key.astype(np.float32)
