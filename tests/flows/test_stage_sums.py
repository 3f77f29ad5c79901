"""The stages of a real site's records against the times of real clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtests.stage_sums import PHASES, run_phase

if TYPE_CHECKING:
    from pathlib import Path

    from loadtests.local_site import SiteProcess


def test_both_protocols_are_compared_with_the_records_of_a_site(
    echo_site: SiteProcess, tmp_path: Path
) -> None:
    found = run_phase(PHASES[0], echo_site, 20.0, 2.0, tmp_path)
    assert set(found) == {"http", "grpc"}
    for by_protocol in found.values():
        assert by_protocol["n"] > 5
        # No record explains how late a client itself was.
        assert -1.0 < by_protocol["apart_p50_ms"] < 50.0 + by_protocol["client_lag_p99_ms"]
