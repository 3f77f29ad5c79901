"""The live driver; and that a script decides the same live and simulated."""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import TYPE_CHECKING

import pytest

from gateway.core.budget import TurnClass
from gateway.core.step_time import Curve, StepTimes
from gateway.runtime import driver as live
from loadtests.sim import events as simulated
from loadtests.sim.engine import Submit
from loadtests.sim.site import Site, SiteEffect, SiteSpec
from tests.runtime.jumping_loop import JumpingLoop

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TIMES = StepTimes(
    name="test",
    decode=Curve((1, 2), (0.007, 0.008)),
    decode_s_per_context_token=0.0,
    prefill=Curve((1, 11), (0.0045, 0.0095)),
    prefill_s_per_pair=0.0,
    is_measured=False,
)
SPEC = SiteSpec("test", num_slots=2, chunk_tokens=16, max_num_queued=4)

SCRIPT: list[tuple[float, Submit]] = [
    (0.012, Submit(0, 20, 12, TurnClass.VOICE, 0.5)),
    (0.014, Submit(1, 40, 30, TurnClass.AGENT, 2.0)),
    (0.051, Submit(2, 10, 4, TurnClass.VOICE, 0.151)),  # no slot: shed at once
    (0.053, Submit(3, 10, 4, TurnClass.BATCH, None)),  # no slot: waits
    (0.091, Submit(4, 10, 4, TurnClass.VOICE, 0.9)),  # overtakes it
    (0.093, Submit(5, 4000, 4, TurnClass.VOICE, 0.593)),  # a hopeless prompt
    (0.411, Submit(6, 16, 1, TurnClass.VOICE, 0.9)),
]


def simulate(script: Sequence[tuple[float, Submit]]) -> list[SiteEffect]:
    effects: list[SiteEffect] = []
    events = simulated.Events()
    driver = simulated.Driver(events, Site(SPEC, TIMES), effects.append)
    for at_s, event in script:
        events.at(at_s, driver.tell, event)
    events.run()
    return effects


async def play(
    script: Sequence[tuple[float, Submit]], num_effects: int, monotonic: Callable[[], float]
) -> list[SiteEffect]:
    """The script through the live driver, on the running loop's clock."""
    effects: list[SiteEffect] = []
    all_done = asyncio.Event()

    def perform(effect: SiteEffect) -> None:
        effects.append(effect)
        if len(effects) >= num_effects:
            all_done.set()

    driver = live.Driver(Site(SPEC, TIMES), perform, monotonic=monotonic)
    running = asyncio.Task(driver.run())
    for at_s, event in script:
        await asyncio.sleep(at_s - monotonic())
        driver.tell(event)
    async with asyncio.timeout(30.0):
        await all_done.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    return effects


def decisions(effects: Sequence[SiteEffect]) -> list[tuple[object, ...]]:
    """What was decided for whom, in order, without the instants."""
    return [(type(e).__name__, e.key, getattr(e, "reason", "")) for e in effects]


def test_the_script_has_all_kinds_of_decisions() -> None:
    kinds = {kind for kind, *_ in decisions(simulate(SCRIPT))}
    assert kinds == {"FirstToken", "Ended", "Shed"}
    assert {e.key for e in simulate(SCRIPT) if type(e).__name__ == "Shed"} == {2, 5}


def test_a_script_decides_the_same_live_and_simulated_in_virtual_time() -> None:
    expected = simulate(SCRIPT)
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        clock = runner.get_loop().time
        effects = runner.run(play(SCRIPT, len(expected), clock))
    assert decisions(effects) == decisions(expected)
    assert [e.at_s for e in effects] == pytest.approx([e.at_s for e in expected], abs=1e-6)


def test_a_script_decides_the_same_on_the_real_clock() -> None:
    """Instants differ by what the machine is late; who is admitted and who comes first do not."""
    script = [
        (0.02, Submit(0, 16, 10, TurnClass.VOICE, 5.0)),
        (0.20, Submit(1, 4000, 4, TurnClass.VOICE, 0.7)),
        (0.25, Submit(2, 16, 3, TurnClass.AGENT, 5.0)),
    ]
    expected = simulate(script)
    begun_s = time.monotonic()
    effects = asyncio.run(play(script, len(expected), lambda: time.monotonic() - begun_s))
    assert decisions(effects) == decisions(expected)


class Alarm:
    """Wakes at the instants it was told, and says when that was."""

    def __init__(self) -> None:
        self.wake_at_s = inf

    def receive(self, event: float, now_s: float) -> tuple[str, ...]:
        self.wake_at_s = event
        return ("armed",)

    def wake(self, now_s: float) -> tuple[str, ...]:
        self.wake_at_s = inf
        return (f"rang {now_s:.3f}",)


def test_a_timer_moved_nearer_while_waiting_fires_then() -> None:
    async def scene() -> list[str]:
        heard: list[str] = []
        driver = live.Driver(Alarm(), heard.append, monotonic=asyncio.get_running_loop().time)
        running = asyncio.Task(driver.run())
        driver.tell(50.0)
        await asyncio.sleep(1.0)
        driver.tell(2.0)
        await asyncio.sleep(10.0)
        running.cancel()
        return heard

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        assert runner.run(scene()) == ["armed", "armed", "rang 2.000"]


def test_a_due_timer_comes_before_an_event() -> None:
    clock_s = [0.0]
    heard: list[str] = []

    async def scene() -> None:
        driver = live.Driver(Alarm(), heard.append, monotonic=lambda: clock_s[0])
        driver.tell(1.0)
        clock_s[0] = 1.5
        driver.tell(3.0)

    asyncio.run(scene())
    assert heard == ["armed", "rang 1.500", "armed"]


def test_effects_of_an_event_told_while_performing_come_after_those_waiting() -> None:
    class Pair:
        wake_at_s = inf

        def receive(self, event: str, now_s: float) -> tuple[str, ...]:
            return (f"{event}1", f"{event}2")

        def wake(self, now_s: float) -> tuple[str, ...]:
            return ()

    heard: list[str] = []

    async def scene() -> None:
        def perform(effect: str) -> None:
            heard.append(effect)
            if effect == "a1":
                driver.tell("b")

        driver = live.Driver(Pair(), perform)
        driver.tell("a")

    asyncio.run(scene())
    assert heard == ["a1", "a2", "b1", "b2"]


def test_a_failure_on_waking_ends_run() -> None:
    class Broken(Alarm):
        def wake(self, now_s: float) -> tuple[str, ...]:
            raise ArithmeticError("broken")

    async def scene() -> None:
        driver = live.Driver(Broken(), print, monotonic=asyncio.get_running_loop().time)
        driver.tell(1.0)
        await driver.run()

    with (
        asyncio.Runner(loop_factory=JumpingLoop) as runner,
        pytest.raises(ArithmeticError, match="broken"),
    ):
        runner.run(scene())
