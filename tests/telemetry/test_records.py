"""The ring keeps the newest turns and finds them; one recorder's failure stops no other."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.records import KeptTurn, RecordFanOut, RecordRing
from gateway.telemetry.trace_context import TurnTrace
from tests.telemetry.turns import answered, shed

if TYPE_CHECKING:
    import pytest


ANSWERED = answered()


TENANTS = ("acme", "globex")
NAMES = [(tenant, request_id) for tenant in TENANTS for request_id in "abc"]


def kept(tenant: str, request_id: str, started_ns: int) -> KeptTurn:
    record = msgspec.structs.replace(ANSWERED, tenant=tenant, request_id=request_id)
    return KeptTurn(record, started_ns)


@given(st.integers(1, 6), st.lists(st.sampled_from(NAMES), max_size=20))
def test_the_ring_holds_the_newest_turns_and_finds_the_newest_of_each_id_and_tenant(
    max_num_turns: int, names: list[tuple[str, str]]
) -> None:
    ring = RecordRing(max_num_turns)
    turns = [kept(*name, index) for index, name in enumerate(names)]
    for turn in turns:
        ring.keep(turn)

    newest = turns[-max_num_turns:]
    assert list(ring.newest_first()) == newest[::-1]
    assert len(ring) == len(newest)
    for request_id in "abc":
        of_id = [turn for turn in newest if turn.record.request_id == request_id]
        assert ring.find(request_id) is (of_id[-1] if of_id else None)
        for tenant in TENANTS:
            of_both = [turn for turn in of_id if turn.record.tenant == tenant]
            assert ring.find(request_id, tenant=tenant) is (of_both[-1] if of_both else None)


def test_a_record_gets_its_wall_clock_start_when_it_arrives() -> None:
    turns: list[KeptTurn] = []
    sink = RecordFanOut(
        [turns.append], monotonic=lambda: 101.5, wall_ns=lambda: 1_800_000_000_000_000_000
    )

    sink.record(answered(started_s=100.0))

    (turn,) = turns
    assert turn.started_ns == 1_800_000_000_000_000_000 - 1_500_000_000
    assert turn.trace == TurnTrace.of("turn-1", 100.0)


def test_a_recorder_that_fails_is_logged_and_the_others_still_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    turns: list[KeptTurn] = []

    def broken(turn: KeptTurn) -> None:
        raise ValueError("broken")

    sink = RecordFanOut([broken, turns.append])
    with caplog.at_level(logging.ERROR):
        sink.record(shed())

    assert len(turns) == 1
    (line,) = caplog.records
    assert line.getMessage() == "turn_record_failed"
    assert line.exc_info is not None
    assert line.__dict__["turn"] == "turn-2"
