"""How a site ends: told while it starts, and told twice while a turn runs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import openai

from loadtests.local_site import ROOT, running_site, wait_until

if TYPE_CHECKING:
    from pathlib import Path

_DRAIN_LIMIT_S = 30.0

_TERMINATED_WHILE_IT_LOADS = """\
import os, runpy, signal, sys

class Terminator:
    def find_spec(self, name, path=None, target=None):
        if name == "gateway.cli.up":
            os.kill(os.getpid(), signal.SIGTERM)

sys.meta_path.insert(0, Terminator())
sys.argv = ["firsthop", "up"]
runpy.run_module("gateway", run_name="__main__")
"""


def test_a_site_told_to_end_before_it_has_started_ends_in_order(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TERMINATED_WHILE_IT_LOADS],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_second_interrupt_does_not_wait_for_turns(echo_bundle: Path, tmp_path: Path) -> None:
    with (
        running_site(tmp_path, "--model", str(echo_bundle)) as site,
        openai.OpenAI(base_url=f"{site.http}/v1", api_key="none", max_retries=0) as client,
    ):
        stream = client.chat.completions.create(
            model="default",
            messages=[{"role": "user", "content": "for ever..."}],
            stream=True,
            max_tokens=1_900,
        )
        next(iter(stream))
        site.process.send_signal(signal.SIGINT)
        told = "draining 1 turns; Ctrl-C again to cut them off"
        wait_until(lambda: told in site.log.read_text(), "the site says what it waits for")
        began_s = time.monotonic()
        assert site.end(signal.SIGINT) == 0
        assert time.monotonic() - began_s < _DRAIN_LIMIT_S / 2
