"""What clients ask for, all of it known before a run: two arms of a comparison see the same."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from gateway.core.budget import TurnClass

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Slo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a request must keep to be attained. Raises ValueError out of range.

    The first token within `first_token_s` of the intended send, and the last within
    `token_interval_s` for every further token after that budget. None: no such limit.
    """

    turn_class: TurnClass = TurnClass.VOICE
    first_token_s: float | None = 0.5
    token_interval_s: float | None = None

    def __post_init__(self) -> None:
        """Hold the limits to their range."""
        for limit_s in (self.first_token_s, self.token_interval_s):
            if limit_s is not None and not 0.0 < limit_s < 86_400.0:
                raise ValueError("a limit must be above 0 and below a day")
        if self.first_token_s is None and self.token_interval_s is not None:
            raise ValueError("`token_interval_s` needs `first_token_s`")


class Sizes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lognormal token counts of mean `mean_tokens`, cut to 1..`max_tokens`. Raises ValueError."""

    mean_tokens: float
    cv: float = 0.0
    max_tokens: int = 4096

    def __post_init__(self) -> None:
        """Refuse what has no distribution."""
        if not 1.0 <= self.mean_tokens <= self.max_tokens or not 0.0 <= self.cv <= 10.0:
            raise ValueError("`mean_tokens` must be in 1..`max_tokens` and `cv` in 0..10")
        if self.max_tokens > 10_000_000:
            raise ValueError("`max_tokens` must be at most 10 million")

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """`count` sizes. The cut lowers the mean a little where `max_tokens` is near."""
        variance = math.log(1.0 + self.cv * self.cv)
        mean = math.log(self.mean_tokens) - variance / 2.0
        drawn = rng.lognormal(mean, math.sqrt(variance), count)
        return np.clip(np.rint(drawn), 1, self.max_tokens).astype(np.int64)


class Speech(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a call spends beside the model, wherever its media end. Raises ValueError."""

    mean_s: float
    """End of turn and recognition, before the model is asked: Gamma distributed,"""
    cv: float = 0.0
    """with this coefficient of variation."""
    voice_s: float = 0.0
    """From the first token to the first sound."""

    def __post_init__(self) -> None:
        """Hold every field to its range."""
        if not 0.0 <= self.mean_s < 60.0 or not 0.0 <= self.voice_s < 60.0:
            raise ValueError("`mean_s` and `voice_s` must be at least 0 and below a minute")
        if not 0.0 <= self.cv <= 10.0:
            raise ValueError("`cv` must be in 0..10")

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """`count` times before the model, in seconds."""
        if self.cv == 0.0 or self.mean_s == 0.0:
            return np.full(count, self.mean_s)
        shape = 1.0 / (self.cv * self.cv)
        return rng.gamma(shape, self.mean_s / shape, count)


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests as columns, by intended send time."""

    slos: tuple[Slo, ...]
    sent_s: array[float]
    home: array[int]
    """The site each client is nearest to."""
    prompt_tokens: array[int]
    output_tokens: array[int]
    slo: array[int]
    """Index into `slos`."""
    listening_s: array[float]
    """What a call spends before its model is asked; 0 for text."""
    voice_s: array[float]
    """What it spends from the first token to the first sound."""

    def __len__(self) -> int:
        return len(self.sent_s)

    @classmethod
    def from_columns(
        cls,
        slos: tuple[Slo, ...],
        sent_s: NDArray[np.float64],
        home: NDArray[np.int64],
        prompt_tokens: NDArray[np.int64],
        output_tokens: NDArray[np.int64],
        slo: NDArray[np.int64],
        listening_s: NDArray[np.float64] | None = None,
        voice_s: NDArray[np.float64] | None = None,
    ) -> Workload:
        """From columns already in order of `sent_s`; without the last two, all are text."""

        def ints(column: NDArray[np.int64]) -> array[int]:
            return array("q", column.astype(np.int64).tobytes())

        def floats(column: NDArray[np.float64] | None) -> array[float]:
            column = np.zeros(len(sent_s)) if column is None else column
            return array("d", column.astype(np.float64).tobytes())

        return cls(
            slos,
            floats(sent_s),
            ints(home),
            ints(prompt_tokens),
            ints(output_tokens),
            ints(slo),
            floats(listening_s),
            floats(voice_s),
        )

    def chosen(self, rows: NDArray[np.bool_]) -> Workload:
        """Some of the requests, in the same order."""
        return Workload.from_columns(
            self.slos,
            np.frombuffer(self.sent_s)[rows],
            np.frombuffer(self.home, np.int64)[rows],
            np.frombuffer(self.prompt_tokens, np.int64)[rows],
            np.frombuffer(self.output_tokens, np.int64)[rows],
            np.frombuffer(self.slo, np.int64)[rows],
            np.frombuffer(self.listening_s)[rows],
            np.frombuffer(self.voice_s)[rows],
        )

    def limits_s(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Per request, from the intended send: the limits on first and last token (inf: none)."""
        slo = np.frombuffer(self.slo, np.int64)
        first = np.array([s.first_token_s or math.inf for s in self.slos])[slo]
        interval = np.array([s.token_interval_s or math.inf for s in self.slos])[slo]
        further = np.frombuffer(self.output_tokens, np.int64) - 1
        with np.errstate(invalid="ignore"):
            last = np.where(np.isinf(interval), math.inf, first + interval * further)
        return first, last
