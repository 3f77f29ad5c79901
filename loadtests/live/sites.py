"""The sites of an arm: processes as an operator starts them, and what can be done to them."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.engine.step_profiles import PREFIX, profile_path
from loadtests.local_site import (
    ONE_SITE,
    TEXT_ONLY,
    SiteFailed,
    SiteProcess,
    running_site,
    wait_until,
)
from loadtests.sim.faults import CapacityCut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtests.links.network import EmulatedNetwork
    from loadtests.live.ground import Ground, Spot
    from loadtests.sim.scenario import Scenario

_FETCH = (
    "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=20).read().decode())"
)
_TIMES = re.compile(r"^(\s*(?:step_ms|chunk_ms)\s*=\s*)\[([^\]]*)\]", re.MULTILINE)
_SLOPES = re.compile(r"^(\s*(?:context_us_per_token|past_ns_per_pair)\s*=\s*)(\S+)", re.MULTILINE)
_LINK_LIMIT_S = 30.0
_END_LIMIT_S = 30.0


class LiveSite:
    """One site, which may end and start again; its methods are called from one thread at a time.

    A site's process ends with the thread that started it, so `start` is called in one that lasts.
    """

    def __init__(
        self, spot: Spot, network: EmulatedNetwork, folder: Path, environment: dict[str, str]
    ) -> None:
        self.spot = spot
        self.is_meant_to_run = False
        self._drains = False
        self._network = network
        self._folder = folder
        self._environment = environment
        self._profile = folder / Path(environment["FIRSTHOP_MODEL_ACCELERATOR"]).name
        self._shipped = self._profile.read_text()
        self._stack = ExitStack()
        self._site: SiteProcess | None = None

    def start(self) -> None:
        """Until it takes requests. Raises SiteFailed."""
        base = self.spot.port_base
        self._site = self._stack.enter_context(
            running_site(
                self._folder,
                *(*ONE_SITE, "--port-base", str(base)),
                port_base=base,
                within=lambda command: self._network.command(self.spot.place, command),
                **self._environment,
            )
        )
        self.is_meant_to_run = True
        self._drains = False

    def end(self) -> None:
        """Drain it, if it runs. Raises SiteFailed when that does not go well."""
        self.is_meant_to_run = False
        if self._site is not None:
            self._signal(signal.SIGCONT)
            if self._drains:  # told a second time it would not wait for what it has
                self._process.wait(_END_LIMIT_S)
        self._stack.close()

    def kill(self) -> None:
        """As a power cut would."""
        self.is_meant_to_run = False
        self._signal(signal.SIGKILL)
        self._process.wait(_END_LIMIT_S)

    def freeze(self) -> None:
        """Everything of it stands still, its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        self._signal(signal.SIGCONT)

    def drain(self) -> None:
        """Tell it to finish what it has, and to end then."""
        self.is_meant_to_run = False
        self._drains = True
        self._process.send_signal(signal.SIGTERM)

    def slow_down(self, factor: float) -> None:
        """Its accelerator takes so much longer from now on, of which the site knows nothing."""
        draft = self._profile.with_suffix(".draft")
        draft.write_text(slowed(self._shipped, factor))
        draft.replace(self._profile)

    def cut_capacity(self, ratio: float) -> None:
        """Tell it how much of its speed is left."""
        draft = self._folder / "capacity.draft"
        draft.write_text(f"{ratio:g}")
        draft.replace(self._folder / "capacity")

    @property
    def has_died(self) -> bool:
        """Whether it ended and nobody had told it to."""
        return self.is_meant_to_run and self._process.poll() is not None

    def admin(self, path: str) -> str:
        """A document of the admin port, which only the site's own machine can fetch."""
        url = f"http://127.0.0.1:{self.spot.port_base + 3}{path}"
        command = self._network.command(self.spot.place, [sys.executable, "-c", _FETCH, url])
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise SiteFailed(f"{self.spot.name} does not answer at {url}: {done.stderr[-300:]}")
        return done.stdout

    @property
    def _process(self) -> subprocess.Popen[bytes]:
        if self._site is None:
            raise SiteFailed(f"{self.spot.name} was never started")
        return self._site.process

    def _signal(self, number: signal.Signals) -> None:
        """To the site and all that it started: they have a process group of their own."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


@contextmanager
def running_sites(
    ground: Ground, scenario: Scenario, network: EmulatedNetwork, folder: Path
) -> Iterator[list[LiveSite]]:
    """All sites of an arm, linked where the arm links them. Raises SiteFailed."""
    key = secrets.token_hex(32)
    sites = [
        LiveSite(
            spot, network, folder / spot.name, _environment(ground, spot, scenario, folder, key)
        )
        for spot in ground.sites
    ]
    # The threads last until the sites, which end with them, have been told to.
    with ThreadPoolExecutor(len(sites)) as starters, ExitStack() as stack:
        stack.callback(lambda: list(starters.map(LiveSite.end, sites)))
        starting = [starters.submit(site.start) for site in sites]
        for started in starting:
            started.result()
        if ground.is_linked and len(sites) > 1:
            for site in sites:
                wait_until(
                    lambda site=site: _num_usable(site) == len(sites) - 1,  # type: ignore[misc]
                    f"{site.spot.name} is linked to all others",
                    _LINK_LIMIT_S,
                )
        yield sites


def slowed(profile: str, factor: float) -> str:
    """The text of a step-time profile whose every step takes `factor` times as long."""

    def times(found: re.Match[str]) -> str:
        values = [float(value) * factor for value in found[2].split(",") if value.strip()]
        return f"{found[1]}{values}"

    return _SLOPES.sub(
        lambda found: f"{found[1]}{float(found[2]) * factor}", _TIMES.sub(times, profile)
    )


def _num_usable(site: LiveSite) -> int:
    return site.admin("/v1/grid").count('"usable"')


def _environment(
    ground: Ground, spot: Spot, scenario: Scenario, folder: Path, key: str
) -> dict[str, str]:
    own = folder / spot.name
    own.mkdir(parents=True, exist_ok=True)
    shipped = profile_path(scenario.sites.profile)
    profile = own / shipped.name
    profile.write_text(shipped.read_text())
    capacity: dict[str, str] = {}
    if any(isinstance(fault, CapacityCut) for fault in scenario.faults):
        capacity = {"FIRSTHOP_LIMITS_CAPACITY_FILE": str(own / "capacity")}
    peers = [f"{one.name}={one.peer}" for one in ground.sites if ground.is_linked and one != spot]
    return {
        "FIRSTHOP_SITE_ID": spot.name,
        "FIRSTHOP_HTTP_HOST": spot.host,
        "FIRSTHOP_PEER_HOST": spot.host,
        "FIRSTHOP_GRID_PEERS": ",".join(peers),
        "FIRSTHOP_GRID_KEY": key,
        "FIRSTHOP_MODEL_ACCELERATOR": f"{PREFIX}{profile}",
        "FIRSTHOP_MODEL_NUM_SLOTS": str(scenario.sites.num_slots),
        "FIRSTHOP_LIMITS_MAX_QUEUED": str(scenario.sites.max_num_queued),
        **TEXT_ONLY,
        "FIRSTHOP_ACCOUNT_DATABASE": str(own / "account.sqlite"),
        **capacity,
    }
