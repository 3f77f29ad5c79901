"""Turns of the last days: found by whatever is known of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.telemetry.record_store import Pseudonyms, RecordStore, TurnQuery
from gateway.telemetry.records import KeptTurn
from gateway.telemetry.segment_log import LogBounds
from tests.telemetry.turns import answered, shed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

S_NS = 1_000_000_000
T0_NS = 1_790_000_000 * S_NS
BOUNDS = LogBounds(32 << 20, 7 * 86_400.0 * 10_000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RecordStore]:
    store = RecordStore(tmp_path, BOUNDS)
    yield store
    store.close()


def turn(number: int, **more: str) -> KeptTurn:
    record = msgspec.structs.replace(answered(request_id=f"turn-{number}"), **more)
    return KeptTurn(record, T0_NS + number * S_NS)


def test_turns_are_found_by_request_session_caller_and_time(store: RecordStore) -> None:
    given = [
        turn(1),
        turn(2, session="s-1", caller="anna"),
        turn(3, session="s-1", caller="anna"),
        turn(4, session="s-2", caller="anna"),
        turn(5, session="s-3", caller="bert"),
        KeptTurn(shed(request_id="turn-6"), T0_NS + 6 * S_NS),
    ]
    for one in given:
        store.keep(one)

    assert store.search(TurnQuery(request_id="turn-3")) == [given[2]]
    assert store.search(TurnQuery(session="s-1")) == [given[2], given[1]]
    assert store.search(TurnQuery(caller="anna", limit=2)) == [given[3], given[2]]
    assert store.search(TurnQuery(session="s-1", caller="bert")) == []
    between = TurnQuery(since_ns=T0_NS + 2 * S_NS, until_ns=T0_NS + 4 * S_NS)
    assert store.search(between) == [given[3], given[2], given[1]]
    assert store.search(TurnQuery(), lambda one: one.record.error != "") == [given[5]]
    assert store.search(TurnQuery(caller="")) == [], "who is not named is nobody's caller"


def test_a_record_from_disk_is_the_record(store: RecordStore) -> None:
    kept = turn(1, session="s", caller="c")
    store.keep(kept)
    (found,) = store.search(TurnQuery(request_id="turn-1"))
    assert found == kept
    assert found.trace == kept.trace


def test_pseudonyms_are_the_sites_own_and_stay(tmp_path: Path) -> None:
    first = Pseudonyms.of_site(tmp_path / "a")
    again, other = Pseudonyms.of_site(tmp_path / "a"), Pseudonyms.of_site(tmp_path / "b")
    name = first.of("acme", "+49 151 000")
    assert name == again.of("acme", "+49 151 000")
    assert len({name, other.of("acme", "+49 151 000"), first.of("beta", "+49 151 000")}) == 3
    assert "151" not in name
    assert (tmp_path / "a" / "pseudonyms.secret").stat().st_mode & 0o077 == 0


def test_without_a_disk_callers_have_pseudonyms_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    names = Pseudonyms.of_site(tmp_path / "file")
    assert len(names.of("acme", "anna")) == 16
