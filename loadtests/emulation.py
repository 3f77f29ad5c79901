"""How close an emulated accelerator keeps to its profile, seen from the other end of the socket.

All times are those at which frames of the real worker process arrive: of prompts alone, of one
row that decodes, of a full batch, and of steps that decode some rows beside a new prompt.

    python -m loadtests.emulation [PROFILE]

Exits with 1 when the run does not count or leaves its bounds.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import uvloop

from gateway.config.site import SHIPPED_MODEL
from gateway.core.errors import ConfigError, GatewayError
from gateway.core.generation import GenerationRequest, Sampling, TokenFrame
from gateway.engine.client import EngineClient
from gateway.engine.frames import Start
from gateway.engine.step_profiles import PREFIX, load_profile
from loadtests.command_line import parser_for
from loadtests.facts import conclude, percentile, verdict
from loadtests.host import HostGuard
from loadtests.priority import CLIENTS, hurry

if TYPE_CHECKING:
    from gateway.core.step_time import StepTimes

PROMPT_TOKENS, ANSWER_TOKENS = 64, 100
"""A prompt of one chunk."""
SHORT_TOKENS = 16
"""A prompt that is never cut."""
NUM_ROUNDS = 30
NUM_ROWS, NUM_BESIDE = 8, 4
WINDOW_STEPS = 6
"""Steps around a new prompt: which of them its prefill falls into, a client does not see."""
P50_BOUND_MS, P99_BOUND_MS = 1.0, 3.0


class Seen(NamedTuple):
    """One generation."""

    sent_s: float
    instants_s: list[float]
    """When each token arrived."""

    def num_before(self, at_s: float) -> int:
        """How many tokens had arrived by then."""
        return bisect_right(self.instants_s, at_s)


class Bench:
    """An engine, what its steps should take, and by how much they were off, in seconds."""

    def __init__(self, engine: EngineClient, times: StepTimes) -> None:
        self.errors_s: dict[str, list[float]] = {
            "prefill": [],
            "decode_step": [],
            "batch_step": [],
            "mixed_steps": [],
        }
        self._engine = engine
        self._times = times
        self.num_missed = 0
        """Rounds of `mixed` whose prompt did not meet decoding rows, and say nothing."""
        self._num_asked = 0

    async def generate(self, num_prompt: int = PROMPT_TOKENS) -> Seen:
        """A generation whose prompt is in no cache."""
        self._num_asked += 1
        rng = random.Random(self._num_asked)
        prompt = tuple(rng.randrange(3, 1000) for _ in range(num_prompt))
        request = GenerationRequest(
            str(self._num_asked), prompt, ANSWER_TOKENS, Sampling(temperature=0.0)
        )
        seen = Seen(time.monotonic(), [])
        async for event in self._engine.generate(request):
            if isinstance(event, TokenFrame):
                seen.instants_s.extend([time.monotonic()] * len(event.ids))
        return seen

    async def alone(self) -> None:
        """One generation."""
        seen = await self.generate()
        expected_s = self._times.prefill_s(PROMPT_TOKENS, 0)
        self.errors_s["prefill"].append(seen.instants_s[0] - seen.sent_s - expected_s)
        self._take_steps("decode_step", [seen])

    async def batch(self) -> None:
        """As many as the engine has rows, together."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.generate()) for _ in range(NUM_ROWS)]
        self._take_steps("batch_step", [task.result() for task in tasks])

    async def mixed(self) -> None:
        """A short prompt that comes while some rows decode."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.generate()) for _ in range(NUM_BESIDE)]
            await asyncio.sleep(self._mixed_after_s())
            late = group.create_task(self.generate(SHORT_TOKENS))
        rows, new = [task.result() for task in tasks], late.result()
        instants_s = rows[0].instants_s
        first = rows[0].num_before(new.sent_s) - 1
        last = first + WINDOW_STEPS
        whole = first >= 0 and last < len(instants_s)
        if not whole or not new.sent_s <= new.instants_s[0] <= instants_s[last]:
            self.num_missed += 1
            return
        expected_s = self._times.prefill_s(SHORT_TOKENS, 0)
        for before_s in instants_s[first:last]:
            decoding = [*rows, new] if new.num_before(before_s) else rows
            expected_s += self._decode_s(decoding, before_s)
        self.errors_s["mixed_steps"].append(instants_s[last] - instants_s[first] - expected_s)

    def _mixed_after_s(self) -> float:
        """When all rows decode and still have much to say."""
        prefill_s = NUM_BESIDE * self._times.prefill_s(PROMPT_TOKENS, 0)
        step_s = self._times.decode_s(NUM_BESIDE, NUM_BESIDE * PROMPT_TOKENS)
        return prefill_s + step_s * ANSWER_TOKENS / 4

    def _take_steps(self, kind: str, rows: list[Seen]) -> None:
        """Each step while all rows decode, timed at the first of them."""
        begun_s = max(row.instants_s[0] for row in rows)
        over_s = min(row.instants_s[-1] for row in rows)
        for before_s, after_s in pairwise(rows[0].instants_s):
            if begun_s <= before_s and after_s <= over_s:
                self.errors_s[kind].append(after_s - before_s - self._decode_s(rows, before_s))

    def _decode_s(self, rows: list[Seen], at_s: float) -> float:
        context = sum(PROMPT_TOKENS + row.num_before(at_s) - 1 for row in rows)
        return self._times.decode_s(len(rows), context)


async def measured(times: StepTimes, start: Start, guard: HostGuard) -> Bench:
    """By how much each run was off the profile."""
    async with EngineClient(start) as engine, guard.watching_loop("loop of the client"):
        bench = Bench(engine, times)
        guard.start()
        for _ in range(NUM_ROUNDS):
            await bench.alone()
            await bench.batch()
            await bench.mixed()
    guard.stop()
    return bench


def against_bounds(errors: list[float]) -> dict[str, Any]:
    """Percentiles of the error's size, in ms, against the bounds."""
    if not errors:
        return {"n": 0, "met": False}
    sizes = [abs(error) * 1e3 for error in errors]
    p50, p99 = percentile(sizes, 0.5), percentile(sizes, 0.99)
    return {
        "n": len(sizes),
        "p50": round(p50, 3),
        "p99": round(p99, 3),
        "max": round(max(sizes), 3),
        "met": p50 <= P50_BOUND_MS and p99 <= P99_BOUND_MS,
    }


