"""How the sites of a grid serve their callers, seen from each; their decisions, replayed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx

from gateway.core.slo import BURN_RULES
from loadtests.local_site import firsthop, running_site, wait_until
from tests.flows.test_grid import PATIENT, TURN, small_grid

if TYPE_CHECKING:
    from pathlib import Path

    from loadtests.local_site import SiteProcess

BODY = {**TURN, "stream": False, "max_tokens": 4}


def ask(site: SiteProcess, headers: dict[str, str]) -> int:
    url = f"{site.http}/v1/chat/completions"
    return httpx.post(url, json=BODY, headers=headers, timeout=60).status_code


def of_agents(service: dict[str, Any] | None) -> dict[str, Any]:
    empty: dict[str, Any] = {"num_missed": 0, "burn_rate_10s": None}
    return empty if service is None else service["classes"]["agent"]


def test_a_site_that_burns_is_seen_from_another_while_it_does(
    tmp_path: Path, echo_bundle: Path
) -> None:
    with small_grid(tmp_path, echo_bundle) as sites:
        here, burning = sites["edge-a"], sites["edge-b"]
        assert ask(here, PATIENT) == 200
        for _ in range(6):
            assert ask(burning, {"x-slo-ttft-ms": "0.1"}) == 503

        def peer() -> dict[str, Any]:
            peers = here.admin_json("/v1/grid")["peers"]
            return of_agents(next(one for one in peers if one["site"] == "edge-b")["service"])

        wait_until(lambda: (peer()["burn_rate_10s"] or 0.0) >= BURN_RULES[0].rate, "it is seen")
        wait_until(lambda: peer()["num_missed"] == 6, "all of it is seen")
        grid = here.admin_json("/v1/grid")
        assert grid["num_sites_in_total"] == 3
        total = of_agents(grid["total"])
        assert (total["num_met"], total["num_missed"]) == (1, 6)
        assert total["p99_ms"] == of_agents(grid["own"])["p99_ms"]
        told = firsthop("top", "--once", "--site", here.admin, cwd=tmp_path)
        row = next(line for line in told.stdout.splitlines() if line.startswith("edge-b "))
        assert row.split()[-4:] == ["0.0", "-", "-", "100"]
        rules = burning.admin_json("/v1/slo")["classes"]["agent"]["rules"]
        assert [rule["name"] for rule in rules if rule["is_burning"]] == ["fast"]


def test_a_sites_decisions_are_made_again(echo_bundle: Path, tmp_path: Path) -> None:
    arguments = ("--model", str(echo_bundle))
    with running_site(tmp_path, *arguments, FIRSTHOP_TELEMETRY_DECISIONS_RATIO="1") as site:
        assert ask(site, PATIENT) == 200
        assert ask(site, {"x-slo-ttft-ms": "0.1"}) == 503
    decisions = ".firsthop/records/edge-a/decisions"
    told = firsthop("replay", decisions, "--json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["num_decisions"] == found["num_reproduced"] == 2
    assert found["before"] == {"here": 1, "shed": 1}
    assert b"Tell me more" not in b"".join(
        path.read_bytes() for path in (tmp_path / decisions).iterdir()
    )
