"""The last seconds of a caller's sound, so that a recogniser can be given it from before."""

from __future__ import annotations

from itertools import takewhile

from gateway.core.voice_line import HEARD_HZ

_BYTES_PER_S = 2 * HEARD_HZ
_KEPT_S = 1.0
"""More than the padding before speech and the time until speech is believed."""
_AUDIBLE = 328
"""-40 dB of full scale: less than the end of a word, more than a quiet room."""
_MAX_QUIET_S = 0.2
"""Voice activity sees speech end 0.05 to 0.1 s late."""


class RecentSound:
    """int16 samples at `HEARD_HZ` without a gap, up to the newest."""

    def __init__(self) -> None:
        self._pcm = bytearray()
        self._end_s = 0.0

    def add(self, pcm: bytes, end_s: float) -> bytes:
        """More sound, which ends at media time `end_s`; answers what of it is new.

        Sound that overlaps what is there is cut; before a gap everything is forgotten.
        """
        if not pcm:
            return b""
        start_s = end_s - len(pcm) / _BYTES_PER_S
        is_gap = start_s > self._end_s + 0.5 / HEARD_HZ
        known_bytes = 0 if is_gap else _bytes_of(self._end_s - start_s)
        new = pcm[known_bytes:]
        if is_gap:
            self._pcm.clear()
        self._pcm += new
        self._end_s = max(end_s, self._end_s)
        del self._pcm[: -_bytes_of(_KEPT_S)]
        return new

    def since(self, start_s: float) -> bytes:
        """The sound from a media time on, as far back as it is kept."""
        wanted_bytes = _bytes_of(self._end_s - start_s)
        return bytes(self._pcm[-wanted_bytes:]) if wanted_bytes else b""

    def quiet_before(self, end_s: float) -> float:
        """How long nothing could be heard up to a media time, in seconds.

        0 where that is so for 0.2 s: the caller then speaks too softly for this to tell.
        """
        end = len(self._pcm) - _bytes_of(self._end_s - end_s)
        pcm = bytes(self._pcm[max(0, end - _bytes_of(_MAX_QUIET_S)) : end])
        samples = memoryview(pcm).cast("h")
        num_quiet = sum(1 for _ in takewhile(_is_quiet, reversed(samples)))
        return num_quiet / HEARD_HZ if num_quiet < len(samples) else 0.0


def _is_quiet(sample: int) -> bool:
    return abs(sample) < _AUDIBLE


def _bytes_of(length_s: float) -> int:
    return 2 * max(0, round(length_s * HEARD_HZ))
