"""Rules that hold over the whole tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gateway.app  # brings every module of the site, so every error class
import gateway.core.call_errors  # those of voice workers, a process of their own
import gateway.core.speech_errors  # noqa: F401 - and of speech, likewise
from gateway.core.errors import GatewayError, SetupError
from gateway.wire.status import STATUS_OF_CODE

ROOT = Path(__file__).parents[1]
MAX_LINES = 450
GENERATED = ROOT / "gateway" / "wire" / "pb"


def python_files(*rooms: str) -> list[Path]:
    return [
        path
        for room in rooms
        for path in sorted((ROOT / room).rglob("*.py"))
        if GENERATED not in path.parents and "node_modules" not in path.parts
    ]


def test_a_file_has_one_subject() -> None:
    long = {
        str(path.relative_to(ROOT)): num_lines
        for path in python_files("gateway", "models", "loadtests", "protos", "tests")
        if (num_lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert not long


def error_classes(of: type[GatewayError] = GatewayError) -> set[type[GatewayError]]:
    return {of}.union(*(error_classes(kind) for kind in of.__subclasses__()))


def test_every_error_that_reaches_a_client_has_its_status() -> None:
    served = {kind.code for kind in error_classes() if not issubclass(kind, SetupError)}
    assert served <= STATUS_OF_CODE.keys()


def test_every_status_belongs_to_an_error() -> None:
    assert STATUS_OF_CODE.keys() <= {kind.code for kind in error_classes()}


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_room_for_leftovers() -> None:
    names = {"utils", "helpers", "manager", "base", "common"}
    found = [
        path
        for path in python_files("gateway", "models", "loadtests")
        if names & {path.stem, *path.relative_to(ROOT).parts[:-1]}
    ]
    assert not found


@pytest.mark.parametrize("room", ["gateway", "models", "loadtests", "protos"])
def test_every_module_says_what_it_is(room: str) -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in python_files(room)
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not silent


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_lock_files_are_pinned_and_name_no_index(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    statements = [
        statement
        for statement in re.split(r"(?<!\\)\n", text)
        if statement and not statement.startswith("#")
    ]
    assert len(statements) > 20
    for statement in statements:
        assert re.match(r"[a-z0-9._-]+==\S+", statement), statement
        assert "--hash=sha256:" in statement, statement


def test_the_lock_for_development_contains_the_one_for_running() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / name).read_text(encoding="utf-8")
        return set(re.findall(r"^(\S+==\S+)", text, re.MULTILINE))

    assert pins("requirements.lock") < pins("requirements-dev.lock")
