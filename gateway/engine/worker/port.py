"""What the engine needs of a model, whatever runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gateway.core.rows import Move

    Floats = NDArray[np.float32]


class ModelFacts(Protocol):
    """What the engine must know of the graph."""

    @property
    def vocab_size(self) -> int:
        """Token ids are below this."""
        ...


class Rows(Protocol):
    """The cache."""

    def move(self, move: Move) -> None:
        """Copy the valid part of one row over another."""
        ...


class RunnableModel(Protocol):
    """A model with its KV rows. Not thread-safe; one run at a time."""

    @property
    def layout(self) -> ModelFacts:
        """Facts of the graph."""
        ...

    @property
    def max_context_tokens(self) -> int:
        """Positions of a row."""
        ...

    @property
    def kv(self) -> Rows:
        """The KV rows."""
        ...

    def decode(self, last_ids: Sequence[int], lengths: Sequence[int]) -> Floats:
        """One token for each of rows 0..n-1.

        `last_ids[r]` is appended to row r at position `lengths[r]`. Returns the logits f32[n, V]
        of what follows, valid until the next run. Raises EngineFault.
        """
        ...

    def prefill(self, row: int, ids: Sequence[int], start: int) -> Floats:
        """Prompt tokens from position `start` on into one row.

        Returns the logits f32[V] that follow the last of them, valid until the next run. Raises
        EngineFault.
        """
        ...
