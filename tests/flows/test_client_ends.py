"""However a run ends, no process of it stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loadtests.child import ChildFailed
from loadtests.clients.plan import Ask, Plan
from loadtests.clients.run import run_clients
from loadtests.local_site import ROOT, wait_until
from tests.flows.test_open_loop import stalling_server

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.flow

_INTERRUPTIBLE = """\
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
"""
_CLIENTS = """\
import sys
from pathlib import Path
from loadtests.clients.plan import Ask, Plan
from loadtests.clients.run import run_clients
asks = tuple(Ask(1.0 * n, "hello") for n in range(1000))
run_clients([Plan("http", (sys.argv[1],), asks)] * 2, Path(sys.argv[2]))
"""
_SITE = """\
import sys, time
from pathlib import Path
from loadtests.local_site import running_site
with running_site(Path(sys.argv[2]), "--model", sys.argv[1]):
    time.sleep(1000)
"""


def start(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTIBLE + script, *arguments],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )


def children(pid: int) -> list[int]:
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except FileNotFoundError:
        return []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def end(run: subprocess.Popen[bytes], how: signal.Signals) -> None:
    run.send_signal(how)
    run.wait(30)


def gone(pids: list[int]) -> Callable[[], bool]:
    return lambda: not any(map(is_running, pids))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_clients_end_with_the_run(tmp_path: Path, how: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        run = start(_CLIENTS, f"127.0.0.1:{server.getsockname()[1]}", str(tmp_path))
        try:
            wait_until(lambda: len(children(run.pid)) == 2, "both clients run")
            clients = children(run.pid)
            # Ready clients have connected; before that they could not have been told to end.
            for _ in clients:
                server.accept()[0].close()
        finally:
            end(run, how)
    wait_until(gone(clients), "the clients have ended")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_site_and_its_engine_end_with_the_run(
    tmp_path: Path, echo_bundle: Path, how: signal.Signals
) -> None:
    run = start(_SITE, str(echo_bundle), str(tmp_path / "site"))
    log = tmp_path / "site" / "site.log"
    try:
        wait_until(lambda: log.exists() and "is ready" in log.read_text(), "the site is ready", 120)
        (site,) = children(run.pid)
        engines = children(site)
        assert engines
    finally:
        end(run, how)
    wait_until(gone([site, *engines]), "the site and its engine have ended", 60)


def test_a_full_disk_is_named_and_leaves_no_client(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "samples-1.jsonl.zst"
    full.symlink_to("/dev/full")
    with stalling_server(stall_at_s=60.0) as (port, _), pytest.raises(ChildFailed):
        run_clients([Plan("http", (f"127.0.0.1:{port}",), (Ask(0.0, "hello"),))] * 2, tmp_path)
    assert capfd.readouterr().err == f"client: {full}: No space left on device\n"
    assert not any("loadtests.clients" in _command(pid) for pid in children(os.getpid()))


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return ""
