"""An admin port behind a real HTTP server; turns are recorded into it by hand."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gateway.core.budget import BudgetDefaults
from gateway.core.errors import EngineUnavailable
from gateway.core.generation import Backlog, EngineLoad
from gateway.edge.admin import build_admin_app
from gateway.edge.console.feed import GridFeed, TalkPage
from gateway.edge.console.sight import ADMIN
from gateway.edge.desk import Desk
from gateway.edge.grid_view import GridFigures
from gateway.edge.http_server import HttpServer, bind_listener
from gateway.edge.site_source import EngineSource, SiteIdentity, SiteSource
from gateway.telemetry.metrics import SiteFigures
from gateway.telemetry.site_telemetry import SiteTelemetry
from tests.edge.fakes import WAIT_S, Gate, ScriptedRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.peers.link import LinkFigures

LOAD = EngineLoad(
    as_of_s=999.75,
    num_slots=8,
    num_active=2,
    prefill_s_per_token=0.0005,
    decode_step_s=0.004,
    mean_remaining_tokens=32.5,
    answer_tokens=40.0,
    backlog=(Backlog(), Backlog(1, 200), Backlog(0, 100)),
    available_in_s=0.75,
)
NOW_S = 1000.0
RECORDS_KEPT = 10


class AdminSite:
    """A site that started 400 s before `NOW_S`, its engine's last report 250 ms old."""

    def __init__(self) -> None:
        self.engine_is_gone = False
        self.is_told_to_end = threading.Event()
        self.capacity_ratio = 1.0
        self.links: list[LinkFigures] = []
        self.loop: asyncio.AbstractEventLoop | None = None
        self.telemetry = SiteTelemetry(
            site="edge-a",
            version="1.2.3",
            figures=lambda: SiteFigures(self.desk.num_active, 2, 1, 3),
            records_kept=RECORDS_KEPT,
        )
        self.desk = Desk(
            runner=ScriptedRunner(),
            gatekeeper=Gate(),
            sink=self.telemetry.sink,
            defaults=BudgetDefaults(),
        )
        self.source = SiteSource(
            SiteIdentity("edge-a", "lab", "1.2.3", started_s=600.0),
            self.desk,
            EngineSource(
                load=self._load,
                num_restarts=lambda: 3,
                capacity_ratio=lambda: self.capacity_ratio,
                set_capacity=self._set_capacity,
            ),
            lambda: GridFigures(
                num_turns_for_peers=2, links=self.links, configured=frozenset({"edge-b"})
            ),
            self.telemetry,
            monotonic=lambda: NOW_S,
        )
        self.feed = GridFeed(self.source, talk=TalkPage("http", 8080))
        app = build_admin_app(
            self.source,
            end=self.is_told_to_end.set,
            routes=self.feed.routes(lambda _: ADMIN),
            answers_this_machine_only=True,
        )
        self.server = HttpServer(app, bind_listener("127.0.0.1", 0), drain_timeout_s=1.0)
        self.url = f"http://127.0.0.1:{self.server.port}"

    def _set_capacity(self, ratio: float) -> int:
        self.capacity_ratio = ratio
        return 3

    def stop(self) -> None:
        """End the streams and the server."""
        if self.loop is not None and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.feed.close)
        self.server.stop()

    def _load(self) -> EngineLoad:
        if self.engine_is_gone:
            raise EngineUnavailable("the engine process does not start")
        return LOAD


@contextmanager
def serve_admin() -> Iterator[AdminSite]:
    """An admin port that answers until the block is left."""
    site = AdminSite()

    def run() -> None:
        with asyncio.Runner() as runner:
            site.loop = runner.get_loop()
            runner.run(site.server.serve())

    with ThreadPoolExecutor(1, thread_name_prefix="admin") as threads:
        served = threads.submit(run)
        try:
            yield site
        finally:
            site.stop()
            served.result(timeout=WAIT_S)
            asyncio.run(site.telemetry.close())
