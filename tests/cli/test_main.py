from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gateway import __version__
from gateway.cli.main import COMMANDS, _parser, main
from gateway.core.errors import SetupError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n    {command.name} " in out for command in COMMANDS)


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_has_help_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: firsthop {command}")
    assert "examples:" in out.lower()
    assert f"firsthop {command}" in out.partition("xamples:")[2]


@pytest.mark.parametrize(
    "action",
    [
        "key create",
        "key list",
        "key revoke",
        "config check",
        "config show",
        "config reference",
        "model inspect",
    ],
)
def test_every_action_has_help_with_examples_that_can_be_typed(
    action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*action.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"usage: firsthop {action}")
    examples = out.partition("\nexamples:\n")[2].splitlines()
    assert examples
    for example in examples:
        words = shlex.split(example.partition("firsthop ")[2].partition(" > ")[0])
        assert _parser(words).parse_args(words).run


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"firsthop {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nope"],
        ["key"],
        ["key", "create"],
        ["up", "--port-base", "x"],
        ["up", "--port-base", "65533"],
        ["up", "--accelerator", "gpu"],
        ["up", "--accelerator", "emulated:nope"],
    ],
)
def test_wrong_usage_is_one_line_and_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("firsthop")
    assert captured.err.count("\n") == 1
    assert "--help`" in captured.err


def test_help_loads_no_command() -> None:
    program = (
        "import sys; from gateway.cli.main import main; main(['--help']); "
        "print(sorted(m for m in sys.modules if m.startswith('gateway.')), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = "['gateway.cli', 'gateway.cli.main', 'gateway.core', 'gateway.core.errors']"
    assert done.stderr.strip() == loaded


def _raise(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `firsthop config reference` fail."""

    def failing(args: argparse.Namespace) -> int:
        raise error

    monkeypatch.setattr(importlib.import_module("gateway.cli.config"), "run_reference", failing)


def test_a_setup_error_is_one_line_and_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raise(SetupError("the cause; the mend"), monkeypatch)
    assert main(["config", "reference"]) == 1
    assert capsys.readouterr().err == "firsthop: the cause; the mend\n"


def test_ctrl_c_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _raise(KeyboardInterrupt(), monkeypatch)
    assert main(["config", "reference"]) == 1
    assert capsys.readouterr() == ("", "")


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    _raise(RuntimeError("a bug"), monkeypatch)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["config", "reference"])


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "config", "reference"],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
