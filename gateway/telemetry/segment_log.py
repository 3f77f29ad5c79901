"""A log of records on disk: bounded in bytes and age, searched by key and time.

A thread of its own encodes and writes, a few times a second. Nothing about the disk reaches whoever
appends: what cannot be written is counted and let go, and tried again later with new records.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

import msgspec

from gateway.telemetry.segment_file import (
    INDEX_SUFFIX,
    SegmentIndex,
    SegmentWriter,
    frames,
    frames_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_logger = logging.getLogger(__name__)

_WRITE_EVERY_S: Final = 0.25
_MAX_NUM_WAITING: Final = 16_384
_RETRY_AFTER_S: Final = 5.0
SUFFIX: Final = ".segment"
_T = TypeVar("_T")


class LogBounds(NamedTuple):
    """What a log may take."""

    max_bytes: int
    kept_s: float
    max_segment_bytes: int = 8 << 20
    max_segment_s: float = 3600.0


class _Segment(NamedTuple):
    """A segment that is written no more."""

    path: Path
    first_ns: int
    last_ns: int
    num_bytes: int
    """With its index."""


class SegmentLog(Generic[_T]):
    """Records of one kind in a directory of their own. Safe for several threads.

    `at_ns` says which instant a record belongs to (ns since 1970), `keys` what it is found by.
    """

    def __init__(
        self,
        directory: Path,
        kind: type[_T],
        *,
        at_ns: Callable[[_T], int],
        keys: Callable[[_T], Iterable[str]] = lambda _: (),
        bounds: LogBounds,
        wall_ns: Callable[[], int] = time.time_ns,
        write_every_s: float = _WRITE_EVERY_S,
    ) -> None:
        self._directory = directory
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._encoder = msgspec.msgpack.Encoder()
        self._at_ns = at_ns
        self._keys = keys
        self._bounds = bounds
        self._wall_ns = wall_ns
        self._write_every_s = write_every_s
        self._waiting: deque[_T] = deque()
        self._lock = threading.Lock()
        self._sealed: list[_Segment] = []
        self._open: SegmentWriter | None = None
        self._open_index = SegmentIndex()
        self._opened_ns = 0
        self._number = 0
        """Of the newest segment; they are named by it."""
        self._lock_file = -1
        self._retry_at_ns = 0
        self._is_failing = False
        self.num_dropped = 0
        """Records that were not written."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="segment-log", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it was not closed."""
        return self._thread.is_alive()

    def append(self, record: _T) -> None:
        """Have it written soon; never waits, never raises."""
        if len(self._waiting) >= _MAX_NUM_WAITING:
            self.num_dropped += 1
        else:
            self._waiting.append(record)

    def close(self) -> None:
        """Write what waits, and end."""
        self._ended.set()
        self._thread.join()

    def search(
        self,
        *,
        key: str | None = None,
        since_ns: int = 0,
        until_ns: int = 1 << 63,
        takes: Callable[[_T], bool] = lambda _: True,
        limit: int,
    ) -> list[_T]:
        """The newest records of that key and time that `takes` takes, the newest first.

        What was appended before is found. Takes milliseconds and more: not for the event loop.
        """
        with self._lock:
            self._write_waiting()
            found = [
                record
                for payload in self._open_payloads(key)
                if (record := self._decode(payload)) is not None
                and since_ns <= self._at_ns(record) <= until_ns
                and takes(record)
            ]
            sealed = self._sealed[::-1]
        for segment in sealed:
            if len(found) >= limit:
                break
            if segment.last_ns < since_ns or segment.first_ns > until_ns:
                continue
            found += [
                record
                for payload in _payloads(segment.path, key)
                if (record := self._decode(payload)) is not None
                and since_ns <= self._at_ns(record) <= until_ns
                and takes(record)
            ]
        found.sort(key=self._at_ns, reverse=True)
        return found[:limit]

    def _open_payloads(self, key: str | None) -> Iterator[bytes | memoryview]:
        if self._open is None:
            return
        if key is None:
            yield from (payload for _, payload in frames(_bytes_of(self._open.path)))
        else:
            yield from frames_at(self._open.path, self._open_index.offsets(key))

    def _decode(self, payload: bytes | memoryview) -> _T | None:
        try:
            return self._decoder.decode(payload)
        except msgspec.DecodeError:
            return None  # of another version

    # The writer's thread.

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._ended.wait(self._write_every_s)
            with self._lock:
                self._write_waiting()
        with self._lock:
            try:
                self._seal()
            except OSError as error:
                self._fail(error)
            if self._lock_file >= 0:
                os.close(self._lock_file)

    def _write_waiting(self) -> None:
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if self._wall_ns() < self._retry_at_ns:
            self.num_dropped += len(batch)
            return
        try:
            if self._lock_file < 0:
                self._take_over()
            self._rotate()
            if batch:
                self._write(batch)
                self._is_failing = False
        except OSError as error:
            self.num_dropped += len(batch)
            self._fail(error)

    def _take_over(self) -> None:
        """Own the directory and know what is in it. Raises OSError."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock_file = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(lock_file)
            found = self._directory.glob(f"*{SUFFIX}")
            paths = sorted(path for path in found if path.stem.isdecimal())
            self._sealed = [self._adopted(path) for path in paths]
        except OSError:
            os.close(lock_file)
            raise
        self._lock_file = lock_file
        self._number = int(paths[-1].stem) if paths else 0

    def _adopted(self, path: Path) -> _Segment:
        """A segment of an earlier run, whose index may have to be made."""
        index = SegmentIndex.load(path, with_entries=False)
        if index is None:
            index = SegmentIndex()
            for offset, payload in frames(_bytes_of(path)):
                if (record := self._decode(payload)) is not None:
                    index.add(self._keys(record), self._at_ns(record), offset)
            index.save(path, path.stat().st_size)
        return _segment(path, index)

    def _write(self, batch: list[_T]) -> None:
        if self._open is None:
            self._opened_ns = self._wall_ns()
            path = self._directory / f"{self._number + 1:012}{SUFFIX}"
            self._open, self._open_index = SegmentWriter(path), SegmentIndex()
            self._number += 1
        offsets = self._open.append(map(self._encoder.encode, batch))
        for record, offset in zip(batch, offsets, strict=True):
            self._open_index.add(self._keys(record), self._at_ns(record), offset)

    def _rotate(self) -> None:
        """Begin a new segment when this one is full or old; drop what is over the bounds."""
        bounds, now_ns, opened = self._bounds, self._wall_ns(), self._open
        if opened is not None and (
            opened.num_bytes >= bounds.max_segment_bytes
            or now_ns - self._opened_ns > bounds.max_segment_s * 1e9
        ):
            self._seal()
        num_bytes = sum(one.num_bytes for one in self._sealed) + bounds.max_segment_bytes
        while self._sealed and (
            num_bytes > bounds.max_bytes or self._sealed[0].last_ns < now_ns - bounds.kept_s * 1e9
        ):
            oldest = self._sealed.pop(0)
            num_bytes -= oldest.num_bytes
            oldest.path.with_suffix(INDEX_SUFFIX).unlink(missing_ok=True)
            oldest.path.unlink(missing_ok=True)

    def _seal(self) -> None:
        """Write the open segment's index. Raises OSError; it is then made at the next start."""
        opened, self._open = self._open, None
        if opened is None:
            return
        opened.close()
        try:
            self._open_index.save(opened.path, opened.num_bytes)
        finally:
            self._sealed.append(_segment(opened.path, self._open_index))

    def _fail(self, error: OSError) -> None:
        """Say so once in an outage."""
        if not self._is_failing:
            _logger.warning("records are not kept in %s: %s", self._directory, error)
        self._is_failing = True
        self._retry_at_ns = self._wall_ns() + round(_RETRY_AFTER_S * 1e9)


def _lock(file: int) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OSError("another process keeps its records there") from None


def _segment(path: Path, index: SegmentIndex) -> _Segment:
    num_bytes = path.stat().st_size
    if (beside := path.with_suffix(INDEX_SUFFIX)).exists():
        num_bytes += beside.stat().st_size
    return _Segment(path, index.first_ns, index.last_ns, num_bytes)


def _payloads(path: Path, key: str | None) -> Iterator[bytes | memoryview]:
    """Of a sealed segment: those of the key, or all."""
    index = None if key is None else SegmentIndex.load(path)
    if index is None or key is None:
        yield from (payload for _, payload in frames(_bytes_of(path)))
    else:
        yield from frames_at(path, index.offsets(key))


def _bytes_of(path: Path) -> bytes:
    """A segment; nothing when it was removed meanwhile, because it was the oldest."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
