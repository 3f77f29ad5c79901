"""A site as an operator starts it: its own process, real ports, real signals."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loadtests.orphan import ending_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[1]
ONE_SITE = ("up", "--sites", "1", "--no-core")
"""What starts one site, whose peers, if any, the environment names."""
TEXT_ONLY: Final = {
    "FIRSTHOP_VOICE_WORKERS": "0",
    "FIRSTHOP_SPEECH_RECOGNISER": "none",
    "FIRSTHOP_SPEECH_VOICE": "none",
}
"""The environment of a site that neither hears nor speaks: it starts in half the time."""
_PORT_BASES = (20_000, 30_000)
"""Below the ports that the system gives to outgoing connections."""
_START_LIMIT_S = 120.0
_END_LIMIT_S = 60.0


class SiteFailed(Exception):
    """The site did not do what it must; the message has its log."""


@dataclass(slots=True)
class SiteProcess:
    """A running `firsthop up`."""

    process: subprocess.Popen[bytes]
    port_base: int
    log: Path

    @property
    def http(self) -> str:
        """Base URL of the public port."""
        return f"http://127.0.0.1:{self.port_base}"

    @property
    def grpc(self) -> str:
        """Target of the agent port."""
        return f"127.0.0.1:{self.port_base + 1}"

    @property
    def admin(self) -> str:
        """Base URL of the admin port."""
        return f"http://127.0.0.1:{self.port_base + 3}"

    def admin_json(self, path: str) -> Any:
        """A document of the admin port."""
        with urllib.request.urlopen(f"{self.admin}{path}", timeout=30) as answer:
            return json.load(answer)

    def metrics(self) -> str:
        """What the site counts, as Prometheus reads it."""
        with urllib.request.urlopen(f"{self.admin}/metrics", timeout=30) as answer:
            text: str = answer.read().decode()
            return text

    def set_capacity(self, ratio: float) -> Any:
        """The share of the time in which its engine may work, from now on."""
        request = urllib.request.Request(f"{self.admin}/v1/capacity?ratio={ratio}", method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def engine_pid(self) -> int:
        """The engine worker."""
        workers = [pid for pid in self.processes() if "gateway.engine.worker" in _command(pid)]
        if len(workers) != 1:
            raise SiteFailed(f"of the site: {[_command(pid) for pid in self.processes()]}")
        return workers[0]

    def processes(self) -> list[int]:
        """The site's own and those that it started."""
        return [self.process.pid, *children(self.process.pid)]

    def pss_bytes(self) -> int:
        """Proportional set size of all its processes together."""
        rows = [
            row
            for pid in self.processes()
            for row in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        ]
        return 1024 * sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))

    def cpu_s(self) -> float:
        """CPU seconds the site process (without its engine) has used, all threads together.

        From the scheduler's own clock: the ticks of /proc/PID/stat are too coarse for work that
        comes in pieces below a millisecond.
        """
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def wait_ready(self) -> None:
        """Until it serves. Raises SiteFailed, with what the site said."""

        def ready() -> bool:
            if self.process.poll() is not None:
                raise SiteFailed(f"the site ended: {self.log.read_text()}")
            return "is ready" in self.log.read_text()

        try:
            wait_until(ready, "the site is ready", _START_LIMIT_S)
        except SiteFailed as late:
            raise SiteFailed(f"{late}; it said: {self.log.read_text()}") from None

    def wait_idle(self) -> None:
        """Until no turn runs and the engine holds and queues nothing."""

        def idle() -> bool:
            state = self.admin_json("/v1/site")
            engine = state["engine"]
            return not (
                state["now"]["num_turns_active"] or engine["num_active"] or engine["num_queued"]
            )

        wait_until(idle, "the site is idle")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the site and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(_END_LIMIT_S)


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        started = [int(one) for at in tasks for one in (at / "children").read_text().split()]
    except FileNotFoundError:  # it has ended
        return []
    return [each for one in started for each in (one, *children(one))]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return ""


def wait_until(holds: Callable[[], bool], what: str, limit_s: float = 60.0) -> None:
    """Poll for a condition of another process; fail with `what` after the limit."""
    until_s = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > until_s:
            raise SiteFailed(f"not within {limit_s:g} s: {what}")
        time.sleep(0.01)


def free_port_base() -> int:
    """A base whose site ports are free now, and that no outgoing connection and no other process
    that asks here is given meanwhile."""
    while True:
        base = random.randrange(*_PORT_BASES, 4)
        if _claim(base) and all(_is_free(base + offset) for offset in range(4)):
            return base


def _claim(base: int) -> bool:
    """Whether this process is the first to ask for it; it is then its own until it ends."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0firsthop-port-base-{base}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # the system closes it with the process
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the site binds
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
    return True


def firsthop(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=_START_LIMIT_S,
        check=False,
    )


@contextmanager
def running_site(
    cwd: Path,
    *arguments: str,
    port_base: int | None = None,
    within: Callable[[list[str]], list[str]] = lambda command: command,
    **environment: str,
) -> Iterator[SiteProcess]:
    """One site, started as `starting_site` does, and ready."""
    with starting_site(cwd, *arguments, port_base=port_base, within=within, **environment) as site:
        site.wait_ready()
        yield site


@contextmanager
def starting_site(
    cwd: Path,
    *arguments: str,
    port_base: int | None = None,
    within: Callable[[list[str]], list[str]] = lambda command: command,
    **environment: str,
) -> Iterator[SiteProcess]:
    """One site with these arguments; ended, and its exit code checked, on the way out.

    It also ends when the thread that started it does.

    With `port_base`, `arguments` are a whole command that serves a site there. `within` may wrap
    the command, to start the site in a namespace.
    """
    cwd.mkdir(parents=True, exist_ok=True)
    base = port_base or free_port_base()
    command = arguments if port_base else (*ONE_SITE, "--port-base", str(base), *arguments)
    log = cwd / "site.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            ending_with_parent(within([sys.executable, "-m", "gateway", *command])),
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a terminal's Ctrl-C is for the run, which ends its sites
        )
    site = SiteProcess(process, base, log)
    try:
        yield site
        if process.poll() is None:
            status = site.end()
            if status != 0:
                raise SiteFailed(f"exit code {status}: {log.read_text()}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(_END_LIMIT_S)
