"""What the engine needs of a model, whatever runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gateway.core.rows import Move
    from gateway.engine.worker.sampling import Top

    Floats = NDArray[np.float32]


NUM_AHEAD = 4
"""Tokens in a run that looks ahead. The shipped model behind random prompts gained 1.7 with 3, 1.8
with 4 and with 6; in the assistant's short answers, whose guesses rarely hold, 6 loses."""


class Logits(Protocol):
    """What a run says of the tokens that follow, row by row, valid until the next run.

    Where it lies on a device, a row is copied when it is asked for.
    """

    def __getitem__(self, row: int, /) -> Floats:
        """The logits f32[V] of a row. Raises EngineFault."""
        ...


class ModelFacts(Protocol):
    """What the engine must know of the graph."""

    @property
    def vocab_size(self) -> int:
        """Token ids are below this."""
        ...


class Rows(Protocol):
    """The cache."""

    def read(self, row: int, num_tokens: int) -> Sequence[NDArray[np.generic]]:
        """A copy of the first positions of a row, layer by layer."""
        ...

    def move(self, move: Move) -> None:
        """Copy the valid part of one row over another."""
        ...


class LooksAhead(Protocol):
    """Several tokens of KV row 0 in one run, as if one by one."""

    def decode(self, ids: Sequence[int], start: int) -> tuple[Logits, Top]:
        """Append up to NUM_AHEAD tokens at position `start`.

        The row must have NUM_AHEAD positions left; those behind the tokens are left with junk.
        Returns the logits f32[NUM_AHEAD, V] of what follows each, and the largest of them, valid
        until the next run. Raises EngineFault.
        """
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

    @property
    def ahead(self) -> LooksAhead | None:
        """Takes several tokens of row 0 in a run, where there is such a run."""
        ...

    def decode(
        self, last_ids: Sequence[int], lengths: Sequence[int], *, first_row: int = 0
    ) -> Logits:
        """One token for each of n consecutive rows.

        `last_ids[i]` is appended to row `first_row + i` at position `lengths[i]`. Returns the
        logits f32[n, V] of what follows, valid until the next run. Raises EngineFault.
        """
        ...

    def prefill(self, row: int, ids: Sequence[int], start: int) -> Logits:
        """Prompt tokens from position `start` on into one row.

        Returns the logits f32[1, V] that follow the last of them, valid until the next run. One
        position behind them may be left with junk. Raises EngineFault.
        """
        ...

    def top(self, num_rows: int) -> Top | None:
        """The largest logits of the last run's rows, valid until the next run; None where the
        model does not find them."""
        ...

    def prefill_together(self, first_row: int, prompts: Sequence[Sequence[int]]) -> Logits:
        """Whole prompts into empty consecutive rows, padded on the right to the longest.

        Returns the logits f32[n, V] that follow each, valid until the next run. Padding leaves
        junk in a row behind the prompt, where the next tokens go. Raises EngineFault.
        """
        ...
