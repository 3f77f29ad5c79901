"""Published request traces, read in their own columns.

- Azure LLM inference 2023 and 2024, CSV: `TIMESTAMP` (date and time), `ContextTokens`,
  `GeneratedTokens`
- BurstGPT, CSV: `Timestamp` (seconds), `Request tokens`, `Response tokens`
- Mooncake, JSON lines: `timestamp` (milliseconds), `input_length`, `output_length`

Further columns are ignored. A row without output tokens (BurstGPT's failed requests) is dropped
and counted: it says nothing of what was asked for. Rows must be in order of time.
"""

from __future__ import annotations

import csv
import datetime
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_EPOCH = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 - traces without a zone are differences
_Row = tuple[float, int, int]
_MAX_TOKENS = 10_000_000


class InvalidTrace(ValueError):
    """A trace file that cannot be used; the message names file, line and column."""


class TraceFormat(StrEnum):
    """Whose columns a file has."""

    AZURE = "azure"
    BURST_GPT = "burstgpt"
    MOONCAKE = "mooncake"


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests in order of time; the first is at 0."""

    at_s: NDArray[np.float64]
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    num_dropped: int
    """Rows without output tokens."""

    def cut(self, duration_s: float) -> Trace:
        """What was sent before `duration_s`."""
        count = int(np.searchsorted(self.at_s, duration_s))
        return Trace(
            self.at_s[:count],
            self.prompt_tokens[:count],
            self.output_tokens[:count],
            self.num_dropped,
        )

    def at_rate(self, rate_hz: float) -> Trace:
        """The same requests with time stretched to a mean rate. Raises ValueError if it has none.

        Gaps keep their proportions, bursts get shorter or longer with everything else.
        """
        if len(self.at_s) < 2 or self.at_s[-1] <= 0.0 or not rate_hz > 0.0:
            raise ValueError("a trace needs two instants, and a rate must be above 0")
        factor = (len(self.at_s) - 1) / self.at_s[-1] / rate_hz
        return Trace(self.at_s * factor, self.prompt_tokens, self.output_tokens, self.num_dropped)


def read_trace(path: Path, trace_format: TraceFormat) -> Trace:
    """Read a trace file. Raises InvalidTrace."""
    try:
        rows = list(_READERS[trace_format](path))
    except OSError as error:
        raise InvalidTrace(f"{path}: {error.strerror}") from error
    kept = [row for row in rows if row[2] > 0]
    if not kept:
        raise InvalidTrace(f"{path}: no request with output tokens")
    at_s = np.array([row[0] for row in kept], np.float64)
    return Trace(
        at_s - at_s[0],
        np.array([row[1] for row in kept], np.int64),
        np.array([row[2] for row in kept], np.int64),
        len(rows) - len(kept),
    )


def _csv_reader(
    at: str, prompt: str, output: str, instant_s: Callable[[str], float]
) -> Callable[[Path], Iterator[_Row]]:
    """A reader of CSV files with a header line and these columns."""

    def read(path: Path) -> Iterator[_Row]:
        before_s = -np.inf
        with path.open("rb") as file:
            reader = csv.DictReader(_text_lines(path, file))
            for column in (at, prompt, output):
                if column not in (reader.fieldnames or ()):
                    raise InvalidTrace(f"{path}:1: no column `{column}`")
            for row in _lines(path, reader):
                where = f"{path}:{reader.line_num}"
                at_s = _number(where, at, row[at], instant_s)
                if at_s < before_s:
                    raise InvalidTrace(f"{where}: `{at}`: earlier than the row before")
                before_s = at_s
                tokens = {
                    column: _number(where, column, row[column], float)
                    for column in (prompt, output)
                }
                yield (at_s, *_counts(where, tokens))

    return read


def _text_lines(path: Path, file: Iterable[bytes]) -> Iterator[str]:
    """Lines as text, without the byte order mark that some editors put before the first."""
    for number, line in enumerate(file, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise InvalidTrace(f"{path}:{number}: not UTF-8 text") from error


def _lines(path: Path, reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise InvalidTrace(f"{path}:{reader.line_num + 1}: {error}") from error


def _date_s(text: str) -> float:
    """Seconds of a date and time with up to nine decimals, with or without a zone."""
    whole, dot, rest = text.partition(".")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    fraction, zone = rest[:digits], rest[digits:]
    at = datetime.datetime.fromisoformat(whole + zone)
    offset = at.utcoffset() or datetime.timedelta()
    seconds = (at.replace(tzinfo=None) - offset - _EPOCH).total_seconds()
    return seconds + (float(f"0.{fraction}") if dot and fraction else 0.0)


def _number(where: str, column: str, text: str | None, parse: Callable[[str], float]) -> float:
    try:
        value = parse(text or "")
    except (ValueError, OverflowError) as error:
        raise InvalidTrace(f"{where}: `{column}`: {error}") from error
    if not np.isfinite(value):
        raise InvalidTrace(f"{where}: `{column}`: not finite")
    return value


def _counts(where: str, tokens: Mapping[str, float]) -> tuple[int, int]:
    """Prompt and output tokens by their columns; only a request without an answer may be empty."""
    (prompt, num_prompt), (output, num_output) = tokens.items()
    for column, value, least in ((output, num_output, 0), (prompt, num_prompt, num_output > 0)):
        if value != int(value) or not least <= value <= _MAX_TOKENS:
            raise InvalidTrace(f"{where}: `{column}`: {value:g} is no count of tokens")
    return int(num_prompt), int(num_output)


class _MooncakeLine(msgspec.Struct):
    timestamp: float
    input_length: int
    output_length: int


def _read_mooncake(path: Path) -> Iterator[_Row]:
    decoder = msgspec.json.Decoder(_MooncakeLine)
    before_ms = -np.inf
    with path.open("rb") as file:
        for number, line in enumerate(_text_lines(path, file), 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                row = decoder.decode(line)
            except msgspec.DecodeError as error:
                what, _, place = str(error).partition(" - at `$.")
                column = f"`{place}: " if place else ""
                raise InvalidTrace(f"{where}: {column}{what}") from error
            if row.timestamp < before_ms:
                raise InvalidTrace(f"{where}: `timestamp`: earlier than the row before")
            before_ms = row.timestamp
            lengths = {"input_length": row.input_length, "output_length": row.output_length}
            yield (row.timestamp / 1e3, *_counts(where, lengths))


_READERS: dict[TraceFormat, Callable[[Path], Iterator[_Row]]] = {
    TraceFormat.AZURE: _csv_reader("TIMESTAMP", "ContextTokens", "GeneratedTokens", _date_s),
    TraceFormat.BURST_GPT: _csv_reader("Timestamp", "Request tokens", "Response tokens", float),
    TraceFormat.MOONCAKE: _read_mooncake,
}
