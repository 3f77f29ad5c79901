"""``python -m loadtests.clients.process PLAN SAMPLES``: one open-loop client.

    in:   START (monotonic instant)      out:  ready, then done and the loop's lags, s
          stop: nothing more is sent, and what is under way does not count

A thread of its own waits for each request's instant, because an event loop's timers round to a
millisecond; the loop only carries the requests. Samples are written to a file once all have ended.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvloop
import zstandard

from gateway.core.errors import SiteDraining
from gateway.runtime.loop_lag import watch_loop_lag
from loadtests.clients.caller import Fate, caller
from loadtests.clients.plan import Plan, Sample
from loadtests.command_line import parser_for
from loadtests.orphan import end_with_parent
from loadtests.priority import CLIENTS, hurry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtests.clients.caller import Caller
    from loadtests.clients.plan import Ask


class OpenLoop:
    """Sends every request when it is due and notes what became of it."""

    def __init__(self, plan: Plan, caller: Caller) -> None:
        self.samples: list[Sample] = []
        self._plan = plan
        self._caller = caller
        self._start_s = 0.0
        self._num_open = 0
        self._stop = threading.Event()

    async def run(self, start_s: float) -> None:
        """From `start_s` on the monotonic clock until the last request has ended.

        Cancelled, it gives up what is under way; the samples are of what had ended.
        """
        self._start_s = start_s
        loop = asyncio.get_running_loop()
        all_sent = asyncio.Event()
        async with asyncio.TaskGroup() as group:

            def send(ask: Ask) -> None:
                if not self._stop.is_set():
                    group.create_task(self._one(ask))

            def wait_and_send() -> None:
                hurry(CLIENTS)
                for ask in self._plan.asks:
                    if self._stop.wait(0) or not self._wait_until(start_s + ask.due_s):
                        return
                    loop.call_soon_threadsafe(send, ask)
                loop.call_soon_threadsafe(all_sent.set)

            clock = threading.Thread(target=wait_and_send, name="clock", daemon=True)
            clock.start()
            try:
                await all_sent.wait()
            finally:
                self._stop.set()
                clock.join()

    def _wait_until(self, due_s: float) -> bool:
        """Sleep to the instant; False when the run was given up meanwhile."""
        while (left_s := due_s - time.monotonic()) > 0:
            time.sleep(min(left_s, 0.5))
            if self._stop.is_set():
                return False
        return True

    async def _one(self, ask: Ask) -> None:
        sent_s = time.monotonic()
        if self._num_open >= self._plan.max_num_open:
            fate = Fate("failed", code="client_full")
        else:
            self._num_open += 1
            try:
                fate = await self._ask(ask)
            finally:
                self._num_open -= 1
        first_s = None if fate.first_s is None else fate.first_s - self._start_s
        self.samples.append(
            Sample(
                ask,
                sent_s - self._start_s,
                fate.outcome,
                time.monotonic() - self._start_s,
                first_s,
                *fate[2:],
            )
        )

    async def _ask(self, ask: Ask) -> Fate:
        try:
            async with asyncio.timeout(self._plan.time_limit_s):
                return await self._ask_around(ask)
        except TimeoutError:
            return Fate("failed", code="client_timeout")
        except (OSError, EOFError) as error:
            return Fate("failed", code=f"connection_{type(error).__name__.lower()}")
        # Whatever else one answer brings about is that request's fate, not that of all others.
        except Exception as error:  # noqa: BLE001
            return Fate("failed", code=f"client_{type(error).__name__.lower()}")

    async def _ask_around(self, ask: Ask) -> Fate:
        """At the request's target, and at those after it while nobody is there."""
        num_targets = len(self._plan.targets)
        num_more = num_targets - 1 if self._plan.turns_elsewhere else 0
        while True:
            try:
                fate = await self._caller.ask(ask)
            except (OSError, EOFError):
                if not num_more:
                    raise
            else:
                if fate.code != SiteDraining.code or not num_more:
                    return fate
            num_more -= 1
            ask = msgspec.structs.replace(ask, target=(ask.target + 1) % num_targets)


def write_samples(path: Path, samples: Sequence[Sample]) -> None:
    """As lines of JSON, compressed with Zstandard."""
    encoder = msgspec.json.Encoder()
    with zstandard.open(path, "wb") as lines:
        for sample in samples:
            lines.write(encoder.encode(sample) + b"\n")


def read_samples(path: Path) -> list[Sample]:
    """What `write_samples` wrote."""
    decoder = msgspec.json.Decoder(Sample)
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as lines:
        return decoder.decode_lines(lines.read())


async def _serve(plan: Plan) -> tuple[list[Sample], list[float]]:
    """The samples, and how late the loop's timers were while requests were under way."""
    connected = caller(plan)
    await connected.open()
    gc.freeze()  # a full collection takes milliseconds
    print("ready", flush=True)
    start = await asyncio.to_thread(sys.stdin.readline)
    if not start:
        return [], []
    loop = OpenLoop(plan, connected)
    lags_s: list[float] = []
    told = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch_loop_lag(lags_s.append))
        running = group.create_task(loop.run(float(start)))
        told.add_reader(sys.stdin.fileno(), running.cancel)
        await asyncio.wait([running])
        told.remove_reader(sys.stdin.fileno())
        watching.cancel()
    await connected.close()
    return loop.samples, lags_s


def main() -> int:
    """Run one plan. Ends at once when whoever started it ends."""
    parser = parser_for("clients.process", __doc__)
    parser.add_argument("plan", type=Path, help="a Plan, as MessagePack")
    parser.add_argument("samples", type=Path, help="where its samples go")
    args = parser.parse_args()
    end_with_parent()
    hurry(CLIENTS, children_too=True)
    try:
        plan = msgspec.msgpack.decode(args.plan.read_bytes(), type=Plan)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            samples, lags_s = runner.run(_serve(plan))
    except (OSError, msgspec.DecodeError) as error:
        print(f"client: {error}", file=sys.stderr)
        return 1
    try:
        write_samples(args.samples, samples)
    except OSError as error:
        print(f"client: {args.samples}: {error.strerror}", file=sys.stderr)
        return 1
    print("done", msgspec.json.encode(lags_s).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
