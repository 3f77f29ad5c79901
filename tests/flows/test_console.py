"""The console of a real grid of three sites, in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.edge.chromium import look, require_chromium
from tests.flows.test_grid import BLOCKER, TURN, asking, small_grid

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def chromium() -> None:
    require_chromium()


def test_a_grid_and_a_forwarded_turn_on_the_public_port(tmp_path: Path, echo_bundle: Path) -> None:
    with small_grid(tmp_path, echo_bundle) as sites:
        entry = sites["edge-a"]
        with asking(entry, BLOCKER) as blocker:
            blocker.read(1)
            with asking(entry, TURN) as forwarded:
                forwarded.read()
        entry.wait_idle()
        late = httpx.post(
            f"{entry.http}/v1/chat/completions",
            json={**TURN, "stream": False},
            headers={"x-slo-ttft-ms": "1"},
            timeout=60,
        )
        assert late.status_code == 503
        found = look(entry.http, "glance")
        request_id = forwarded.head["x-request-id"]
        explained = look(entry.http, "explained", request_id)
        record = entry.admin_json(f"/v1/requests/{request_id}")
        shed = look(entry.admin, "turn", late.headers["x-request-id"])
    assert found["talk"] == "/talk", "a site that needs no keys shows everything"
    assert found["sum"].startswith("3 of 3 sites in the sum")
    rows = {row.split()[0]: row for row in found["sites"]}
    assert set(rows) == set(sites)
    models = {row.split()[-3] for row in rows.values()}
    assert len(models) == 1, "all draw the same tokens"
    assert "1 forwarded" in found["roles"]
    generating = forwarded.head["x-firsthop-site"]
    assert generating != "edge-a"
    assert f"edge-a › {generating}" in explained["text"]
    assert len(explained["elsewhere"]) == len(record["peer_stages"][0]["took_ms"]) > 0
    assert all(generating in row for row in explained["elsewhere"])
    for decision in record["decisions"]:
        assert f"sent to {decision['chosen']}, because {decision['reason']}" in explained["text"]
        for candidate in decision["candidates"]:
            is_chosen = candidate["site"] == decision["chosen"]
            assert (
                f"{candidate['site']} {'chosen' if is_chosen else 'not taken'}" in explained["text"]
            )
    assert "shed" in shed["text"]
