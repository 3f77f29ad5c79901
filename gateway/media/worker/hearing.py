"""From a caller's decoded sound to what the conversation gets of it, window by window."""

from __future__ import annotations

from collections import deque
from typing import Final

from gateway.core.voice_line import HEARD_HZ, WINDOW_S, CallerSound

WINDOW_BYTES: Final = 2 * round(HEARD_HZ * WINDOW_S)
MAX_BACKLOG_BYTES: Final = 60 * 2 * HEARD_HZ
"""A minute, from a client that sends faster than sound flows. Beyond it the oldest is dropped."""

_OPENS_AT = 0.15
"""Noise, hum and music stayed below 0.06 with this network, speech that counts is above 0.5."""
_STAYS_OPEN_S = 2.5
"""After the last window that would open it: longer than turn-taking waits for a sentence's end."""
_NUM_PRE_ROLL = round(0.3 / WINDOW_S) + 1


class Hearing:
    """One line's sound. `add` it, take each `window`, have it `judged`, hand on what is `heard`."""

    def __init__(self) -> None:
        self.num_dropped_bytes = 0
        self._pcm = bytearray()
        self._gate = _SoundGate()
        self._speech: list[float] = []
        self._sound = bytearray()
        self._num_windows = 0
        self._arrived_s = 0.0

    @property
    def has_window(self) -> bool:
        """Whether there is a whole window."""
        return len(self._pcm) >= WINDOW_BYTES

    def add(self, pcm: bytes, arrived_s: float) -> None:
        """The next sound, int16 mono at `HEARD_HZ`."""
        self._pcm += pcm
        self._arrived_s = arrived_s
        excess = len(self._pcm) - MAX_BACKLOG_BYTES
        if excess > 0:
            del self._pcm[: excess + excess % 2]
            self.num_dropped_bytes += excess

    def window(self) -> bytes:
        """The next window; only where there is one."""
        window = bytes(self._pcm[:WINDOW_BYTES])
        del self._pcm[:WINDOW_BYTES]
        return window

    def judged(self, window: bytes, probability: float) -> None:
        """How likely somebody speaks in the window taken last."""
        self._speech.append(probability)
        self._sound += self._gate.pass_on(window, probability)

    def heard(self) -> CallerSound | None:
        """What was judged since the last call."""
        if not self._speech:
            return None
        start_s = self._num_windows * WINDOW_S
        self._num_windows += len(self._speech)
        sound = CallerSound(start_s, tuple(self._speech), bytes(self._sound), self._arrived_s)
        self._speech.clear()
        self._sound.clear()
        return sound


class _SoundGate:
    """Keeps sound back while nobody speaks, and the last 0.3 s of it for when somebody does."""

    def __init__(self) -> None:
        self._pre_roll: deque[bytes] = deque(maxlen=_NUM_PRE_ROLL)
        self._open_windows = 0

    def pass_on(self, window: bytes, probability: float) -> bytes:
        """The sound that goes on now: none, the window, or what led up to it as well."""
        was_open = self._open_windows > 0
        if probability >= _OPENS_AT:
            self._open_windows = round(_STAYS_OPEN_S / WINDOW_S)
        elif was_open:
            self._open_windows -= 1
        if not self._open_windows:
            self._pre_roll.append(window)
            return b""
        if was_open:
            return window
        led_up = b"".join(self._pre_roll)
        self._pre_roll.clear()
        return led_up + window
