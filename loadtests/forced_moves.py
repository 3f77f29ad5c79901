"""A thousand running streams moved by force: what of them is lost, and what their callers notice.

Callers stream answers from one of three sites. Again and again its capacity is taken for a moment
and the links to its peers are broken, so that what runs goes on at another site. Every answer is
compared, token for token, with the one of a site that was left alone. What a move adds is the
pause in which it falls, less the usual time between two chunks: the way to the new site, the
prefill and, where streams are taken up exactly, a decode step for every token that is out. The
limit holds for those that are taken up fast; none may lose, double or alter a token.

    python -m loadtests.forced_moves
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import uvloop

from gateway.engine.step_profiles import load_profile
from loadtests.cable import Cable
from loadtests.command_line import at_least, parser_for
from loadtests.facts import conclude, percentile, summary_ms, verdict
from loadtests.host import HostGuard
from loadtests.local_grid import running_grid
from models.make_tiny import write_tiny_bundle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtests.local_site import SiteProcess

NUM_MOVES = 1000
NUM_CALLERS = 8
ANSWER_TOKENS = 400
PROFILE = "rtx-pro-6000"
PAUSE_S = 0.35
"""Between two deeds: a stream finds its new place before it loses that one too."""
MAX_BESIDES_S = 0.050
"""What a move may add to the round trip and the prefill."""
SEED = 1


class Caller:
    """Asks one thing over and over, and compares."""

    def __init__(self, site: SiteProcess, client: httpx.AsyncClient, text: str) -> None:
        self._site = site
        self._client = client
        self._body = {
            "messages": [{"role": "user", "content": text}],
            "max_tokens": ANSWER_TOKENS,
            "temperature": 0,
            "stream": True,
        }
        self.expected = ""
        self.num_answers = self.num_altered = self.num_failed = self.num_moves = 0
        self.added_s: list[float] = []

    async def learn(self) -> None:
        """The answer that nobody disturbs."""
        self.expected, _, _ = await self._answer()

    async def ask(self) -> None:
        """One answer; how it was moved, its record says."""
        try:
            text, gaps_s, request_id = await self._answer()
        except httpx.HTTPError as error:
            print(f"failed: {error!r}")
            self.num_failed += 1
            return
        record = await self._client.get(f"{self._site.admin}/v1/requests/{request_id}")
        num_moves = record.json()["num_resumes"]
        self.num_answers += 1
        self.num_altered += text != self.expected
        self.num_moves += num_moves
        usual_s = percentile(gaps_s, 0.5)
        longest_s = sorted(gaps_s, reverse=True)[:num_moves]
        self.added_s += [gap_s - usual_s for gap_s in longest_s]

    async def _answer(self) -> tuple[str, list[float], str]:
        """The text, the pauses between its chunks, and the request's id. Raises HTTPError."""
        texts: list[str] = []
        came_s: list[float] = []
        url, headers = f"{self._site.http}/v1/chat/completions", {"x-slo-ttft-ms": "20000"}
        async with self._client.stream("POST", url, json=self._body, headers=headers) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                if "error" in chunk:
                    raise httpx.RemoteProtocolError(str(chunk["error"]))
                texts += [choice["delta"].get("content") or "" for choice in chunk["choices"]]
                came_s.append(time.monotonic())
        gaps_s = [later - sooner for sooner, later in itertools.pairwise(came_s)]
        return "".join(texts), gaps_s, answer.headers["x-request-id"]


async def disturb(entry: SiteProcess, client: httpx.AsyncClient, cables: Sequence[Cable]) -> None:
    """Move what runs, in every way by turns, until cancelled."""
    while True:
        for ratio in (0.0, 1.0):
            await client.post(f"{entry.admin}/v1/capacity", params={"ratio": ratio})
        await asyncio.sleep(PAUSE_S)
        for cable in cables:
            cable.snap()
            await asyncio.sleep(PAUSE_S)


async def run(entry: SiteProcess, cables: Sequence[Cable], num_moves: int) -> dict[str, Any]:
    """Ask and disturb until so many moves were made."""
    async with httpx.AsyncClient(timeout=60.0) as client:
        callers = [Caller(entry, client, f"number {k} ...") for k in range(NUM_CALLERS)]
        for caller in callers:
            await caller.learn()

        async def keep_asking(caller: Caller) -> None:
            while sum(one.num_moves for one in callers) < num_moves:
                await caller.ask()

        async with asyncio.TaskGroup() as tasks:
            disturbing = tasks.create_task(disturb(entry, client, cables))
            async with asyncio.TaskGroup() as asking:
                for caller in callers:
                    asking.create_task(keep_asking(caller))
            disturbing.cancel()
    return figures(callers)


def figures(callers: Sequence[Caller]) -> dict[str, Any]:
    """What became of all answers."""
    added_s = [one for caller in callers for one in caller.added_s]
    times = load_profile(PROFILE)
    replay_s = ANSWER_TOKENS * times.decode_s(NUM_CALLERS, NUM_CALLERS * ANSWER_TOKENS)
    num_altered = sum(caller.num_altered for caller in callers)
    num_failed = sum(caller.num_failed for caller in callers)
    limit_s = times.prefill_s(ANSWER_TOKENS, 0) + MAX_BESIDES_S
    return {
        "moves": sum(caller.num_moves for caller in callers),
        "answers": sum(caller.num_answers for caller in callers),
        "altered": num_altered,
        "failed": num_failed,
        "added_gap_ms": summary_ms(added_s, SEED),
        "limit_ms": limit_s * 1e3,
        "longest_replay_ms": replay_s * 1e3,
    }


def main() -> int:
    """Run it and save the result; 1 when it does not count or misses a target."""
    parser = parser_for("forced_moves", __doc__)
    parser.add_argument("--moves", type=at_least(1), default=NUM_MOVES, metavar="N")
    args = parser.parse_args()
    guard = HostGuard()
    modes = {mode: measure(mode, args.moves) for mode in ("exact", "fast")}
    guard.stop()
    is_unharmed = not any(one["altered"] or one["failed"] for one in modes.values())
    is_soon = modes["fast"]["added_gap_ms"]["p99"] <= modes["fast"]["limit_ms"]
    body = {**modes, "met": is_unharmed and is_soon, "host": guard.row()}
    return conclude("forced_moves", SEED, body | verdict(guard.faults()))


def measure(resume: str, num_moves: int) -> dict[str, Any]:
    """One grid whose sites take streams up in this way (`model.resume`)."""
    with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cables: dict[tuple[str, str], Cable] = {}

        def dialled(caller: str, called: str, port: int) -> int:
            cable = cables[caller, called] = stack.enter_context(Cable.to(port))
            return cable.port

        bundle = write_tiny_bundle(folder / "tiny")
        grid = running_grid(
            folder,
            *("--model", str(bundle), "--accelerator", f"emulated:{PROFILE}"),
            dialled=dialled,
            FIRSTHOP_MODEL_RESUME=resume,
        )
        sites = stack.enter_context(grid)
        own = [cable for (caller, _), cable in cables.items() if caller == "edge-a"]
        return runner.run(run(sites["edge-a"], own, num_moves))


if __name__ == "__main__":
    sys.exit(main())
