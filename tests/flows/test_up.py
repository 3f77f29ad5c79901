"""`firsthop up` with several sites: as one command, and each for itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from loadtests.local_site import ROOT, firsthop, free_port_base, running_site, wait_until
from loadtests.orphan import ending_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.voice

READY = "sites are ready"


def grid_port_base(num_sites: int) -> int:
    """A base for so many sites."""
    while True:
        base = free_port_base()
        ports = [base + 10 * k + offset for k in range(num_sites) for offset in range(5)]
        if all(not in_use(port) for port in ports):
            return base


def in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running_up(
    cwd: Path, base: int, *arguments: str, **environment: str
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """`firsthop up`, ready; ended in order on the way out."""
    log = cwd / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ending_with_parent(
                [sys.executable, "-m", "gateway", "up", "--port-base", str(base), *arguments]
            ),
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(
            lambda: READY in log.read_text() or process.poll() is not None, "it is ready", 120.0
        )
        assert READY in log.read_text(), log.read_text()
        yield process, log
        if process.returncode != -signal.SIGKILL:  # which is how a test ends it otherwise
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(60)


def admin_json(base: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{base + 3}{path}", timeout=10) as answer:
        return json.load(answer)


def peer_states(base: int) -> dict[str, str]:
    return {one["site"]: one["state"] for one in admin_json(base, "/v1/grid")["peers"]}


def on_fabric(base: int) -> dict[str, bool]:
    peers = admin_json(base, "/v1/grid")["peers"]
    return {one["site"]: bool(one["fabric"] and one["fabric"]["there"]) for one in peers}


def test_a_grid_starts_mends_itself_and_ends_as_one(tmp_path: Path, echo_bundle: Path) -> None:
    base = grid_port_base(2)
    options = ("--sites", "2", "--model", str(echo_bundle))
    with running_up(tmp_path, base, *options) as (process, log):
        text = log.read_text()
        for port in (base, base + 10):
            assert f"http://127.0.0.1:{port}/v1" in text
        assert "core     none; FIRSTHOP_CORE_URL" in text
        wait_until(lambda: peer_states(base) == {"edge-b": "usable"}, "they are linked")
        wait_until(lambda: on_fabric(base) == {"edge-b": True}, "they are on the fabric")
        victim = site_pid(process.pid, base + 10)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: "Site edge-b was ended by SIGKILL" in log.read_text(), "it is said")
        answer = httpx.post(
            f"http://127.0.0.1:{base}/v1/chat/completions",
            json={"messages": [{"role": "user", "content": "still here?"}]},
            timeout=90,
        )
        assert answer.status_code == 200
        wait_until(lambda: "Site edge-b is ready again" in log.read_text(), "it is back")
        wait_until(lambda: peer_states(base) == {"edge-b": "usable"}, "they are linked again")
        wait_until(lambda: on_fabric(base) == {"edge-b": True}, "they are on the fabric again")
        assert site_pid(process.pid, base + 10) != victim
        assert httpx.post(f"http://127.0.0.1:{base + 13}/v1/drain").status_code == 202
        wait_until(lambda: "Site edge-b was told to end" in log.read_text(), "it has drained")
        assert peer_states(base) == {"edge-b": "unlinked"}
    assert not in_use(base)
    assert not in_use(base + 10)


def test_no_site_outlives_the_command_that_started_it(tmp_path: Path, echo_bundle: Path) -> None:
    base = grid_port_base(2)
    options = ("--sites", "2", "--model", str(echo_bundle))
    with running_up(tmp_path, base, *options) as (process, _):
        process.kill()
        process.wait(60)
        wait_until(lambda: not (in_use(base) or in_use(base + 10)), "both have ended")


def site_pid(parent: int, port_base: int) -> int:
    """The process of the site at those ports."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    for child in children:
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if str(port_base).encode() in words:
            return int(child)
    raise AssertionError(f"no child at {port_base}")


def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path, echo_bundle: Path) -> None:
    base = grid_port_base(3)
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", base + 22))
        holder.listen()
        options = ("--sites", "3", "--port-base", str(base), "--model", str(echo_bundle))
        refused = firsthop("up", *options, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("\n") == 1
    assert f"127.0.0.1:{base + 22} is in use" in refused.stderr


def test_a_core_site_stands_before_the_core_model(tmp_path: Path, echo_bundle: Path) -> None:
    base = grid_port_base(2)
    with running_site(
        tmp_path / "large", "--model", str(echo_bundle), FIRSTHOP_MODEL_ALIASES="large"
    ) as large:
        core = {"FIRSTHOP_CORE_URL": f"{large.http}/v1", "FIRSTHOP_CORE_MODEL": "large"}
        options = ("--sites", "1", "--model", str(echo_bundle))
        with running_up(tmp_path, base, *options, **core):
            answer = httpx.post(
                f"http://127.0.0.1:{base}/v1/chat/completions",
                json={"model": "large", "messages": [{"role": "user", "content": "hard"}]},
                timeout=90,
            )
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-firsthop-path"].split(",")[:2] == ["edge-a", "core"]


def test_a_core_site_runs_a_model_of_its_own(tmp_path: Path, echo_bundle: Path) -> None:
    large = tmp_path / "large"
    shutil.copytree(echo_bundle, large)
    manifest = large / "manifest.toml"
    manifest.write_text(manifest.read_text().replace('id = "tiny"', 'id = "large"'))
    base = grid_port_base(2)
    options = ("--sites", "1", "--model", str(echo_bundle), "--core-model", str(large))
    with running_up(tmp_path, base, *options) as (_, log):
        assert f"large at http://127.0.0.1:{base + 10}/v1" in log.read_text()
        answer = httpx.post(
            f"http://127.0.0.1:{base}/v1/chat/completions",
            json={"model": "large", "messages": [{"role": "user", "content": "hard"}]},
            timeout=90,
        )
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-firsthop-path"].split(",") == ["edge-a", "core"]
    assert answer.headers["x-firsthop-model"].startswith("large")


def test_a_core_model_here_and_one_elsewhere_are_not_both_taken(
    tmp_path: Path, echo_bundle: Path
) -> None:
    options = ("--sites", "1", "--core-model", str(echo_bundle), "--model", str(echo_bundle))
    core = {"FIRSTHOP_CORE_URL": "http://127.0.0.1:9/v1", "FIRSTHOP_CORE_MODEL": "large"}
    refused = firsthop("up", *options, cwd=tmp_path, **core)
    assert refused.returncode == 1
    assert "--core-model and FIRSTHOP_CORE_URL" in refused.stderr
