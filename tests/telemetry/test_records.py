"""The ring keeps the newest turns and finds them; every turn is recorded once, whoever fails."""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.batches import MAX_NUM_WAITING, RecordSink, TurnBatches
from gateway.telemetry.records import KeptTurn, RecordRing
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
    ring, now_ns = RecordRing(5), 1_800_000_000_000_000_000
    with closing(TurnBatches([turns.append])) as batches:
        sink = RecordSink([ring.keep], batches, monotonic=lambda: 101.5, wall_ns=lambda: now_ns)

        sink.record(answered(started_s=100.0))

        at_once = ring.find("turn-1")
    (turn,) = turns
    assert turn is at_once
    assert turn.started_ns == now_ns - 1_500_000_000
    assert turn.trace == TurnTrace.of("turn-1", 100.0)


def test_turns_are_recorded_in_order_without_anybody_asking() -> None:
    turns: list[KeptTurn] = []
    both_came = threading.Event()

    def note(turn: KeptTurn) -> None:
        turns.append(turn)
        if len(turns) == 2:
            both_came.set()

    with closing(TurnBatches([note])) as batches:
        for request_id in "ab":
            batches.put(kept("acme", request_id, 1))
        assert both_came.wait(10.0)
    assert [turn.record.request_id for turn in turns] == ["a", "b"]


def test_who_settles_finds_every_turn_recorded_once() -> None:
    turns: list[KeptTurn] = []
    given = [kept("acme", str(number), number) for number in range(500)]
    with closing(TurnBatches([turns.append])) as batches:
        for number, turn in enumerate(given, start=1):
            batches.put(turn)
            if number % 7 == 0:
                batches.settle()
                assert len(turns) == number
    assert turns == given


def test_what_waits_is_bounded() -> None:
    turns: list[KeptTurn] = []
    batches = TurnBatches([turns.append])
    batches.close()  # so that nothing is taken meanwhile
    for number in range(MAX_NUM_WAITING):
        batches.put(kept("acme", str(number), number))
    assert turns == []
    batches.put(kept("acme", "one too many", 1))
    assert len(turns) == MAX_NUM_WAITING + 1


def test_a_recorder_that_fails_is_logged_and_the_others_still_record(
    caplog: pytest.LogCaptureFixture,
) -> None:
    turns: list[KeptTurn] = []

    def broken(turn: KeptTurn) -> None:
        raise ValueError("broken")

    with caplog.at_level(logging.ERROR), closing(TurnBatches([broken, turns.append])) as batches:
        batches.put(KeptTurn(shed(), 1))

    assert len(turns) == 1
    (line,) = caplog.records
    assert line.getMessage() == "turn_record_failed"
    assert line.exc_info is not None
    assert line.__dict__["turn"] == "turn-2"
