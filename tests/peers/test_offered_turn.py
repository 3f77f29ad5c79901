"""How long a turn waits for a peer that lives and says nothing of it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gateway.core.budget import TurnClass
from gateway.core.generation import GenerationRequest, TokenFrame
from gateway.core.stages import StageClock, TurnTrail
from gateway.peers.offered_turn import OfferedTurn
from gateway.wire.peer_frames import BEAT_INTERVAL_S, Accept
from tests.peers.grid import VOCAB_SIZE, request_of

AGENT = request_of()
BATCH = msgspec.structs.replace(AGENT, turn_class=TurnClass.BATCH)
DUE = msgspec.structs.replace(AGENT, first_token_deadline_s=30.0)
"""At 30 s on the clock on which each look is `BEAT_INTERVAL_S` after the last."""


def offered(request: GenerationRequest, *path: str) -> OfferedTurn:
    turn = OfferedTurn(request, TurnTrail("r", StageClock(0.0)), vocab_size=VOCAB_SIZE)
    turn.receive_accept(Accept(1, path))
    asyncio.run(turn.next())
    return turn


def given_up_after_s(turn: OfferedTurn) -> float:
    looks = range(1, 1000)
    return next(n for n in looks if turn.is_stalled(n * BEAT_INTERVAL_S)) * BEAT_INTERVAL_S


@pytest.mark.parametrize(
    ("request_", "path", "after_s"),
    [
        (AGENT, ("edge-b",), 4.0),
        (AGENT, ("edge-b", "edge-c"), 8.0),
        (BATCH, ("edge-b",), 60.0),
        (DUE, ("edge-b",), 30.25),
        (msgspec.structs.replace(DUE, first_token_deadline_s=0.1), ("edge-b",), 1.0),
    ],
)
def test_a_turn_waits_so_long(
    request_: GenerationRequest, path: tuple[str, ...], after_s: float
) -> None:
    assert given_up_after_s(offered(request_, *path)) == after_s


def test_after_the_first_token_its_deadline_is_no_reason_to_wait() -> None:
    turn = offered(DUE, "edge-b")
    turn.receive_tokens(TokenFrame(0, (7,)))
    asyncio.run(turn.next())
    assert not turn.is_stalled(0.0)
    assert given_up_after_s(turn) == 4.0


def test_who_does_not_read_waits_for_nobody() -> None:
    turn = offered(AGENT, "edge-b")
    turn.receive_tokens(TokenFrame(0, (7,)))
    assert not any(turn.is_stalled(number) for number in range(1000))
