"""Files the process has from the start, and how many it may open."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gateway.runtime.descriptors import raise_descriptor_limit

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def hard() -> Iterator[int]:
    """The hard limit; the soft one is put back in the end."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_is_raised_as_far_as_is_of_use(hard: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    num_files = raise_descriptor_limit()
    assert num_files == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (num_files, hard)


def test_a_limit_that_is_higher_already_stays(hard: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100_000, 200_000))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    assert raise_descriptor_limit() == 100_000


_VERSION = """\
import os, runpy, socket, sys

sys.argv = ["firsthop", "--version"]
try:
    runpy.run_module("gateway", run_name="__main__")
except SystemExit as end:
    assert end.code == 0
assert socket.socket().fileno() > 2
assert all(os.get_inheritable(number) for number in range(3))
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_runs_without_its_standard_files(closed: str) -> None:
    command = f'exec "$0" -c "$1" {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable, _VERSION], check=False, timeout=90)
    assert done.returncode == 0