def main() -> int:
    """Run it and save the result."""
    parser = parser_for("emulation", __doc__)
    parser.add_argument("profile", nargs="?", default="cpu-2core")
    profile = parser.parse_args().profile
    try:
        times = load_profile(profile)
    except ConfigError as error:
        parser.error(str(error))
    start = Start(
        str(SHIPPED_MODEL),
        num_slots=NUM_ROWS,
        accelerator=PREFIX + profile,
        frame_interval_s=0.0,
    )
    guard = HostGuard()
    hurry(CLIENTS)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            bench = runner.run(measured(times, start, guard))
    except* GatewayError as errors:
        raise SystemExit(f"emulation: {errors.exceptions[0]}") from errors
    figures = {name: against_bounds(values) for name, values in bench.errors_s.items()}
    late = [f"{bench.num_missed} of {NUM_ROUNDS} prompts came when no rows decoded"]
    faults = [*guard.faults(), *(late if 2 * bench.num_missed > NUM_ROUNDS else [])]
    missed = [f"{name} leaves its bounds" for name, figure in figures.items() if not figure["met"]]
    return conclude(
        "emulation",
        None,
        {
            "command": f"python -m loadtests.emulation {profile}",
            "profile": profile,
            "error_ms": figures,
            "bounds_ms": {"p50": P50_BOUND_MS, "p99": P99_BOUND_MS},
            "host": guard.row(),
            "num_missed_moments": bench.num_missed,
            **verdict(faults, missed=missed),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
