"""One file of kept records: frames that are only ever appended, and an index beside it.

A frame is the length and the CRC-32 of its payload (little endian, 4 bytes each) and the payload.
What a crash has torn is at the end and fails its checksum; whoever reads stops there. The index
lists a hash and a frame's offset for each key; it is written when the segment is full, can be made
again from the segment, and is only believed if it was made for a segment of that length.
"""

from __future__ import annotations

import os
import struct
import sys
import zlib
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_FRAME: Final = struct.Struct("<II")
_INDEX_HEAD: Final = struct.Struct("<8sQQQ")
_MAGIC: Final = b"fhindex\x01"
MAX_PAYLOAD_BYTES: Final = 1 << 20
"""Longer lengths are taken for damage."""
INDEX_SUFFIX: Final = ".index"


def frames(segment: bytes) -> Iterator[tuple[int, memoryview]]:
    """The whole frames of a segment's bytes: offset and payload, up to where it is torn."""
    view, offset = memoryview(segment), 0
    while offset + _FRAME.size <= len(view):
        length, checksum = _FRAME.unpack_from(view, offset)
        payload = view[offset + _FRAME.size : offset + _FRAME.size + length]
        if length > MAX_PAYLOAD_BYTES or len(payload) < length or zlib.crc32(payload) != checksum:
            return
        yield offset, payload
        offset += _FRAME.size + length


def frames_at(path: Path, offsets: Iterable[int]) -> Iterator[bytes]:
    """The payloads at these offsets; what cannot be read or is torn is left out."""
    try:
        with path.open("rb") as file:
            for offset in offsets:
                file.seek(offset)
                head = file.read(_FRAME.size)
                if len(head) < _FRAME.size:
                    continue
                length, checksum = _FRAME.unpack(head)
                payload = file.read(min(length, MAX_PAYLOAD_BYTES))
                if zlib.crc32(payload) == checksum:
                    yield payload
    except OSError:
        return  # it was removed meanwhile, because it was the oldest


class SegmentWriter:
    """Appends to a new file. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.num_bytes = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def append(self, payloads: Iterable[bytes]) -> list[int]:
        """Write frames and return their offsets. On OSError none of them was written."""
        offsets: list[int] = []
        parts: list[bytes] = []
        at = self.num_bytes
        for payload in payloads:
            offsets.append(at)
            parts += (_FRAME.pack(len(payload), zlib.crc32(payload)), payload)
            at += _FRAME.size + len(payload)
        block = b"".join(parts)
        try:
            if os.write(self._file, block) < len(block):
                raise OSError("the disk took a part only")
        except OSError:
            os.ftruncate(self._file, self.num_bytes)
            raise
        self.num_bytes = at
        return offsets

    def close(self) -> None:
        """End writing."""
        os.close(self._file)


class SegmentIndex:
    """Where a segment's records lie, by key, and which time they are from.

    Keys are told apart by 32 bits: a lookup may bring strangers, which the record itself shows.
    """

    def __init__(self) -> None:
        self.first_ns, self.last_ns = sys.maxsize, 0
        self._entries = array("Q")
        """Hash of a key in the upper half, offset of the frame in the lower; sorted once sealed."""
        self._is_sorted = False

    def add(self, keys: Iterable[str], at_ns: int, offset: int) -> None:
        """A record of that instant (ns since 1970) lies there."""
        self.first_ns, self.last_ns = min(self.first_ns, at_ns), max(self.last_ns, at_ns)
        self._entries.extend(_hash(key) << 32 | offset for key in keys)

    def offsets(self, key: str) -> list[int]:
        """Frames that may have this key, the newest last."""
        low = _hash(key) << 32
        if not self._is_sorted:
            return [one - low for one in self._entries if 0 <= one - low < 1 << 32]
        begin = bisect_left(self._entries, low)
        end = bisect_left(self._entries, low + (1 << 32), begin)
        return [one - low for one in self._entries[begin:end]]

    def save(self, segment: Path, num_bytes: int) -> None:
        """Write it beside its segment. Raises OSError."""
        self._entries = array("Q", sorted(self._entries))
        self._is_sorted = True
        head = _INDEX_HEAD.pack(_MAGIC, self.first_ns, self.last_ns, num_bytes)
        unfinished = segment.with_suffix(".unfinished")
        unfinished.write_bytes(head + self._entries.tobytes())
        unfinished.replace(segment.with_suffix(INDEX_SUFFIX))

    @classmethod
    def load(cls, segment: Path, *, with_entries: bool = True) -> SegmentIndex | None:
        """The index beside a segment; None when there is none that belongs to it."""
        index = cls()
        try:
            num_bytes = segment.stat().st_size
            with segment.with_suffix(INDEX_SUFFIX).open("rb") as file:
                head = file.read(_INDEX_HEAD.size)
                entries = file.read() if with_entries else b""
        except OSError:
            return None
        if len(head) < _INDEX_HEAD.size or len(entries) % 8:
            return None
        magic, index.first_ns, index.last_ns, indexed_bytes = _INDEX_HEAD.unpack(head)
        if magic != _MAGIC or indexed_bytes != num_bytes:
            return None
        index._entries.frombytes(entries)
        index._is_sorted = True
        return index


def _hash(key: str) -> int:
    return zlib.crc32(key.encode("utf-8", "surrogatepass"))
