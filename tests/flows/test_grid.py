"""A grid of real processes: turns go where there is room, and on when a site dies."""

from __future__ import annotations

import json
import signal
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from loadtests.local_site import (
    ONE_SITE,
    SiteProcess,
    firsthop,
    free_port_base,
    running_site,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("edge-a", "edge-b", "edge-c")
TURN = {
    "messages": [{"role": "user", "content": "Tell me more ..."}],
    "max_tokens": 300,
    "stream": True,
}
BLOCKER = {**TURN, "max_tokens": 1500}
PATIENT = {"x-slo-ttft-ms": "20000"}


@contextmanager
def running_grid(folder: Path, bundle: Path) -> Iterator[dict[str, SiteProcess]]:
    """Linked sites with one slot each and no queue."""
    bases: dict[str, int] = {}
    while len(set(bases.values())) < len(NAMES):
        bases = {name: free_port_base() for name in NAMES}
    with ExitStack() as stack:
        sites = {}
        for name, base in bases.items():
            peers = [f"{one}=127.0.0.1:{bases[one] + 2}" for one in NAMES if one != name]
            arguments = (*ONE_SITE, "--port-base", str(base), "--model", str(bundle))
            sites[name] = stack.enter_context(
                running_site(
                    folder / name,
                    *arguments,
                    *("--accelerator", "emulated:rtx-pro-6000"),
                    port_base=base,
                    FIRSTHOP_SITE_ID=name,
                    FIRSTHOP_GRID_PEERS=",".join(peers),
                    FIRSTHOP_MODEL_NUM_SLOTS="1",
                    FIRSTHOP_LIMITS_MAX_QUEUED="0",
                )
            )
        for site in sites.values():
            wait_until(lambda site=site: usable(site) == 2, "all are linked")  # type: ignore[misc]
        yield sites


def usable(site: SiteProcess) -> int:
    return sum(peer["state"] == "usable" for peer in site.admin_json("/v1/grid")["peers"])


def num_active(site: SiteProcess) -> int:
    return int(site.admin_json("/v1/site")["engine"]["num_active"])


def state_of(site: SiteProcess, peer: str) -> str:
    found = next(one for one in site.admin_json("/v1/grid")["peers"] if one["site"] == peer)
    return str(found["state"])


def credits_known(site: SiteProcess) -> float:
    """What the peers would take of agent turns, by their last reports."""
    peers = site.admin_json("/v1/grid")["peers"]
    return float(sum(peer["report"]["credit_ms"]["agent"] for peer in peers))


class Stream:
    """An answer as it comes."""

    def __init__(self, response: httpx.Response) -> None:
        self.head = response.headers
        self._lines = response.iter_lines()
        self.text = ""
        self.last: dict[str, Any] = {}

    def read(self, num_chunks: int = 1_000_000) -> None:
        """So many chunks, or all there are."""
        for line in self._lines:
            if line.startswith("data: {"):
                self.last = json.loads(line.removeprefix("data: "))
                for choice in self.last["choices"]:
                    self.text += choice["delta"].get("content") or ""
                num_chunks -= 1
            if num_chunks == 0:
                return


@contextmanager
def asking(site: SiteProcess, body: dict[str, Any]) -> Iterator[Stream]:
    url = f"{site.http}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=PATIENT, timeout=60) as response:
        assert response.status_code == 200, response.read()
        yield Stream(response)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_stream_outlives_the_site_that_generates_it(
    tmp_path: Path, echo_bundle: Path, number: signal.Signals
) -> None:
    with running_grid(tmp_path, echo_bundle) as sites:
        entry = sites["edge-a"]
        with asking(entry, TURN) as local:
            local.read()
        assert local.head["x-firsthop-site"] == "edge-a"
        entry.wait_idle()
        with asking(entry, BLOCKER) as blocker:
            blocker.read(1)
            with asking(entry, TURN) as stream:
                stream.read(5)
                generating = stream.head["x-firsthop-site"]
                assert stream.head["x-firsthop-path"] == f"edge-a,{generating}"
                sites[generating].process.send_signal(number)
                began_s = time.monotonic()
                wait_until(lambda: state_of(entry, generating) == "unlinked", "it is given up")
                noticed_s = time.monotonic() - began_s
                stream.read()
        if number is signal.SIGSTOP:
            sites[generating].process.send_signal(signal.SIGCONT)
            wait_until(lambda: state_of(entry, generating) == "usable", "it is back")
            sites[generating].wait_idle()
        request_id = stream.head["x-request-id"]
        record = entry.admin_json(f"/v1/requests/{request_id}")
    assert stream.text == local.text
    assert record["num_resumes"] == 1
    assert record["path"][:2] == ["edge-a", generating]
    assert stream.last["firsthop"]["path"] == record["path"]
    assert noticed_s < (1.0 if number is signal.SIGKILL else 3.0)


def test_a_full_grid_sheds_with_every_candidate_named(tmp_path: Path, echo_bundle: Path) -> None:
    with running_grid(tmp_path, echo_bundle) as sites, ExitStack() as blocked:
        held = [blocked.enter_context(asking(site, BLOCKER)) for site in sites.values()]
        for stream in held:
            stream.read(1)
        for site in sites.values():
            wait_until(lambda site=site: num_active(site) == 1, "it is full")  # type: ignore[misc]
        entry = sites["edge-a"]
        wait_until(lambda: not credits_known(entry), "it is known to all")
        answer = httpx.post(
            f"{entry.http}/v1/chat/completions", json={**TURN, "stream": False}, headers=PATIENT
        )
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "slo_unattainable"
        assert answer.headers["x-firsthop-site"] == "edge-a"
        request_id = answer.headers["x-request-id"]
        alternates = answer.headers["x-firsthop-alternates"].split(", ")
        assert sorted(alternates) == sorted(sites[name].http for name in ("edge-b", "edge-c"))
        record = entry.admin_json(f"/v1/requests/{request_id}")
        told = firsthop("explain", request_id, "--site", entry.admin, cwd=tmp_path).stdout
    candidates = record["decisions"][-1]["candidates"]
    assert {one["site"]: one["reason"] for one in candidates} == {
        "edge-a": "queue_full",
        "edge-b": "no_credit",
        "edge-c": "no_credit",
    }
    for name in sites:
        assert name in told
    assert "no_credit" in told
