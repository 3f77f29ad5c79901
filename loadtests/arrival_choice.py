"""How a live run's requests arrive, as it is said on a command line.

    poisson | gamma:CV | mmpp | trace:FORMAT:FILE

A trace (azure, burstgpt, mooncake) gives its instants, stretched to the rate asked for; what is
asked at them stays the run's own.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from loadtests.arrivals import Bursts, gamma, mmpp_local, poisson
from loadtests.traces import Trace, TraceFormat, read_trace

if TYPE_CHECKING:
    from loadtests.arrivals import Instants


@dataclass(frozen=True, slots=True)
class ArrivalChoice:
    """One of the processes; `text` is how it was said."""

    text: str
    cv: float | None = None
    trace: Trace | None = None

    @classmethod
    def parse(cls, text: str) -> ArrivalChoice:
        """Raises ArgumentTypeError for what is no process, or a trace that cannot be read."""
        kind, _, rest = text.partition(":")
        try:
            if kind == "gamma" and rest:
                gamma(1.0, cv := float(rest), 1.0, np.random.default_rng(0))  # holds its range
                return cls(text, cv=cv)
            if kind == "trace" and ":" in rest:
                trace_format, _, path = rest.partition(":")
                return cls(text, trace=read_trace(Path(path), TraceFormat(trace_format)))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        if text in ("poisson", "mmpp"):
            return cls(text)
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of poisson, gamma:CV, mmpp, trace:FORMAT:FILE"
        )

    def instants(self, rate_hz: float, duration_s: float, seed: int) -> Instants:
        """Sorted, in [0, duration_s). Raises ValueError when a trace is too short for it."""
        rng = np.random.default_rng(seed)
        if self.trace is not None:
            stretched = self.trace.at_rate(rate_hz)
            if stretched.at_s[-1] < duration_s:
                raise ValueError(
                    f"{self.text}: at {rate_hz:g} per second it lasts {stretched.at_s[-1]:.1f} s, "
                    f"not {duration_s:g} s"
                )
            return stretched.cut(duration_s).at_s
        if self.cv is not None:
            return gamma(rate_hz, self.cv, duration_s, rng)
        if self.text == "mmpp":
            return mmpp_local(1, rate_hz, Bursts(), duration_s, rng)[0]
        return poisson(rate_hz, duration_s, rng)
