"""`requests.jsonl.zst`: every request of every arm, a line each."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING, Any

import msgspec
import zstandard

from loadtests.sim.outcome import Fate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from loadtests.comparison.measured import Measured

_LEVEL = 6
_LINES_AT_ONCE = 4096


def write_requests(path: Path, arms: Mapping[str, Measured]) -> None:
    """Raises OSError."""
    encode = msgspec.json.Encoder().encode
    compressor = zstandard.ZstdCompressor(level=_LEVEL)
    with path.open("wb") as file, compressor.stream_writer(file) as stream:
        for name, measured in arms.items():
            pending: list[bytes] = []
            for row in _rows(name, measured):
                pending.append(encode(row))
                if len(pending) == _LINES_AT_ONCE:
                    stream.write(b"\n".join(pending) + b"\n")
                    pending.clear()
            if pending:
                stream.write(b"\n".join(pending) + b"\n")


def _rows(name: str, measured: Measured) -> Iterator[dict[str, Any]]:
    attained = measured.attained().tolist()
    classes = [slo.turn_class.value for slo in measured.slos]
    columns = zip(
        measured.sent_s.tolist(),
        measured.slo.tolist(),
        measured.home.tolist(),
        measured.served_by.tolist(),
        measured.fate.tolist(),
        measured.output_tokens.tolist(),
        measured.first_token_s.tolist(),
        measured.last_token_s.tolist(),
        attained,
        strict=True,
    )
    for sent_s, slo, home, served_by, fate, tokens, first_s, last_s, kept in columns:
        yield {
            "arm": name,
            "sent_s": round(sent_s, 6),
            "class": classes[slo],
            "slo": slo,
            "home": home,
            "served_by": served_by,
            "fate": Fate(fate).name.lower(),
            "output_tokens": tokens,
            "ttft_ms": _ms(first_s),
            "last_token_ms": _ms(last_s),
            "attained": kept,
        }


def _ms(seconds: float) -> float | None:
    return None if isnan(seconds) else round(seconds * 1e3, 3)
