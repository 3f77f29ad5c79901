"""What an open console costs the gateway's process, in CPU time, and how soon it shows things.

A process serves an admin port before a made-up grid, whose sites all say something new every
second. Rounds with none, one and eight consoles open take turns; what the process uses more is
theirs. Then a page is opened in Chromium: its first paint, and the time from a turn's end to its
line in the list.

    python -m loadtests.console_cost
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.budget import BudgetDefaults
from gateway.core.errors import EngineUnavailable
from gateway.core.stages import Outcome, StageClock, TurnTrail
from gateway.edge.access import OpenGatekeeper
from gateway.edge.admin import build_admin_app
from gateway.edge.console.feed import GridFeed, TalkPage
from gateway.edge.console.sight import ADMIN
from gateway.edge.desk import Desk
from gateway.edge.grid_view import GridFigures
from gateway.edge.http_server import HttpServer, bind_listener
from gateway.edge.site_source import EngineSource, SiteIdentity, SiteSource
from gateway.telemetry.metrics import SiteFigures
from gateway.telemetry.site_telemetry import SiteTelemetry
from loadtests.command_line import at_least, parser_for
from loadtests.facts import conclude, summary_ms, verdict
from loadtests.host import HostGuard
from loadtests.made_up_grid import MODEL, peer, service
from loadtests.orphan import ending_with_parent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from gateway.core.generation import EngineLoad
    from gateway.core.turn import ModelInfo, Turn, TurnEvent

NUM_SITES = (20, 500)
CONSOLES = (0, 1, 8)
ROUND_S = 8.0
NUM_ROUNDS = 5
_SETTLED_S = 1.5
"""Opening consoles is over by then."""
NUM_PAINTS = 5
NUM_TURNS = 20
TARGET_SITES, TARGET_PERCENT = 20, 0.5
TARGET_PAINT_MS, TARGET_LAG_MS = 1000.0, 1000.0
SEED = 1
_ROOT = Path(__file__).resolve().parents[1]
_PAGE = _ROOT / "tests" / "clients" / "node" / "console.mjs"


class _NoTurns:
    """A runner that is never asked."""

    models: tuple[ModelInfo, ...] = ()

    async def check(self, turn: Turn) -> None:
        """There are none."""

    async def run(self, turn: Turn, trail: TurnTrail) -> AsyncGenerator[TurnEvent, None]:
        """There are none."""
        nothing: tuple[TurnEvent, ...] = ()
        for event in nothing:
            yield event


def _no_engine() -> EngineLoad:
    raise EngineUnavailable("this process only shows a grid")


async def _serve(num_sites: int) -> None:
    """An admin port before `num_sites`, one of whose turns is shed every second."""
    telemetry = SiteTelemetry(
        site="edge-000", version="0", figures=lambda: SiteFigures(0, 0, 0, 0), records_kept=100
    )
    desk = Desk(
        runner=_NoTurns(),
        gatekeeper=OpenGatekeeper(),
        sink=telemetry.sink,
        defaults=BudgetDefaults(),
    )
    peers = [peer(number) for number in range(1, num_sites)]
    reports = [service(seed) for seed in range(20)]

    def figures() -> GridFigures:
        """Each site's report is another one every second, as it is when they come in."""
        now = int(time.monotonic())
        return GridFigures(
            links=[
                msgspec.structs.replace(one, service=reports[(place + now) % 20])
                for place, one in enumerate(peers)
            ],
            models=(MODEL,),
        )

    identity = SiteIdentity("edge-000", "", "0", time.monotonic())
    source = SiteSource(identity, desk, EngineSource(_no_engine, lambda: 0), figures, telemetry)
    feed = GridFeed(source, talk=TalkPage("http", 1))
    app = build_admin_app(source, end=lambda: None, routes=feed.routes(lambda _: ADMIN))
    server = HttpServer(app, bind_listener("127.0.0.1", 0))
    print(server.port, flush=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve())
        while True:
            await asyncio.sleep(0.731)  # out of step with the feed's second
            name = str(time.time_ns() // 1_000_000)
            trail = TurnTrail(name, StageClock(time.monotonic()), budget_s=0.5)
            telemetry.sink.record(trail.close(Outcome.SHED, "", time.monotonic()))


@contextmanager
def _serving(num_sites: int) -> Iterator[tuple[int, int]]:
    """Port and process id of a server in a process of its own."""
    command = [sys.executable, "-m", "loadtests.console_cost", "--serve", str(num_sites)]
    with subprocess.Popen(
        ending_with_parent(command), cwd=_ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            yield int(process.stdout.readline()), process.pid
        finally:
            process.terminate()


def _cpu_s(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


async def _read(port: int, read_bytes: list[int]) -> None:
    """A console that reads and does nothing else."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(b"GET /v1/grid/events HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
        while data := await reader.read(1 << 20):
            read_bytes.append(len(data))
    finally:
        writer.close()


async def _round(port: int, pid: int, num_consoles: int) -> tuple[float, float]:
    """Percent of a core the process used, and bytes a second and console."""
    read_bytes: list[int] = []
    async with asyncio.TaskGroup() as consoles:
        tasks = [consoles.create_task(_read(port, read_bytes)) for _ in range(num_consoles)]
        await asyncio.sleep(_SETTLED_S)
        read_bytes.clear()
        before_s, began_s = _cpu_s(pid), time.monotonic()
        await asyncio.sleep(ROUND_S)
        used_s, took_s = _cpu_s(pid) - before_s, time.monotonic() - began_s
        for task in tasks:
            task.cancel()
    return 100.0 * used_s / took_s, sum(read_bytes) / took_s / max(1, num_consoles)


async def _cost(port: int, pid: int) -> dict[str, Any]:
    rounds: dict[int, list[float]] = {num: [] for num in CONSOLES}
    bytes_per_s = 0.0
    for _ in range(NUM_ROUNDS):
        for num_consoles in CONSOLES:
            percent, bytes_per_s = await _round(port, pid, num_consoles)
            rounds[num_consoles].append(percent)
    none, one, eight = (median(rounds[num]) for num in CONSOLES)
    return {
        "cpu_percent": {str(num): [round(one, 3) for one in rounds[num]] for num in CONSOLES},
        "first_console_percent": round(one - none, 3),
        "each_further_percent": round((eight - one) / 7, 3),
        "bytes_per_s": round(bytes_per_s),
    }


def _pace(port: int, chromium: str) -> dict[str, Any]:
    """First paints of the page, and how far behind its list is."""
    paints_s, lags_s = [], []
    for _ in range(NUM_PAINTS):
        done = subprocess.run(
            ["node", str(_PAGE), f"http://127.0.0.1:{port}", "pace", str(NUM_TURNS)],
            env={"CHROMIUM": chromium, "PATH": "/usr/bin:/bin:/usr/local/bin"},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        found = msgspec.json.decode(done.stdout)
        paints_s.append(found["paintMs"] / 1e3)
        # Those that were there when the page was opened are as old as they are.
        lags_s += [lag / 1e3 for lag in found["lagsMs"][-NUM_TURNS // 2 :]]
    return {"first_paint": summary_ms(paints_s, SEED), "behind": summary_ms(lags_s, SEED)}


def main() -> int:
    """Run it and save the result."""
    parser = parser_for("console_cost", __doc__)
    parser.add_argument("--serve", type=at_least(2), metavar="SITES", help="only be that process")
    parser.add_argument("--chromium", default="/usr/bin/chromium", help="default: %(default)s")
    args = parser.parse_args()
    if args.serve:
        asyncio.run(_serve(args.serve))
        return 0
    guard, found, missed = HostGuard(), {}, []
    for num_sites in NUM_SITES:
        with _serving(num_sites) as (port, pid):
            cost = asyncio.run(_cost(port, pid))
            found[str(num_sites)] = cost | _pace(port, args.chromium)
    guard.stop()
    told = found[str(TARGET_SITES)]
    for name, value, target in (
        ("cpu", told["first_console_percent"], TARGET_PERCENT),
        ("first paint", told["first_paint"]["p50"], TARGET_PAINT_MS),
        ("update", told["behind"]["p99"], TARGET_LAG_MS),
    ):
        if value > target:
            missed.append(f"{name}: {value} is more than {target}")
    body = {"by_num_sites": found, "host": guard.row(), **verdict(guard.faults(), missed=missed)}
    return conclude("console_cost", SEED, body)


if __name__ == "__main__":
    raise SystemExit(main())
