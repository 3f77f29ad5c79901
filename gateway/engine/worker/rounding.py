"""Finds out how a model's prompt kernels round, on this machine.

Kernels may sum in another order when a matrix has more rows, and a quantised model then rounds to
other levels. Whether they do depends on the operator, its shapes and the processor, so it is
measured when the engine starts. ONNX Runtime 1.31 on AVX-512: prompts in fp32 and in MatMulNBits
with accuracy level 4 come out the same, bit for bit, however they are cut and batched, if no
attention block is left with a single row (the model pads such pieces); with accuracy levels 0 and
1 a batch does not equal its rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gateway.engine.worker.port import RunnableModel

    Bits = list[NDArray[np.generic]]

_NUM_TOKENS = 66
_CUTS = (1, 18, 65)
_SHORTER_TOKENS = 65
_FINE_GRID_TOKENS = 16


class Rounding(NamedTuple):
    """What leaves every bit of a prompt's keys, values and logits as it is."""

    is_same_cut: bool
    """Cutting it anywhere."""
    is_same_in_batch: bool
    """Running it beside others, padded on the right."""


def grid_tokens(chunk_tokens: int, rounding: Rounding) -> int:
    """Where prompts may be cut, for a scheduler."""
    fine = rounding.is_same_cut and chunk_tokens % _FINE_GRID_TOKENS == 0
    return _FINE_GRID_TOKENS if fine else chunk_tokens


def measure_rounding(model: RunnableModel) -> Rounding:
    """Prefill the same prompt in one piece, in several and in a batch, and compare the bits.

    Needs two KV rows, whose content is lost. Raises EngineFault.
    """
    num_tokens = min(_NUM_TOKENS, model.max_context_tokens - 1)
    ids = np.random.default_rng(0).integers(model.layout.vocab_size, size=num_tokens).tolist()
    shorter = ids[-_SHORTER_TOKENS:]
    whole = _piecewise(model, ids, (num_tokens,))
    alone = _piecewise(model, shorter, (len(shorter),))
    cuts = tuple(cut for cut in _CUTS if cut < num_tokens)
    cut = _piecewise(model, ids, (*cuts, num_tokens))
    logits = model.prefill_together(0, [ids, shorter])
    batch = [
        [logits[row].copy(), *model.kv.read(row, len(prompt))]
        for row, prompt in enumerate((ids, shorter))
    ]
    return Rounding(
        is_same_cut=_equal(whole, cut),
        is_same_in_batch=_equal(whole, batch[0]) and _equal(alone, batch[1]),
    )


def _piecewise(model: RunnableModel, ids: list[int], stops: tuple[int, ...]) -> Bits:
    """The logits after a prompt that is cut at `stops`, and its keys and values."""
    start = 0
    for stop in stops:
        logits = model.prefill(0, ids[start:stop], start)
        start = stop
    return [logits[0].copy(), *model.kv.read(0, len(ids))]


def _equal(one: Bits, other: Bits) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
