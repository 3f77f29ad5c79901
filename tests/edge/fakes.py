"""A scripted turn runner, and a site around it that real clients can call."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import uvloop

from gateway.core.budget import BudgetDefaults, TurnClass
from gateway.core.errors import ClassNotAllowed, Unauthenticated
from gateway.core.stages import Stage, TurnRecord, TurnTrail
from gateway.core.turn import (
    ModelInfo,
    Principal,
    TextDelta,
    ToolCallDelta,
    Turn,
    TurnEnd,
    TurnEvent,
    TurnFinish,
    Usage,
)
from gateway.edge.desk import Desk
from gateway.edge.http_app import build_http_app
from gateway.edge.http_server import HttpServer, bind_listener
from gateway.edge.realtime.live_session import SessionLimits
from gateway.edge.realtime.site import RealtimeSite
from gateway.edge.realtime.voices import Voices
from gateway.edge.realtime.websocket import REALTIME_PATH

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from gateway.session.surviving import SurvivingSessions

MODEL = ModelInfo(
    model_id="tiny",
    version="1",
    digest="0123456789abcdef" * 4,
    precision="int8",
    max_context_tokens=512,
    tools="any",
    aliases=("gpt-4o*", "lab[1]"),
)
KEY = "fh_test_secret"
END = TurnEnd(TurnFinish.STOP, Usage(prompt_tokens=7, completion_tokens=3, cached_tokens=2))
HELLO: tuple[TurnEvent, ...] = (TextDelta("Hel"), TextDelta("lo "), TextDelta("wörld"), END)
PAY = ToolCallDelta(0, "", "call_1", "pay_bill")


class Hold:
    """A script's step that never ends by itself."""


class Until:
    """A script's step that ends when the test sets `event`."""

    def __init__(self) -> None:
        self.event = threading.Event()


Step = TurnEvent | Exception | Hold | Until
WAIT_S = 30.0
"""How long a test waits for what must happen; only a failing one waits that long."""


@dataclass
class ScriptedRunner:
    """Plays `script` for every turn and notes what it was asked and how it was left."""

    script: Sequence[Step] = HELLO
    endless: TurnEvent | None = None
    """Repeated for ever after the script."""
    models: tuple[ModelInfo, ...] = (MODEL,)
    turns: list[Turn] = field(default_factory=list)
    num_running: int = 0
    num_yielded: int = 0
    started: queue.Queue[Turn] = field(default_factory=queue.Queue)
    """Every turn that began."""
    left: queue.Queue[bool] = field(default_factory=queue.Queue)
    """For every turn that ended: whether its script was played to the end."""

    async def check(self, turn: Turn) -> None:
        """Every turn can be played."""

    async def run(self, turn: Turn, trail: TurnTrail) -> AsyncGenerator[TurnEvent, None]:
        self.turns.append(turn)
        self.num_running += 1
        finished = False
        try:
            trail.site, trail.model = "edge-a", MODEL.full_name
            trail.path.append("edge-a")
            trail.clock.mark(Stage.PREFILL, time.monotonic())
            self.started.put(turn)
            for step in self.script:
                if isinstance(step, Hold):
                    await asyncio.Event().wait()
                elif isinstance(step, Until):
                    await asyncio.to_thread(step.event.wait, WAIT_S)
                elif isinstance(step, Exception):
                    raise step
                else:
                    self.num_yielded += 1
                    yield step
            while self.endless is not None:
                self.num_yielded += 1
                yield self.endless
                await asyncio.sleep(0)
            finished = True
        finally:
            self.num_running -= 1
            self.left.put(finished)


class Gate:
    """Lets everyone in, or only `KEY` when `keys_needed`; batch is granted to nobody."""

    keys_needed = False

    def authenticate(self, authorization: str | None) -> Principal:
        if self.keys_needed and authorization != f"Bearer {KEY}":
            raise Unauthenticated("this site does not know that key")
        return Principal("acme", "test")

    def admit(self, principal: Principal, turn_class: TurnClass) -> Gate:
        if turn_class is TurnClass.BATCH:
            raise ClassNotAllowed("batch", ("agent", "voice"))
        return self

    def charge_tokens(self, num_tokens: int) -> None:
        pass

    def release(self) -> None:
        pass


class Records:
    """Keeps the records of closed turns."""

    def __init__(self) -> None:
        self.queue: queue.Queue[TurnRecord] = queue.Queue()

    def record(self, record: TurnRecord) -> None:
        self.queue.put(record)

    def next(self) -> TurnRecord:
        return self.queue.get(timeout=WAIT_S)


