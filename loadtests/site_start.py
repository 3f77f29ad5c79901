"""How long a site takes to be ready, and how much memory it holds.

python -m loadtests.site_start           the site itself
python -m loadtests.site_start --make    also `make run` from a fresh clone of this commit,
                                         with whatever package cache pip has
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loadtests.command_line import parser_for
from loadtests.facts import percentile, save
from loadtests.local_site import ROOT, free_port_base, running_site, wait_until
from loadtests.sse_client import SseConnection

if TYPE_CHECKING:
    from loadtests.local_site import SiteProcess

NUM_STARTS = 7
NUM_TURNS = 40
NUM_AT_ONCE = 4
SAID = "what is my bill"


def wait_for_voice(site: SiteProcess) -> None:
    """Until sessions may be spoken, for which whoever asks for one's key is made to wait."""
    url = f"{site.http}/v1/realtime/client_secrets"
    body = json.dumps({"session": {"output_modalities": ["audio"]}}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
        answer.read()


async def use(port: int) -> None:
    """Some turns, several at once, so that memory is what it is in use."""

    async def turns() -> None:
        connection = await SseConnection.open("127.0.0.1", port)
        for _ in range(NUM_TURNS // NUM_AT_ONCE):
            body = {"stream": True, "messages": [{"role": "user", "content": SAID}]}
            await connection.chat(body, {"x-firsthop-tools": "server"})
        connection.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(NUM_AT_ONCE):
            group.create_task(turns())


def site_itself() -> dict[str, Any]:
    """Seconds from exec to the ready line and until it speaks, and PSS when idle and after use."""
    starts_s, voices_s, idle_mb, used_mb = [], [], 0.0, 0.0
    for _ in range(NUM_STARTS):
        with tempfile.TemporaryDirectory() as folder:
            began_s = time.monotonic()
            with running_site(Path(folder)) as site:
                starts_s.append(time.monotonic() - began_s)
                wait_for_voice(site)
                voices_s.append(time.monotonic() - began_s)
                idle_mb = max(idle_mb, site.pss_bytes() / 1e6)
                asyncio.run(use(site.port_base))
                used_mb = max(used_mb, site.pss_bytes() / 1e6)
    median_s = percentile(starts_s, 0.5)
    return {
        "start_to_ready_s": {
            "median": round(median_s, 3),
            "all": [round(s, 3) for s in starts_s],
            "target": 3.0,
            "met": median_s <= 3.0,
        },
        "start_to_voice_s": {
            "median": round(percentile(voices_s, 0.5), 3),
            "all": [round(s, 3) for s in voices_s],
        },
        "summed_pss_mb": {
            "idle": round(idle_mb, 1),
            "after_turns": round(used_mb, 1),
            "num_turns": NUM_TURNS,
            "target": 400.0,
            "met": used_mb <= 400.0,
        },
    }


def make_run() -> dict[str, Any]:
    """Seconds from `make run` to the ready line in a fresh clone, first and second time."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        cold_s = _make_run_once(clone)
        warm_s = _make_run_once(clone)
    return {
        "make_run_cold_s": {"value": round(cold_s, 2), "target": 60.0, "met": cold_s <= 60.0},
        "make_run_second_s": {"value": round(warm_s, 2), "target": 5.0, "met": warm_s <= 5.0},
    }


def _make_run_once(clone: Path) -> float:
    log = clone.parent / "make.log"
    began_s = time.monotonic()
    with log.open("wb") as output:
        make = subprocess.Popen(
            ["make", "run", f"ARGS=--port-base {free_port_base()}"],
            cwd=clone,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_until(lambda: "ready." in log.read_text() or make.poll() is not None, "ready", 300.0)
        taken_s = time.monotonic() - began_s
        if make.poll() is not None:
            raise SystemExit(f"make run ended: {log.read_text()}")
        return taken_s
    finally:
        os.killpg(make.pid, signal.SIGINT)
        make.wait(30)


def main() -> None:
    """Run it and save the result."""
    parser = parser_for("site_start", __doc__)
    parser.add_argument("--make", action="store_true", help="also time `make run`")
    args = parser.parse_args()
    body = site_itself()
    if args.make:
        body |= make_run()
    save("site_start", None, body)


if __name__ == "__main__":
    main()
