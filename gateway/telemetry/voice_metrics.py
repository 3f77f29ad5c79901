"""What voice workers say of themselves, as metrics: one series for each worker and kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from opentelemetry.metrics import Observation

from gateway.telemetry import instruments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.telemetry.instruments import Instrument

    Reading = Callable[[Mapping[int, "VoiceWorkerFigures"]], Iterable[Observation]]


class VoiceWorkerFigures(msgspec.Struct, frozen=True):
    """One worker: counts since its process began, but for the first."""

    num_lines: int
    """Calls and connections with sound, now."""
    num_packets: int
    """Of callers' sound, that came."""
    num_lost: int
    num_late_packets: int
    num_strangers: int
    """Datagrams of nobody's."""
    num_sent: int
    num_late_frames: int
    num_late_ticks: int
    cpu_s: float


def voice_readings() -> Iterable[tuple[Instrument, Reading]]:
    """Each instrument, and what it reads of the workers, by their place in the configuration."""
    yield instruments.VOICE_LINES, _reading(lambda one: {"": one.num_lines})
    yield (
        instruments.VOICE_DATAGRAMS,
        _reading(
            lambda one: {
                "heard": one.num_packets,
                "lost": one.num_lost,
                "late": one.num_late_packets,
                "stranger": one.num_strangers,
                "sent": one.num_sent,
            }
        ),
    )
    yield (
        instruments.VOICE_LATENESS,
        _reading(lambda one: {"frame": one.num_late_frames, "timer": one.num_late_ticks}),
    )
    yield instruments.VOICE_CPU, _reading(lambda one: {"": one.cpu_s})


def _reading(
    counts: Callable[[VoiceWorkerFigures], Mapping[str, float]],
) -> Reading:
    def read(workers: Mapping[int, VoiceWorkerFigures]) -> Iterable[Observation]:
        for place, worker in workers.items():
            for kind, value in counts(worker).items():
                named = {"kind": kind} if kind else {}
                yield Observation(value, {"worker": str(place), **named})

    return read