class Site:
    """A desk behind a real HTTP server in a thread of its own."""

    def __init__(
        self,
        *,
        stall_limit_s: float,
        max_body_bytes: int,
        drain_timeout_s: float,
        max_connections: int,
        session_idle_s: float,
        max_sessions: int,
        call_grace_s: float,
        voices: Voices | None,
        surviving: SurvivingSessions | None,
    ) -> None:
        self.runner = ScriptedRunner()
        self.gate = Gate()
        self.records = Records()
        self.ready = True
        self.desk = Desk(
            runner=self.runner,
            gatekeeper=self.gate,
            sink=self.records,
            defaults=BudgetDefaults(),
            region="eu-north",
        )
        self.realtime = RealtimeSite(
            self.desk,
            voices=voices or _text_only(),
            limits=SessionLimits(idle_s=session_idle_s, grace_s=call_grace_s),
            max_sessions=max_sessions,
            max_starts_per_s=100.0,
            stall_limit_s=stall_limit_s,
            surviving=surviving,
        )
        self._app = build_http_app(
            self.desk,
            readiness=lambda: self.ready,
            max_body_bytes=max_body_bytes,
            stall_limit_s=stall_limit_s,
            routes=self.realtime.routes,
        )
        listener = bind_listener("127.0.0.1", 0)
        self.server = HttpServer(
            self._app,
            listener,
            drain_timeout_s=drain_timeout_s,
            max_connections=max_connections,
            websocket_paths=frozenset({REALTIME_PATH.encode()}),
            max_message_bytes=max_body_bytes,
        )
        self.loop: Future[asyncio.AbstractEventLoop] = Future()
        """On which the server runs."""
        self.port = self.server.port
        self.url = f"http://127.0.0.1:{self.port}"
        self.v1 = f"{self.url}/v1"

    def drain(self) -> None:
        """Drain desk and server, as a site that is told to end does."""

        async def drain() -> None:
            self.desk.drain()
            self.realtime.drain()
            self.server.drain()

        loop = self.loop.result(timeout=WAIT_S)
        asyncio.run_coroutine_threadsafe(drain(), loop).result(timeout=WAIT_S)

    def cut_off(self) -> None:
        """End the turns under way."""
        self.loop.result(timeout=WAIT_S).call_soon_threadsafe(self.desk.cut_off)

    def reset(self) -> None:
        """As new: the greeting as script, everyone let in, nothing recorded.

        Waits for turns of an earlier test, whose records would pass for this one's.
        """
        until_s = time.monotonic() + WAIT_S
        while self.desk.num_active and time.monotonic() < until_s:
            time.sleep(0.001)
        fresh = ScriptedRunner()
        self.runner = self.desk.runner = fresh
        self.gate.keys_needed = False
        self.records.queue = queue.Queue()
        self.ready = True
        self.desk.draining = False


def _text_only() -> Voices:
    voices = Voices()
    voices.lack("voice is off")
    return voices


@contextmanager
def serve(
    *,
    stall_limit_s: float = 30.0,
    max_body_bytes: int = 1 << 20,
    drain_timeout_s: float = 2.0,
    max_connections: int = 64,
    session_idle_s: float = 30.0,
    max_sessions: int = 16,
    call_grace_s: float = 30.0,
    voices: Voices | None = None,
    surviving: SurvivingSessions | None = None,
) -> Iterator[Site]:
    """A site that answers until the block is left; fails when its server does."""
    site = Site(
        stall_limit_s=stall_limit_s,
        max_body_bytes=max_body_bytes,
        drain_timeout_s=drain_timeout_s,
        max_connections=max_connections,
        session_idle_s=session_idle_s,
        max_sessions=max_sessions,
        call_grace_s=call_grace_s,
        voices=voices,
        surviving=surviving,
    )

    async def serve_all() -> None:
        async with asyncio.TaskGroup() as serving:
            calls = serving.create_task(site.realtime.calls.run())
            await site.server.serve()
            calls.cancel()

    def run() -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            site.loop.set_result(runner.get_loop())
            runner.run(serve_all())

    with ThreadPoolExecutor(1, thread_name_prefix="site") as threads:
        served = threads.submit(run)
        try:
            yield site
        finally:
            site.server.stop()
            served.result(timeout=WAIT_S)
