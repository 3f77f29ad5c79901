"""Routing decisions on disk, with everything they were made from; see `core.decision_record`."""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING

import msgspec

from gateway.core.decision_record import DecisionRecord
from gateway.telemetry.segment_file import frames
from gateway.telemetry.segment_log import SUFFIX, LogBounds, SegmentLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class KeptDecision(msgspec.Struct, frozen=True):
    """A decision, placed on the wall clock."""

    at_ns: int
    """Nanoseconds since 1970, UTC."""
    decision: DecisionRecord


class DecisionLog:
    """The `DecisionSink` of a site: keeps all decisions of one request in so many.

    Which, follows from the request's id, so that all sites on its way keep theirs.
    """

    def __init__(
        self,
        directory: Path,
        bounds: LogBounds,
        *,
        kept_ratio: float,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._threshold = round(kept_ratio * (1 << 32))
        self._wall_ns = wall_ns
        self._log = SegmentLog(directory, KeptDecision, at_ns=lambda one: one.at_ns, bounds=bounds)

    def wants(self, request_id: str) -> bool:
        """Whether the decisions on this request are kept."""
        return zlib.crc32(request_id.encode()) < self._threshold

    def record(self, decision: DecisionRecord) -> None:
        """Keep it; never waits, never raises."""
        self._log.append(KeptDecision(self._wall_ns(), decision))

    def close(self) -> None:
        """Write what waits, and end."""
        self._log.close()


def read_decisions(path: Path) -> Iterator[KeptDecision]:
    """All decisions of a segment or of a directory of them, the oldest first.

    Raises OSError, and msgspec.DecodeError for what was kept by a version too different.
    """
    decoder = msgspec.msgpack.Decoder(KeptDecision)
    segments = sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
    for segment in segments:
        for _, payload in frames(segment.read_bytes()):
            yield decoder.decode(payload)
