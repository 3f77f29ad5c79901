"""A process that is told what to do in lines, and answers in lines."""

from __future__ import annotations

import os
import select
import subprocess
import time
from typing import IO, TYPE_CHECKING, Self

from loadtests.local_site import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

_END_LIMIT_S = 30.0


class ChildFailed(Exception):
    """A child process ended before its work did, or fell silent; what it printed says why."""


class Child:
    """A child process while the context lasts; leaving ends it, killing it if need be."""

    def __init__(self, what: str, command: Sequence[str]) -> None:
        """`what` it is, in the words of a complaint."""
        self._what = what
        self._heard = b""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            bufsize=0,
            start_new_session=True,  # a terminal's Ctrl-C is for the run, which tells its children
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After a failure nothing is worth waiting for.
        if kind is not None:
            self._process.kill()
        _pipe(self._process.stdin).close()
        try:
            self._process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            _pipe(self._process.stdout).close()

    def give_up(self) -> None:
        """Kill it: what it would have said is not wanted any more."""
        self._process.kill()

    def tell(self, line: str) -> None:
        """Raises ChildFailed when it has ended."""
        try:
            _pipe(self._process.stdin).write(f"{line}\n".encode())
        except BrokenPipeError as error:
            raise self._ended() from error

    def has_spoken(self, wait_s: float) -> bool:
        """Whether there is something to hear, or the end, within so long."""
        out = _pipe(self._process.stdout).fileno()
        return bool(self._heard) or bool(select.select([out], [], [], wait_s)[0])

    def hear(self, limit_s: float) -> str:
        """Its next line. Raises ChildFailed when it ends, or says nothing for so long."""
        out = _pipe(self._process.stdout).fileno()
        until_s = time.monotonic() + limit_s
        while b"\n" not in self._heard:
            if not select.select([out], [], [], max(0.0, until_s - time.monotonic()))[0]:
                raise ChildFailed(f"{self._what} said nothing for {limit_s:g} s")
            piece = os.read(out, 1 << 16)
            if not piece:
                raise self._ended()
            self._heard += piece
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    def expect(self, word: str, limit_s: float) -> str:
        """Hear a line that begins with `word`; the rest of it. Raises ChildFailed."""
        first, _, rest = self.hear(limit_s).partition(" ")
        if first != word:
            raise ChildFailed(f"{self._what} said {first!r} and not {word!r}")
        return rest

    def _ended(self) -> ChildFailed:
        return ChildFailed(f"{self._what} ended before its work did; what it printed says why")


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the process was started without pipes")
    return pipe
