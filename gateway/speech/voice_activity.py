"""Whether somebody speaks: Silero VAD on ONNX Runtime, for all calls of a process in one batch.

Loaded by the process that has the calls' sound, on one thread. A call has a row, which holds what
the network remembers of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WINDOW_SAMPLES: Final = 512
"""One window: 32 ms at 16 kHz, the only length this network takes (`core.voice_line.WINDOW_S`)."""

MODEL_FILE: Final = Path(__file__).parent / "silero" / "silero_vad_16k_op15.onnx"
_CONTEXT_SAMPLES = 64
"""The network also sees the end of the window before (silero_vad/utils_vad.py, 6.2.3)."""
_HIDDEN = 128


class VoiceActivity:
    """The probability of speech in each call's windows, which must come in order."""

    def __init__(self, *, max_num_calls: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(MODEL_FILE), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._hidden = np.zeros((2, max_num_calls, _HIDDEN), np.float32)
        self._context = np.zeros((max_num_calls, _CONTEXT_SAMPLES), np.float32)
        self._free = list(range(max_num_calls))[::-1]
        self._rate = np.array(16_000, np.int64)

    def open(self) -> int:
        """A row for a new call. Raises IndexError when `max_num_calls` have one."""
        row = self._free.pop()
        self.forget(row)
        return row

    def close(self, row: int) -> None:
        """Give an ended call's row back, once."""
        self._free.append(row)

    def forget(self, row: int) -> None:
        """Start a call afresh, as after a break in its sound."""
        self._hidden[:, row] = 0
        self._context[row] = 0

    def judge(self, windows: NDArray[np.float32], rows: Sequence[int]) -> NDArray[np.float32]:
        """The probability of speech, [n], of the next window of n calls.

        `windows` [n, 512], -1 to 1, belong to `rows`, none of which stands there twice.
        """
        if not rows:
            return np.zeros(0, np.float32)
        at = np.asarray(rows)
        probabilities, hidden = self._session.run(
            None,
            {
                "input": np.concatenate((self._context[at], windows), axis=1),
                "state": self._hidden[:, at],
                "sr": self._rate,
            },
        )
        self._hidden[:, at] = hidden
        self._context[at] = windows[:, -_CONTEXT_SAMPLES:]
        return cast("NDArray[np.float32]", probabilities[:, 0])
