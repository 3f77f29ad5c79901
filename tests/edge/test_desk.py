"""What callers say of themselves is bounded before it is kept or passed on; what is charged."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import msgspec
import pytest

from gateway.core.budget import Budget, BudgetDefaults
from gateway.core.errors import InvalidRequest
from gateway.core.generation import GenerationRequest
from gateway.core.hops import MAX_NAME_CHARS, MAX_NUM_REGIONS, Hops
from gateway.core.load_report import MODEL_KEY_BYTES
from gateway.core.stages import Outcome
from gateway.core.turn import Message, Role, Turn
from gateway.edge.desk import Desk, Visit
from gateway.wire.peer_frames import Offer, caller_frames, encode
from tests.edge.fakes import Gate, Records, ScriptedRunner

PARENT = "-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TURN = Turn(request_id="r", messages=(Message(Role.USER, "hi"),), budget=Budget(0.0, None, None))


def desk_with(records: Records) -> Desk:
    return Desk(
        runner=ScriptedRunner(),
        gatekeeper=Gate(),
        sink=records,
        defaults=BudgetDefaults(),
        region="region-0",
    )


def offer_of(visit: Visit) -> Offer:
    request, trail = GenerationRequest("r", (5,), 1), visit.trail
    return Offer(
        1,
        request,
        None,
        Hops(),
        b"m" * MODEL_KEY_BYTES,
        1,
        trail.traceparent,
        regions=trail.allowed_regions,
    )


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (f"00{PARENT}", f"00{PARENT}"),
        (f"cc{PARENT}-what-the-future-will-be{'.' * 9_000}", f"00{PARENT}"),
        (f"00{PARENT}-{'.' * 9_000}", ""),
        ("nonsense" * 1_000, ""),
    ],
)
def test_any_callers_trace_context_fits_the_link_to_a_peer(given: str, kept: str) -> None:
    visit = desk_with(Records()).visit(interface="openai", traceparent=given)
    assert visit.trail.traceparent == kept
    assert caller_frames().read(encode([offer_of(visit)])) == [offer_of(visit)]


def test_as_many_regions_as_may_be_named_fit_the_link_to_a_peer() -> None:
    regions = [f"region-{number}".ljust(MAX_NAME_CHARS, "x") for number in range(MAX_NUM_REGIONS)]
    regions[0] = "region-0"
    visit = desk_with(Records()).visit(interface="openai")
    visit.keep_to_regions(", ".join(regions))
    assert caller_frames().read(encode([offer_of(visit)])) == [offer_of(visit)]
    for longer in (["another", *regions], [*regions[1:], "x" * (MAX_NAME_CHARS + 1)]):
        with pytest.raises(InvalidRequest, match="up to 64 regions"):
            visit.keep_to_regions(",".join(longer))


def test_what_was_begun_on_a_guess_costs_the_key_nothing() -> None:
    charged: list[int] = []

    class Meter(Gate):
        def charge_tokens(self, num_tokens: int) -> None:
            charged.append(num_tokens)

    async def run(*, is_certain: bool) -> None:
        with desk.visit(interface="realtime") as visit:
            visit.authenticate(None)
            visit.trail.is_certain = is_certain
            async with aclosing(visit.run(TURN)) as events:
                async for _ in events:
                    visit.trail.prompt_tokens = 7

    desk = desk_with(records := Records())
    desk.gatekeeper = Meter()
    asyncio.run(run(is_certain=False))
    asyncio.run(run(is_certain=True))
    assert [records.next().outcome for _ in range(2)] == [Outcome.DISCARDED, Outcome.ANSWERED]
    assert charged == [7]


def test_a_record_keeps_no_more_of_the_models_name_than_a_name() -> None:
    async def run(turn: Turn) -> None:
        with desk.visit(interface="openai") as visit:
            visit.authenticate(None)
            async with aclosing(visit.run(turn)) as events:
                async for _ in events:
                    continue

    desk = desk_with(records := Records())
    asyncio.run(run(msgspec.structs.replace(TURN, model="m" * 1_000_000)))
    assert records.next().requested_model == "m" * MAX_NAME_CHARS
