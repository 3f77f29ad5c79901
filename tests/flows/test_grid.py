"""A grid of real processes: turns go where there is room, and on when a site dies."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from loadtests.local_grid import running_grid
from loadtests.local_site import SiteProcess, firsthop, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TURN = {
    "messages": [{"role": "user", "content": "Tell me more ..."}],
    "max_tokens": 300,
    "stream": True,
}
BLOCKER = {**TURN, "max_tokens": 1500}
PATIENT = {"x-slo-ttft-ms": "20000"}


@contextmanager
def small_grid(folder: Path, bundle: Path) -> Iterator[dict[str, SiteProcess]]:
    """Linked sites with one slot each and no queue."""
    with running_grid(
        folder,
        *("--model", str(bundle), "--accelerator", "emulated:rtx-pro-6000"),
        FIRSTHOP_MODEL_NUM_SLOTS="1",
        FIRSTHOP_LIMITS_MAX_QUEUED="0",
    ) as sites:
        yield sites


@pytest.fixture(scope="module")
def whole_grid(
    echo_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, SiteProcess]]:
    """For the tests that leave all of it as it was."""
    with small_grid(tmp_path_factory.mktemp("grid"), echo_bundle) as sites:
        yield sites


@pytest.fixture
def sites(whole_grid: dict[str, SiteProcess]) -> dict[str, SiteProcess]:
    """It, when it has nothing to do."""
    for site in whole_grid.values():
        site.wait_idle()
    return whole_grid


def num_active(site: SiteProcess) -> int:
    return int(site.admin_json("/v1/site")["engine"]["num_active"])


def peer_of(site: SiteProcess, peer: str) -> Any:
    return next(one for one in site.admin_json("/v1/grid")["peers"] if one["site"] == peer)


def state_of(site: SiteProcess, peer: str) -> str:
    return str(peer_of(site, peer)["state"])


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
def asking(
    site: SiteProcess, body: dict[str, Any], headers: dict[str, str] = PATIENT
) -> Iterator[Stream]:
    url = f"{site.http}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, headers=headers, timeout=60) as response:
        assert response.status_code == 200, response.read()
        yield Stream(response)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_stream_outlives_the_site_that_generates_it(
    tmp_path: Path, echo_bundle: Path, number: signal.Signals
) -> None:
    with small_grid(tmp_path, echo_bundle) as sites:
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
                wait_until(lambda: state_of(entry, generating) == "unlinked", "it is given up")
                noticed = str(peer_of(entry, generating)["last_error"])
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
    # A broken connection is noticed at once; a site that stands still by its silence.
    assert ("silent" in noticed) is (number is signal.SIGSTOP)


def test_a_full_grid_sheds_with_every_candidate_named(
    sites: dict[str, SiteProcess], tmp_path: Path
) -> None:
    with ExitStack() as blocked:
        held = [blocked.enter_context(asking(site, BLOCKER)) for site in sites.values()]
        for stream in held:
            stream.read(1)
        for site in sites.values():
            wait_until(lambda site=site: num_active(site) == 1, "it is full")  # type: ignore[misc]
        entry = sites["edge-a"]
        wait_until(lambda: not credits_known(entry), "it is known to all")
        answer = httpx.post(
            f"{entry.http}/v1/chat/completions",
            json={**TURN, "stream": False},
            headers=PATIENT,
            timeout=60,
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


def test_a_draining_site_gives_its_turns_back_and_none_differs(
    tmp_path: Path, echo_bundle: Path
) -> None:
    with small_grid(tmp_path, echo_bundle) as sites:
        entry = sites["edge-a"]
        with asking(entry, TURN) as local:
            local.read()
        entry.wait_idle()
        with asking(entry, BLOCKER) as blocker:
            blocker.read(1)
            with asking(entry, TURN) as stream:
                stream.read(5)
                generating = stream.head["x-firsthop-site"]
                assert sites[generating].end() == 0
                stream.read()
        record = entry.admin_json(f"/v1/requests/{stream.head['x-request-id']}")
    assert stream.text == local.text
    assert record["path"][:2] == ["edge-a", generating]
    assert (record["num_resumes"], record["outcome"]) == (1, "answered")


def test_a_cut_capacity_moves_what_runs_and_none_differs(sites: dict[str, SiteProcess]) -> None:
    entry = sites["edge-a"]
    with asking(entry, TURN) as local:
        local.read()
    entry.wait_idle()
    with asking(entry, TURN) as stream:
        stream.read(5)
        assert stream.head["x-firsthop-site"] == "edge-a"
        assert entry.set_capacity(0.0) == {"ratio": 0.0, "num_moved": 1}
        stream.read()
    assert stream.text == local.text
    record = entry.admin_json(f"/v1/requests/{stream.head['x-request-id']}")
    assert record["decisions"][-1]["reason"] == "capacity_cut"
    with asking(entry, TURN) as forwarded:
        forwarded.read()
    assert forwarded.head["x-firsthop-site"] != "edge-a"
    wait_until(lambda: told_capacity(sites["edge-b"], "edge-a") == 0.0, "peers know it")
    entry.set_capacity(1.0)
    with asking(entry, TURN) as back:
        back.read()
    assert back.head["x-firsthop-site"] == "edge-a"
    assert back.text == forwarded.text == local.text


def told_capacity(site: SiteProcess, peer: str) -> float:
    return float(peer_of(site, peer)["report"]["capacity_ratio"])


def test_a_voice_turn_is_forwarded_within_the_budget_of_its_class(
    sites: dict[str, SiteProcess],
) -> None:
    entry = sites["edge-a"]
    with asking(entry, BLOCKER) as blocker:
        blocker.read(1)
        records = [voice_turn(entry) for _ in range(3)]
    for record in records:
        assert record["path"][0] == "edge-a"
        assert len(record["path"]) == 2
        assert record["budget_ms"] == 500.0
        assert record["within_budget"] is (record["ttft_ms"] <= 500.0)
    assert any(record["within_budget"] for record in records)  # a busy machine may stand still


def voice_turn(site: SiteProcess) -> Any:
    """The record of one, which another site has room for."""
    wait_until(lambda: credits_known(site) > 0.0, "it is known that there is room")
    with asking(site, {**TURN, "max_tokens": 20}, {"x-firsthop-class": "voice"}) as stream:
        stream.read()
    return site.admin_json(f"/v1/requests/{stream.head['x-request-id']}")
