"""How close an emulated accelerator keeps to its profile, seen from the other end of the socket.

Single generations run one after the other in the real worker process. Their decode steps are
timed where their frames arrive; a prefill is what its first frame says it took, because the way
through the socket to the worker is not the accelerator's.

    python -m loadtests.emulation [PROFILE]
"""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import uvloop

from gateway.config.site import SHIPPED_MODEL
from gateway.core.generation import GenerationRequest, Sampling, TokenFrame
from gateway.engine.client import EngineClient
from gateway.engine.frames import Start
from gateway.engine.step_profiles import PREFIX, load_profile
from loadtests.command_line import parser_for
from loadtests.facts import percentile, save, verdict
from loadtests.host import HostGuard

if TYPE_CHECKING:
    from gateway.core.step_time import StepTimes

PROMPT_TOKENS, ANSWER_TOKENS = 64, 100
"""A prompt of one chunk."""
NUM_GENERATIONS = 30
P50_BOUND_MS, P99_BOUND_MS = 1.0, 3.0


async def generate(engine: EngineClient) -> tuple[float, list[float]]:
    """How long the prefill took, and when each token arrived."""
    prompt = tuple(range(3, 3 + PROMPT_TOKENS))
    request = GenerationRequest("e", prompt, ANSWER_TOKENS, Sampling(temperature=0.0))
    prefill_s, instants = 0.0, []
    async for event in engine.generate(request):
        if isinstance(event, TokenFrame):
            prefill_s += event.prefill_s
            instants += [time.monotonic()] * len(event.ids)
    return prefill_s, instants


async def errors_s(times: StepTimes, start: Start, guard: HostGuard) -> dict[str, list[float]]:
    """By how much each run was off the profile."""
    prefill: list[float] = []
    decode: list[float] = []
    async with EngineClient(start) as engine, guard.watching_loop("loop of the client"):
        guard.start()
        for _ in range(NUM_GENERATIONS):
            prefill_s, instants = await generate(engine)
            prefill.append(prefill_s - times.prefill_s(PROMPT_TOKENS, 0))
            for step, (before_s, after_s) in enumerate(pairwise(instants)):
                decode.append(after_s - before_s - times.decode_s(1, PROMPT_TOKENS + step))
    guard.stop()
    return {"prefill": prefill, "decode_step": decode}


def against_bounds(errors: list[float]) -> dict[str, Any]:
    """Percentiles of the error's size, in ms, against the bounds."""
    sizes = [abs(error) * 1e3 for error in errors]
    p50, p99 = percentile(sizes, 0.5), percentile(sizes, 0.99)
    return {
        "n": len(sizes),
        "p50": round(p50, 3),
        "p99": round(p99, 3),
        "max": round(max(sizes), 3),
        "met": p50 <= P50_BOUND_MS and p99 <= P99_BOUND_MS,
    }


def main() -> None:
    """Run it and save the result."""
    parser = parser_for("emulation", __doc__)
    parser.add_argument("profile", nargs="?", default="cpu-2core")
    profile = parser.parse_args().profile
    start = Start(str(SHIPPED_MODEL), accelerator=PREFIX + profile, frame_interval_s=0.0)
    guard = HostGuard()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        errors = runner.run(errors_s(load_profile(profile), start, guard))
    save(
        "emulation",
        None,
        {
            "command": f"python -m loadtests.emulation {profile}",
            "profile": profile,
            "error_ms": {name: against_bounds(values) for name, values in errors.items()},
            "bounds_ms": {"p50": P50_BOUND_MS, "p99": P99_BOUND_MS},
            "host": guard.row(),
            **verdict(guard.faults()),
        },
    )


if __name__ == "__main__":
    main()
