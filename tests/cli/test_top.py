"""`firsthop top` against a real admin port, once and live."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gateway.cli.grid_table import EngineNow, SiteNow, SiteState, draw_grid
from gateway.cli.ink import ASCII
from gateway.cli.main import main
from gateway.core.latency_histogram import LatencyHistogram
from gateway.core.service_report import ClassService, ServiceReport, Tally
from gateway.edge.grid_view import GridFigures, grid_view
from gateway.peers.link import LinkFigures
from tests.edge.admin_site import serve_admin
from tests.telemetry.turns import answered, shed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.edge.admin_site import AdminSite

DEADLINE_S = 60.0


def service(num_met: int, num_missed: int, bucket: int) -> ServiceReport:
    tally, none = Tally(num_met, num_missed), ClassService(0.99)
    voice = ClassService(0.99, tally, tally, LatencyHistogram((bucket, num_met)))
    return ServiceReport((voice, none, none), 12.5)


PEERS = [
    LinkFigures(
        site="edge-c",
        address="c:2",
        is_linked=False,
        is_usable=False,
        last_error="silent",
    ),
    LinkFigures(
        site="edge-b",
        address="b:2",
        is_linked=True,
        is_usable=True,
        last_error="",
        rtt_s=0.004,
        heard_age_s=0.1,
        service=service(60, 40, 140),
        service_age_s=0.5,
    ),
]

TABLE = """\
edge-a in lab, firsthop 1.2.3: 3 turns of its own callers, 2 for peers
2 of 3 sites in the sum, 25.0 tokens/s

                                                            voice                     agent
site         state       age    rtt  free  tok/s  met %    p50    p99 burn  met %    p50    p99 burn
all                                         25.0   80.0 76.0ms  430ms   20      -      -      -    -
edge-a       here                     6/8   12.5  100.0 76.0ms 76.0ms    0      -      -      -    -
edge-b       usable    100ms  4.0ms     -   12.5   60.0  430ms  430ms   40      -      -      -    -
edge-c       unlinked      -      -     -
"""


def test_the_table_has_a_line_for_each_site_and_their_sum() -> None:
    figures = GridFigures(num_turns_for_peers=2, links=PEERS)
    grid = grid_view("edge-a", figures, service(100, 0, 100))
    own = SiteState("edge-a", "lab", "1.2.3", SiteNow(3, draining=False), EngineNow(8, 2, 0))
    table = "\n".join(draw_grid(grid, own, ASCII)) + "\n"
    assert table == TABLE
    coloured = "\n".join(draw_grid(grid, own, ASCII._replace(coloured=True)))
    burning = [line for line in coloured.splitlines() if "\x1b[31m" in line]
    assert [line.split()[0] for line in burning] == ["all", "edge-b"]


@pytest.fixture(scope="module")
def site() -> Iterator[AdminSite]:
    with serve_admin() as site:
        site.links = PEERS
        for _ in range(3):
            site.telemetry.sink.record(answered())
        site.telemetry.sink.record(shed())
        yield site


@pytest.mark.flow
def test_once_without_a_terminal(site: AdminSite, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--site", site.url]) == 0
    out = capsys.readouterr().out
    own = next(line for line in out.splitlines() if line.startswith("edge-a  "))
    assert " 75.0 " in own
    assert "\x1b" not in out


@pytest.mark.flow
def test_json_is_the_sites_answer(site: AdminSite, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--json", "--site", site.url]) == 0
    grid = json.loads(capsys.readouterr().out)
    assert grid["own"]["classes"]["voice"]["num_missed"] == 1
    assert [peer["site"] for peer in grid["peers"]] == ["edge-c", "edge-b"]


@pytest.mark.flow
def test_a_terminal_is_drawn_on_until_interrupted(site: AdminSite) -> None:
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "gateway", "top", "--site", site.url, "--interval", "0.1"]
    shown = b""
    with subprocess.Popen(command, stdin=end, stdout=end, stderr=end) as process:
        os.close(end)
        while shown.count(b"\x1b[H") < 3:  # a failing site would end the output instead
            shown += os.read(terminal, 4096)
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 0
    os.close(terminal)
    assert b"edge-b" in shown
    assert b"Traceback" not in shown


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "often"])
def test_an_interval_that_is_none_is_wrong_usage(
    interval: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", "--interval", interval]) == 2
    assert repr(interval) in capsys.readouterr().err
