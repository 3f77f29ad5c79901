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
    from collections.abc import Sequence

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

    def __len__(self) -> int:
        return len(self.sent_s)

    @classmethod
    def of(
        cls,
        arrivals_s: Sequence[NDArray[np.float64]],
        *,
        prompts: Sizes,
        outputs: Sizes,
        slos: Sequence[tuple[Slo, float]],
        rng: np.random.Generator,
    ) -> Workload:
        """Requests at `arrivals_s[site]`, with sizes and SLOs (by their shares) drawn."""
        sent_s = np.concatenate([np.asarray(times, np.float64) for times in arrivals_s])
        home = np.repeat(np.arange(len(arrivals_s)), [len(times) for times in arrivals_s])
        order = np.argsort(sent_s, kind="stable")
        count = len(sent_s)
        shares = np.array([share for _, share in slos], np.float64)
        return cls.from_columns(
            tuple(slo for slo, _ in slos),
            sent_s[order],
            home[order],
            prompts.draw(count, rng),
            outputs.draw(count, rng),
            rng.choice(len(slos), count, p=shares / shares.sum()),
        )

    @classmethod
    def from_columns(
        cls,
        slos: tuple[Slo, ...],
        sent_s: NDArray[np.float64],
        home: NDArray[np.int64],
        prompt_tokens: NDArray[np.int64],
        output_tokens: NDArray[np.int64],
        slo: NDArray[np.int64],
    ) -> Workload:
        """From columns already in order of `sent_s`."""

        def ints(column: NDArray[np.int64]) -> array[int]:
            return array("q", column.astype(np.int64).tobytes())

        return cls(
            slos,
            array("d", sent_s.astype(np.float64).tobytes()),
            ints(home),
            ints(prompt_tokens),
            ints(output_tokens),
            ints(slo),
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
