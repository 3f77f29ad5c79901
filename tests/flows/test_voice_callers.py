"""Callers of a whole site when things go wrong: full lines, killed processes, lost networks."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.session import phrases
from loadtests.local_site import running_site, wait_until
from tests.flows.site_callers import LIMIT_S, Refused, SiteCaller, pacing, recorded
from tests.flows.test_realtime_faults import children, kill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtests.local_site import SiteProcess

pytestmark = pytest.mark.voice
NUM_LINES = 2
NUM_CALLERS = 10 * NUM_LINES
NUM_SPARE = 16


@pytest.fixture(scope="module")
def small_site(
    echo_bundle: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SiteProcess]:
    """A site with two lines."""
    with running_site(
        tmp_path_factory.mktemp("small"),
        "--model",
        str(echo_bundle),
        FIRSTHOP_REALTIME_MAX_SESSIONS=str(NUM_LINES),
        FIRSTHOP_VOICE_CALLS_PER_S="1000",
    ) as site:
        yield site


def lines_in_use(site: SiteProcess) -> int:
    """Told once a second."""
    found = re.search(r'^firsthop_voice_lines\{.*worker="0".*\} (\S+)', site.metrics(), re.M)
    return int(float(found[1])) if found else -1


async def is_heard(caller: SiteCaller, since_s: float = 0.0) -> None:
    """Until something audible has come."""
    async with asyncio.timeout(LIMIT_S):
        while caller.heard_from(since_s) is None:
            await caller.news()


async def first_taken(site: SiteProcess) -> SiteCaller:
    """Call until a call is taken: a worker is starting."""
    while True:
        with suppress(Refused):
            caller = SiteCaller(site)
            await caller.dial()
            return caller


def test_of_ten_times_more_callers_than_lines_nobody_is_met_with_silence(
    small_site: SiteProcess,
) -> None:
    async def call() -> None:
        callers = [SiteCaller(small_site) for _ in range(NUM_CALLERS)]
        answers: list[str] = []
        refusals: list[Refused] = []
        for caller in callers:
            try:
                answers.append(await caller.place("/whip?notice=false"))
            except Refused as refused:
                refusals.append(refused)
        assert [(r.status, r.error["code"]) for r in refusals] == [(503, "lines_busy")] * (
            NUM_CALLERS - NUM_LINES - NUM_SPARE
        )
        served, told = callers[:NUM_LINES], callers[NUM_LINES : NUM_LINES + NUM_SPARE]
        async with asyncio.timeout(LIMIT_S):
            async with asyncio.TaskGroup() as connecting:
                for caller, answer in zip(callers, answers, strict=False):
                    connecting.create_task(caller.connect(answer))
            for caller in served:
                await caller.told("session.created")
            for caller in told:
                assert (await caller.told("error"))["error"]["code"] == "lines_busy"
                await is_heard(caller)
        wait_until(lambda: lines_in_use(small_site) == NUM_LINES, "they were hung up on")
        for caller in served:
            assert await caller.hang_up() == 200
        wait_until(lambda: lines_in_use(small_site) == 0, "all lines are free")
        for caller in callers:
            if caller.location:
                caller.close()

    asyncio.run(call())


def test_a_caller_whose_recogniser_is_killed_is_asked_to_repeat(small_site: SiteProcess) -> None:
    said = recorded("pay my bill")

    async def call() -> None:
        caller = SiteCaller(small_site)
        await caller.dial()
        async with pacing(caller):
            await caller.told("session.created")
            caller.say(said)
            await caller.told("input_audio_buffer.speech_started")
            kill(small_site, "gateway.speech.worker")
            asked = await caller.told("response.output_audio_transcript.done")
            assert asked["transcript"] == phrases.SAY_AGAIN
            await is_heard(caller)
            await caller.told("output_audio_buffer.stopped")
            wait_until(lambda: len(children(small_site, "gateway.speech.worker")) == 2, "back")
            answer = ""
            while answer != "pay my bill":  # the model of this site repeats what it is told
                caller.forget()
                caller.say(said)
                done = await caller.told("response.output_audio_transcript.done")
                answer = done["transcript"]
                await caller.told("output_audio_buffer.stopped")
        assert await caller.hang_up() == 200
        caller.close()

    asyncio.run(call())


def test_a_call_goes_on_from_another_network_with_its_conversation(
    small_site: SiteProcess,
) -> None:
    async def call() -> None:
        caller = SiteCaller(small_site)
        await caller.dial()
        async with asyncio.timeout(LIMIT_S):
            await caller.told("session.created")
            content = [{"type": "input_text", "text": "good morning"}]
            item = {"id": "mine", "type": "message", "role": "user", "content": content}
            caller.write("conversation.item.create", item=item)
            await caller.told("conversation.item.done")
            await caller.dial_again()
            caller.write("conversation.item.retrieve", item_id="mine")
            kept = await caller.told("conversation.item.retrieved")
            assert kept["item"]["content"] == [{"type": "input_text", "text": "good morning"}]
            caller.write("response.create")
            done = await caller.told("response.output_audio_transcript.done")
            assert done["transcript"] == "good morning"
            await is_heard(caller)
        sessions = [event for _, event in caller.events if event["type"] == "session.created"]
        assert len(sessions) == 1
        assert await caller.hang_up() == 200
        caller.close()

    asyncio.run(call())


def test_a_killed_voice_worker_ends_its_calls_and_carries_new_ones(
    small_site: SiteProcess,
) -> None:
    async def call() -> None:
        for _ in range(NUM_LINES + 1):  # each ended call gives its place back
            caller = SiteCaller(small_site)
            await caller.dial()
            await caller.told("session.created")
            kill(small_site, "gateway.media.worker")
            async with asyncio.timeout(LIMIT_S):
                while await caller.hang_up() != 404:
                    continue  # the site has still to notice
            caller.close()
            async with asyncio.timeout(LIMIT_S):
                again = await first_taken(small_site)
                await again.told("session.created")
            assert await again.hang_up() == 200
            again.close()

    asyncio.run(call())


MAX_GROWTH = 0.15
"""Of a process's memory. Two hundred calls that were kept would be 0.4; less than this is what
collector and allocator have not given back yet."""


@pytest.mark.parametrize(
    ("num_warm", "num_calls"), [(20, 40), pytest.param(60, 200, marks=pytest.mark.soak)]
)
def test_many_calls_leave_nothing_behind(
    small_site: SiteProcess, num_warm: int, num_calls: int
) -> None:
    def processes() -> list[int]:
        workers = children(small_site, "gateway.media.worker")
        return [small_site.process.pid, *workers, *children(small_site, "gateway.speech.worker")]

    def held() -> list[tuple[int, ...]]:
        """Threads and open files of each process."""
        folders = [Path(f"/proc/{pid}") for pid in processes()]
        return [tuple(len(list((at / of).iterdir())) for of in ("task", "fd")) for at in folders]

    def call_many(num: int) -> None:
        async def main() -> None:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(NUM_LINES):
                    tasks.create_task(_call_and_leave(small_site, num // NUM_LINES))

        asyncio.run(main())
        wait_until(lambda: lines_in_use(small_site) == 0, "all calls are over")

    call_many(num_warm)
    before, before_bytes = held(), [_pss_bytes(pid) for pid in processes()]
    call_many(num_calls)
    wait_until(lambda: held() == before, f"no more files and threads than before: {before}")
    after_bytes = [_pss_bytes(pid) for pid in processes()]
    growth = [now / then - 1 for now, then in zip(after_bytes, before_bytes, strict=True)]
    assert max(growth) < MAX_GROWTH, growth


async def _call_and_leave(site: SiteProcess, num_times: int) -> None:
    """Each time another call; every tenth is told that an AI speaks, so that its mouth works."""
    for number in range(num_times):
        caller = SiteCaller(site)
        notice = number % 10 == 0
        await caller.dial(f"/v1/realtime/calls?notice={str(notice).lower()}")
        async with asyncio.timeout(LIMIT_S):
            await caller.told("output_audio_buffer.started" if notice else "session.created")
            assert await caller.hang_up() == 200
            caller.close()
            while await caller.hang_up() != 404:
                continue  # the line is still closing


def _pss_bytes(pid: int) -> int:
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(1024 * int(row.split()[1]) for row in rows if row.startswith("Pss:"))
