"""The public summary of the grid, read as a console reads it."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvloop

from gateway.core.budget import BudgetDefaults
from gateway.edge.desk import Desk
from gateway.edge.grid_events import MAX_NUM_READERS, grid_events_route
from gateway.edge.grid_view import GridFigures, GridView, grid_view
from gateway.edge.http_app import build_http_app
from gateway.edge.http_server import HttpServer, bind_listener
from tests.cli.test_top import PEERS, service
from tests.edge.fakes import WAIT_S, Gate, Records, ScriptedRunner

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.flow


class Site:
    """A public port with the events, made every 50 ms."""

    def __init__(self) -> None:
        self.num_made = 0
        self.is_ending = False
        desk = Desk(
            runner=ScriptedRunner(), gatekeeper=Gate(), sink=Records(), defaults=BudgetDefaults()
        )
        route = grid_events_route(
            self._grid, is_ending=lambda: self.is_ending, stall_limit_s=5.0, interval_s=0.05
        )
        app = build_http_app(desk, readiness=lambda: True, routes=[route])
        self.server = HttpServer(
            app, bind_listener("127.0.0.1", 0), drain_timeout_s=1.0, max_connections=100
        )
        self.url = f"http://127.0.0.1:{self.server.port}/v1/grid/events"

    def _grid(self) -> GridView:
        self.num_made += 1
        return grid_view("edge-a", GridFigures(links=PEERS), service(100, 0, 100))


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(site.server.serve())

    with ThreadPoolExecutor(1) as threads:
        served = threads.submit(run)
        try:
            yield site
        finally:
            site.server.stop()
            served.result(timeout=WAIT_S)


def events_of(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    return (json.loads(line.removeprefix("data: ")) for line in lines if line)


def test_readers_get_the_summary_and_no_more_again_and_again() -> None:
    with serving() as site, httpx.stream("GET", site.url) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = events_of(answer.iter_lines())
        first, _, third = (next(events) for _ in range(3))
        assert first == third
        assert [(one["site"], one["state"]) for one in first["sites"]] == [
            ("edge-a", "here"),
            ("edge-c", "unlinked"),
            ("edge-b", "usable"),
        ]
        assert first["total"]["classes"]["voice"]["num_met"] == 160
        assert not {"b:2", "silent"} & set(str(first).replace("'", " ").split())


def test_it_ends_with_the_site() -> None:
    with serving() as site, httpx.stream("GET", site.url) as answer:
        events = events_of(answer.iter_lines())
        next(events)
        site.is_ending = True
        assert len(list(events)) < 50, "the stream was ended in good order"


def test_many_readers_cost_one_summary_and_too_many_are_told() -> None:
    with serving() as site, ExitStack() as stack:
        limits = httpx.Limits(max_connections=None)
        client = stack.enter_context(httpx.Client(limits=limits))
        readers = [
            events_of(stack.enter_context(client.stream("GET", site.url)).iter_lines())
            for _ in range(MAX_NUM_READERS)
        ]
        refused = client.get(site.url)
        assert refused.status_code == 503
        assert refused.headers["retry-after"]
        assert refused.json()["error"]["code"] == "too_many_readers"
        begun = site.num_made
        for _ in range(3):
            for events in readers:
                next(events)
        assert site.num_made - begun < 3 * MAX_NUM_READERS
    with serving() as site:
        assert httpx.head(site.url).status_code == 200
        with httpx.stream("GET", site.url) as answer:
            assert next(events_of(answer.iter_lines()))["site"] == "edge-a"
