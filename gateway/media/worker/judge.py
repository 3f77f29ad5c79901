"""Voice activity of all lines of the worker, as few and large batches as the wait allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from gateway.media.worker.hearing import WINDOW_BYTES
from gateway.speech.voice_activity import WINDOW_SAMPLES, VoiceActivity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.media.worker.hearing import Hearing

MAX_NUM_ROUNDS: Final = 8
"""Windows of one line that are judged at once; a client that sends an hour takes its time."""

_SILENCE = bytes(WINDOW_BYTES)
_NUM_FORGOTTEN = 8
"""After so many windows of silence the next word begins afresh."""


class Listener:
    """One line's place with the judge."""

    __slots__ = ("hearing", "num_silent", "row")

    def __init__(self, hearing: Hearing, row: int) -> None:
        self.hearing = hearing
        self.row = row
        self.num_silent = 0


class Judge:
    """Gives each window its probability of speech. What is digital silence needs no network."""

    def __init__(self, *, max_num_lines: int) -> None:
        self._network = VoiceActivity(max_num_calls=max_num_lines)

    def enter(self, hearing: Hearing) -> Listener:
        """A new line. Raises IndexError beyond `max_num_lines`."""
        return Listener(hearing, self._network.open())

    def leave(self, listener: Listener) -> None:
        """The line has ended."""
        self._network.close(listener.row)

    def judge(self, listeners: Sequence[Listener]) -> None:
        """Judge the windows that are there, of each line up to `MAX_NUM_ROUNDS`."""
        for _ in range(MAX_NUM_ROUNDS):
            listeners = [one for one in listeners if one.hearing.has_window]
            if not listeners:
                return
            self._round(listeners)

    def _round(self, listeners: Sequence[Listener]) -> None:
        sounding: list[tuple[Listener, bytes]] = []
        for one in listeners:
            window = one.hearing.window()
            if window == _SILENCE:
                one.num_silent += 1
                one.hearing.judged(window, 0.0)
                continue
            if one.num_silent >= _NUM_FORGOTTEN:
                self._network.forget(one.row)
            one.num_silent = 0
            sounding.append((one, window))
        if not sounding:
            return
        pcm = np.frombuffer(b"".join(window for _, window in sounding), "<i2")
        windows = pcm.reshape(-1, WINDOW_SAMPLES).astype(np.float32) / np.float32(32_768)
        speech = self._network.judge(windows, [one.row for one, _ in sounding])
        for (one, window), probability in zip(sounding, speech.tolist(), strict=True):
            one.hearing.judged(window, probability)
