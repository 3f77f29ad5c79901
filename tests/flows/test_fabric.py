"""A grid of real sites that know each other from the fabric alone."""

from __future__ import annotations

import signal
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from loadtests.local_site import (
    ONE_SITE,
    SiteProcess,
    firsthop,
    free_port_base,
    starting_site,
    wait_until,
)
from tests.peers.grid import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.flow

TURN = {"messages": [{"role": "user", "content": "Tell me more ..."}], "max_tokens": 20}


class FabricGrid:
    """Sites with one slot each and no queue; `edge-a` is the fabric's router."""

    def __init__(self, folder: Path, bundle: Path, stack: ExitStack) -> None:
        self._folder = folder
        self._bundle = bundle
        self._stack = stack
        self._hub = f"tcp/127.0.0.1:{free_port()}"
        self._bases: dict[str, int] = {}
        self.sites: dict[str, SiteProcess] = {}

    def start(self, name: str) -> SiteProcess:
        """Start a site, or start it again where it was; it is not ready yet."""
        base = self._bases.setdefault(name, free_port_base())
        listen, connect = (self._hub, "") if name == "edge-a" else ("", self._hub)
        self.sites[name] = site = self._stack.enter_context(
            starting_site(
                self._folder / f"{name}-{len(self.sites)}",
                *("up", "--sites", "1", "--no-core", "--port-base", str(base)),
                *("--model", str(self._bundle)),
                *("--accelerator", "emulated:rtx-pro-6000"),
                port_base=base,
                FIRSTHOP_SITE_ID=name,
                FIRSTHOP_MODEL_NUM_SLOTS="1",
                FIRSTHOP_LIMITS_MAX_QUEUED="0",
                FIRSTHOP_FABRIC_LISTEN=listen,
                FIRSTHOP_FABRIC_CONNECT=connect,
            )
        )
        return site

    def see_each_other(self) -> None:
        """Wait until all are ready and linked to all."""
        for site in self.sites.values():
            site.wait_ready()
        for name in self.sites:
            others = {one: "usable" for one in self.sites if one != name}
            wait_until(lambda name=name, others=others: self.states(name) == others, "all linked")  # type: ignore[misc]

    def states(self, name: str) -> dict[str, str]:
        """What a site says of the links to all others."""
        return {peer["site"]: peer["state"] for peer in self.grid(name)["peers"]}

    def grid(self, name: str) -> Any:
        """The grid as a site sees it."""
        return self.sites[name].admin_json("/v1/grid")

    def peer(self, name: str, other: str) -> Any:
        """One site as another sees it."""
        return next(peer for peer in self.grid(name)["peers"] if peer["site"] == other)


@contextmanager
def fabric_grid(folder: Path, bundle: Path, *names: str) -> Iterator[FabricGrid]:
    with ExitStack() as stack:
        grid = FabricGrid(folder, bundle, stack)
        for name in names:
            grid.start(name)
        grid.see_each_other()
        yield grid


def ask(site: SiteProcess) -> str:
    answer = httpx.post(
        f"{site.http}/v1/chat/completions",
        json=TURN,
        headers={"x-slo-ttft-ms": "20000"},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return answer.headers["x-firsthop-site"]


def test_sites_meet_lose_their_router_and_meet_again(tmp_path: Path, echo_bundle: Path) -> None:
    with fabric_grid(tmp_path, echo_bundle, "edge-a", "edge-b", "edge-c") as grid:
        known = grid.peer("edge-b", "edge-c")
        assert (known["known_from"], known["source"]) == ("fabric", "beats on the link")
        assert known["fabric"]["there"]
        assert known["report"]["source"] == "the peer's report on its link"
        assert grid.grid("edge-b")["fabric"] == {"joined": True, "num_ignored": {}}

        grid.sites["edge-a"].process.send_signal(signal.SIGKILL)
        wait_until(lambda: not grid.grid("edge-b")["fabric"]["joined"], "the fabric is away")
        wait_until(
            lambda: grid.states("edge-b") == {"edge-a": "unlinked", "edge-c": "usable"},
            "the links go on without the fabric",
        )
        assert not grid.peer("edge-b", "edge-c")["fabric"]["there"]
        assert ask(grid.sites["edge-b"]) == "edge-b"

        grid.start("edge-a")
        grid.see_each_other()
        wait_until(lambda: grid.peer("edge-b", "edge-a")["fabric"]["there"], "it is back")


def test_a_killed_site_gets_nothing_and_is_forgotten_by_nobody(
    tmp_path: Path, echo_bundle: Path
) -> None:
    with fabric_grid(tmp_path, echo_bundle, "edge-a", "edge-b") as grid:
        grid.sites["edge-b"].process.send_signal(signal.SIGKILL)
        wait_until(lambda: grid.states("edge-a") == {"edge-b": "unlinked"}, "it is given up")
        wait_until(lambda: not grid.peer("edge-a", "edge-b")["fabric"]["there"], "both know it")
        gone = grid.peer("edge-a", "edge-b")
        assert gone["fabric"]["source"] == "fabric"
        assert gone["fabric"]["age_ms"] >= 0.0
        assert ask(grid.sites["edge-a"]) == "edge-a"


def test_a_fabric_port_in_use_is_named_before_the_site_is_ready(
    tmp_path: Path, echo_bundle: Path
) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        options = ("--port-base", str(free_port_base()), "--model", str(echo_bundle))
        refused = firsthop(
            *(*ONE_SITE, *options),
            cwd=tmp_path,
            FIRSTHOP_FABRIC_LISTEN=f"tcp/127.0.0.1:{port}",
        )
    assert refused.returncode == 1
    assert "is ready" not in refused.stdout
    assert f"127.0.0.1:{port} is in use" in refused.stderr
