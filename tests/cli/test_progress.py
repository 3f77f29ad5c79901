from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

from gateway.cli.progress import progress

if TYPE_CHECKING:
    import pytest


class Terminal(io.StringIO):
    def __init__(self) -> None:
        super().__init__()
        self.shown = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.shown.set()
        return super().write(text)


def test_long_work_is_named_on_a_terminal_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with progress("trying the model"):
        assert terminal.shown.wait(10)
    assert "trying the model … 0 s" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_file_gets_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("trying the model"):
        pass
    assert capsys.readouterr() == ("", "")
