"""The console in Chromium, driven from Node by Playwright: tests/clients/node/console.mjs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.requirements import require

if TYPE_CHECKING:
    from collections.abc import Iterator

_NODE = Path(__file__).parents[1] / "clients" / "node"
_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_LIMIT_S = 150.0


def require_chromium() -> None:
    """Skip the test where there is none."""
    present = (
        _CHROMIUM and shutil.which("node") and (_NODE / "node_modules/playwright-core").is_dir()
    )
    require(
        "chromium", bool(present), "run `make setup-ci`: it brings Chromium, Node and Playwright"
    )


class Browsing:
    """A scenario under way."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def wait_ready(self) -> None:
        """Until the scenario waits for the test to do something."""
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def found(self) -> dict[str, Any]:
        """What it found in the end; the page did nothing meanwhile that it must not."""
        out, errors = self._process.communicate(timeout=_LIMIT_S)
        assert self._process.returncode == 0, errors
        told: dict[str, Any] = json.loads(out)
        assert (told.pop("faults"), told.pop("harmed")) == ([], None)
        return told


@contextmanager
def browsing(url: str, scenario: str, *arguments: str) -> Iterator[Browsing]:
    """Begin a scenario of the script."""
    command = ["node", str(_NODE / "console.mjs"), url, scenario, *arguments]
    environment = {**os.environ, "CHROMIUM": _CHROMIUM or ""}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Browsing(process)
        finally:
            process.terminate()


def look(url: str, scenario: str, *arguments: str) -> dict[str, Any]:
    """A whole scenario."""
    with browsing(url, scenario, *arguments) as begun:
        return begun.found()
