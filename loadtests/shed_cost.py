"""What a shed request costs the site process, in CPU time.

Requests whose budget cannot be met are sent over kept-alive connections; the CPU time of the site
process before and after gives the cost of one, everything included: HTTP, authentication, the
decision, the refusal and its record. Two kinds: `hopeless` turns, for which the engine's backlog
alone is too much (what overload sheds), and `prompt_too_long` ones, which are only refused once
their prompt has been rendered and tokenised.

    python -m loadtests.shed_cost
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from loadtests.command_line import parser_for
from loadtests.facts import save, verdict
from loadtests.host import HostGuard
from loadtests.local_site import running_site
from loadtests.sse_client import SseConnection

if TYPE_CHECKING:
    from loadtests.local_site import SiteProcess

NUM_CONNECTIONS = 16
NUM_REQUESTS = 125
"""Per connection and round."""
INTERVAL_S = 0.04
"""Between the requests of a connection: the host keeps time for what it measures."""
NUM_ROUNDS = 5
TARGET_MS = 0.5
BODY = {
    "stream": True,
    "messages": [
        {"role": "user", "content": "hello, I have a question about my last bill"},
        {"role": "assistant", "content": "Of course. What would you like to know?"},
        {"role": "user", "content": "why is it so much more than the one before"},
    ],
}


BUDGETS_MS = {"hopeless": "0.1", "prompt_too_long": "3"}


async def shed(port: int, count: int, budget_ms: str) -> int:
    """Send requests with a budget that cannot be met; how many were shed."""
    connection = await SseConnection.open("127.0.0.1", port)
    num_shed = 0
    began_s = time.monotonic()
    for place in range(count):
        await asyncio.sleep(began_s + place * INTERVAL_S - time.monotonic())
        answer = await connection.chat(BODY, {"x-slo-ttft-ms": budget_ms})
        num_shed += answer.status == 503
    connection.close()
    return num_shed


async def measure(site: SiteProcess, budget_ms: str) -> list[float]:
    """CPU milliseconds of the site per shed request, by round; the first is warm-up."""
    costs_ms = []
    for _ in range(NUM_ROUNDS + 1):
        before_s = site.cpu_s()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(shed(site.port_base, NUM_REQUESTS, budget_ms))
                for _ in range(NUM_CONNECTIONS)
            ]
        num_shed = sum(task.result() for task in tasks)
        if num_shed != NUM_CONNECTIONS * NUM_REQUESTS:
            raise SystemExit(f"only {num_shed} were shed")
        costs_ms.append((site.cpu_s() - before_s) * 1e3 / num_shed)
    return costs_ms[1:]


async def run(site: SiteProcess, guard: HostGuard) -> dict[str, list[float]]:
    """The costs of every kind, sorted."""
    async with guard.watching_loop("loop of the client"):
        return {kind: sorted(await measure(site, ms)) for kind, ms in BUDGETS_MS.items()}


def main() -> None:
    """Run it and save the result."""
    parser_for("shed_cost", __doc__).parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_site(Path(folder)) as site,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        guard = HostGuard(sites={"site": site.metrics})
        costs_ms = runner.run(run(site, guard))
        guard.stop()
    save(
        "shed_cost",
        None,
        {
            "requests_per_round": NUM_CONNECTIONS * NUM_REQUESTS,
            "requests_per_s": NUM_CONNECTIONS / INTERVAL_S,
            "cpu_ms_per_shed_request": {kind: _summary(all_) for kind, all_ in costs_ms.items()},
            "host": guard.row(),
            **verdict(guard.faults()),
        },
    )


def _summary(costs_ms: list[float]) -> dict[str, Any]:
    median_ms = costs_ms[len(costs_ms) // 2]
    return {
        "median": round(median_ms, 4),
        "rounds": [round(cost, 4) for cost in costs_ms],
        "target": TARGET_MS,
        "met": median_ms <= TARGET_MS,
    }


if __name__ == "__main__":
    main()
