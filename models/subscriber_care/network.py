"""The network: a Llama-shaped decoder in PyTorch whose weights bear the usual names.

Trained here, exported by `export`; it must compute what `models.gqa_graph` builds.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.gqa_graph import DecoderShape
from models.subscriber_care.batches import IGNORED

MAX_TOKENS = 512


def default_shape(vocab_size: int) -> DecoderShape:
    """Return the shipped size: 5.2 million parameters at a vocabulary of 2,048."""
    return DecoderShape(
        vocab_size=vocab_size,
        hidden_size=256,
        num_layers=6,
        num_heads=4,
        num_kv_heads=2,
        head_dim=64,
        ffn_size=768,
        max_len=MAX_TOKENS,
    )


class _Attention(nn.Module):
    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.shape = shape
        kv_size = shape.num_kv_heads * shape.head_dim
        q_size = shape.num_heads * shape.head_dim
        self.q_proj = nn.Linear(shape.hidden_size, q_size, bias=False)
        self.k_proj = nn.Linear(shape.hidden_size, kv_size, bias=False)
        self.v_proj = nn.Linear(shape.hidden_size, kv_size, bias=False)
        self.o_proj = nn.Linear(q_size, shape.hidden_size, bias=False)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Attend causally over `hidden` [rows, length, hidden_size]."""
        rows, length, _ = hidden.shape
        shape = self.shape

        def heads(states: Tensor, num: int) -> Tensor:
            return states.view(rows, length, num, shape.head_dim).transpose(1, 2)

        query = _rotate(heads(self.q_proj(hidden), shape.num_heads), cos, sin)
        key = _rotate(heads(self.k_proj(hidden), shape.num_kv_heads), cos, sin)
        value = heads(self.v_proj(hidden), shape.num_kv_heads)
        groups = shape.num_heads // shape.num_kv_heads
        key, value = (states.repeat_interleave(groups, dim=1) for states in (key, value))
        # Written out: the fused kernel's backward pass takes half of a step on the CPU.
        future = torch.full((length, length), -torch.inf, dtype=query.dtype, device=query.device)
        scores = query @ key.transpose(-1, -2) * shape.head_dim**-0.5 + future.triu(1)
        mixed = torch.softmax(scores, dim=-1).to(value.dtype) @ value
        projected: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))
        return projected


def _rotate(states: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the two halves of each head against each other (the half-split rotary convention)."""
    cos, sin = cos.to(states.dtype), sin.to(states.dtype)
    first, second = states.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


class _Mlp(nn.Module):
    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.ffn_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.ffn_size, bias=False)
        self.down_proj = nn.Linear(shape.ffn_size, shape.hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Apply the gated feed-forward network."""
        gated: Tensor = self.down_proj(
            functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden)
        )
        return gated


class _Layer(nn.Module):
    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.self_attn = _Attention(shape)
        self.post_attention_layernorm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)
        self.mlp = _Mlp(shape)

    def forward(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Apply attention and the feed-forward network, each around a residual."""
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), cos, sin)
        out: Tensor = hidden + self.mlp(self.post_attention_layernorm(hidden))
        return out


class _Stack(nn.Module):
    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.layers = nn.ModuleList(_Layer(shape) for _ in range(shape.num_layers))
        self.norm = nn.RMSNorm(shape.hidden_size, eps=shape.rms_norm_eps)


class Network(nn.Module):
    """A decoder with a head tied to its embedding."""

    cos: Tensor
    sin: Tensor

    def __init__(self, shape: DecoderShape) -> None:
        super().__init__()
        self.model = _Stack(shape)
        positions = torch.arange(shape.max_len, dtype=torch.float32)
        exponents = torch.arange(0, shape.head_dim, 2, dtype=torch.float32) / shape.head_dim
        angles = torch.outer(positions, shape.rope_theta**-exponents)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self._initialise(shape)

    def _initialise(self, shape: DecoderShape) -> None:
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                depth_scale = (2 * shape.num_layers) ** -0.5 if residual else 1.0
                nn.init.normal_(weight, std=0.02 * depth_scale)

    def compile_layers(self) -> None:
        """Fuse each layer's small operations; more than doubles the speed on a CPU."""
        for layer in self.model.layers:
            layer.compile(dynamic=True)

    def loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross entropy over the targets that are not `IGNORED`.

        Both are [rows, length]; the head runs only where there is something to learn.
        """
        length = tokens.shape[1]
        hidden = self.model.embed_tokens(tokens)
        cos, sin = self.cos[:length], self.sin[:length]
        for layer in self.model.layers:
            hidden = layer(hidden, cos, sin)
        learnt = targets != IGNORED
        states = self.model.norm(hidden[learnt])
        logits = functional.linear(states, self.model.embed_tokens.weight)
        return functional.cross_entropy(logits.float(), targets[learnt])
