"""Which turns go to the core tier, and what is said when it fails."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.budget import Budget, TurnClass
from gateway.core.errors import (
    ContextLengthExceeded,
    RegionNotAllowed,
    UnsupportedTools,
    UpstreamUnavailable,
)
from gateway.core.escalation import EscalationPolicy, EscalationReason
from gateway.core.stages import StageClock, TurnTrail
from gateway.core.turn import (
    Message,
    ModelInfo,
    Role,
    TextDelta,
    Turn,
    TurnEnd,
    TurnEvent,
    TurnFinish,
    Usage,
)
from gateway.session import phrases
from gateway.session.core_tier import CoreTier, TieredRunner

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

SITE = ModelInfo("care", "1", "ab" * 32, "int8", 512, "fixed:x")
CORE = ModelInfo("big", "", "", "", 0, "any")
END = TurnEnd(TurnFinish.STOP, Usage())


@dataclass
class Scripted:
    """A model that says its script, of the site or of the core."""

    models: tuple[ModelInfo, ...]
    script: Sequence[TurnEvent | Exception]
    budgets: list[Budget] = field(default_factory=list)
    num_turns: int = 0

    async def run(self, turn: Turn, trail: TurnTrail) -> AsyncGenerator[TurnEvent, None]:
        self.num_turns += 1
        for step in self.script:
            if isinstance(step, Exception):
                raise step
            yield step

    async def check(self, turn: Turn) -> None:
        if self.script and isinstance(self.script[0], Exception):
            raise self.script[0]

    def answer(
        self, turn: Turn, messages: Sequence[Message], budget: Budget, trail: TurnTrail
    ) -> AsyncGenerator[TurnEvent, None]:
        self.budgets.append(budget)
        return self.run(turn, trail)


class Bench:
    def __init__(
        self,
        *,
        site: Sequence[TurnEvent | Exception] = (TextDelta("site"), END),
        core: Sequence[TurnEvent | Exception] = (TextDelta("core"), END),
        policy: EscalationPolicy | None = None,
        path: Sequence[str] = (),
    ) -> None:
        self.site = Scripted((SITE,), site)
        self.relay = Scripted((CORE,), core)
        self.core = CoreTier(
            self.relay,  # type: ignore[arg-type] # a fake of what is used of it
            policy=policy or EscalationPolicy(),
            first_token_s=20.0,
            region="eu",
            monotonic=lambda: 1.0,
        )
        self.trail = TurnTrail("r", StageClock(0.0), path=list(path))

    def run(self, asked: Turn) -> list[TurnEvent]:
        return self._play(TieredRunner(self.site, self.core).run(asked, self.trail))

    def take_over(self, asked: Turn) -> list[TurnEvent]:
        return self._play(self.core.take_over(asked, self.trail))

    def _play(self, events: AsyncGenerator[TurnEvent, None]) -> list[TurnEvent]:
        async def scenario() -> list[TurnEvent]:
            async with aclosing(events):
                return [event async for event in events]

        return asyncio.run(scenario())


def turn(text: str = "hello", **fields: Any) -> Turn:
    messages = (Message(Role.USER, text),)
    return Turn(request_id="r", messages=messages, budget=Budget(0.0, 2.0), **fields)


def test_both_models_are_served_and_each_is_asked_by_its_name() -> None:
    bench = Bench()
    assert TieredRunner(bench.site, bench.core).models == (SITE, CORE)
    assert bench.run(turn()) == [TextDelta("site"), END]
    assert bench.trail.escalation == ""
    assert bench.run(turn(model="big")) == [TextDelta("core"), END]
    assert bench.trail.escalation == "model_requested"
    assert bench.relay.budgets == [Budget(1.0, 20.0)]


def test_a_long_conversation_is_escalated_when_configured() -> None:
    bench = Bench(policy=EscalationPolicy(above_chars=4))
    assert bench.run(turn()) == [TextDelta("core"), END]
    assert bench.trail.escalation == "prompt_size"


@pytest.mark.parametrize(
    "error", [UnsupportedTools("no"), ContextLengthExceeded(limit_tokens=1, given_tokens=2)]
)
def test_what_the_site_must_refuse_is_escalated_when_configured(error: Exception) -> None:
    bench = Bench(site=(error,), policy=EscalationPolicy(unsupported=True))
    assert bench.run(turn()) == [TextDelta("core"), END]
    assert bench.trail.escalation == "unsupported"
    with pytest.raises(type(error)):
        Bench(site=(error,)).run(turn())
    with pytest.raises(type(error)):
        Bench(site=(error,), policy=EscalationPolicy(unsupported=True)).run(turn(server_tools=True))


def test_an_escalated_turn_goes_no_further() -> None:
    policy = EscalationPolicy(above_chars=1, unsupported=True)
    bench = Bench(policy=policy, path=("edge-a",))
    assert bench.run(turn(model="big")) == [TextDelta("site"), END]
    with pytest.raises(UnsupportedTools):
        Bench(site=(UnsupportedTools("no"),), policy=policy, path=("edge-a",)).run(turn())
    assert bench.relay.num_turns == 0


def test_the_servers_tools_do_not_leave_the_site() -> None:
    with pytest.raises(UnsupportedTools, match="site's own model"):
        Bench().run(turn(model="big", server_tools=True))


def test_a_core_in_another_region_is_not_asked() -> None:
    bench = Bench()
    bench.trail.allowed_regions = ("us",)
    with pytest.raises(RegionNotAllowed, match="the core tier stands in 'eu'"):
        bench.run(turn(model="big"))
    assert bench.relay.num_turns == 0
    bench.trail.allowed_regions = ("us", "eu")
    assert bench.run(turn(model="big")) == [TextDelta("core"), END]


def test_whoever_asked_for_the_core_by_name_gets_its_error() -> None:
    bench = Bench(core=(UpstreamUnavailable("gone"),))
    with pytest.raises(UpstreamUnavailable):
        bench.run(turn(model="big"))


def test_the_assistant_hands_over() -> None:
    bench = Bench()
    assert bench.take_over(turn()) == [TextDelta("core"), END]
    assert (bench.trail.escalation, bench.trail.escalation_error) == ("assistant", "")


def test_a_caller_on_the_phone_is_told_to_wait() -> None:
    said = Bench().take_over(turn(turn_class=TurnClass.VOICE))
    assert said == [TextDelta(phrases.ONE_MOMENT, is_acknowledgement=True), TextDelta("core"), END]


@pytest.mark.parametrize(
    ("core", "told"),
    [
        ((UpstreamUnavailable("gone"),), [phrases.CORE_FAILED]),
        ((TextDelta("It is"), UpstreamUnavailable("gone")), ["It is", phrases.CORE_BROKE_OFF]),
    ],
)
def test_a_failed_hand_over_ends_in_one_honest_sentence(
    core: Sequence[TurnEvent | Exception], told: list[str]
) -> None:
    bench = Bench(core=core)
    events = bench.take_over(turn())
    assert events == [*(TextDelta(text) for text in told), END]
    assert bench.trail.escalation == EscalationReason.ASSISTANT
    assert bench.trail.escalation_error == "upstream_unavailable"


def test_a_hand_over_to_where_the_turn_may_not_go_is_said_too() -> None:
    bench = Bench()
    bench.trail.allowed_regions = ("us",)
    assert bench.take_over(turn())[0] == TextDelta(phrases.CORE_FAILED)
    assert bench.trail.escalation_error == "region_not_allowed"
    assert bench.relay.num_turns == 0


def test_a_start_is_checked_by_whoever_would_answer_it() -> None:
    refusing = (UnsupportedTools("no"),)

    def check(bench: Bench, asked: Turn) -> None:
        asyncio.run(TieredRunner(bench.site, bench.core).check(asked))

    check(Bench(site=refusing), turn(model="big"))
    check(Bench(site=refusing, policy=EscalationPolicy(unsupported=True)), turn())
    with pytest.raises(UnsupportedTools):
        check(Bench(site=refusing), turn())
    with pytest.raises(UnsupportedTools):
        check(Bench(), turn(model="big", server_tools=True))


def test_the_core_is_not_asked_before_the_caller_has_finished() -> None:
    bench = Bench()
    asked_at: list[int] = []

    async def until_certain() -> None:
        asked_at.append(bench.relay.num_turns)

    assert bench.take_over(turn(until_certain=until_certain)) == [TextDelta("core"), END]
    assert (asked_at, bench.relay.num_turns) == ([0], 1)
