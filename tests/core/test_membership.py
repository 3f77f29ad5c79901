from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.generation import EngineLoad
from gateway.core.load_report import Credits, report_load
from gateway.core.membership import (
    REMEMBERED_S,
    Ignored,
    Membership,
    SiteCard,
    SiteReport,
)

OWN = "edge-a"
LOAD = EngineLoad(0.0, 4, 0, 0.001, 0.010, 20.0, 20.0)


def report_of(site: str = "edge-b", epoch: int = 7, seq: int = 1) -> SiteReport:
    return SiteReport(SiteCard(site, epoch, "127.0.0.1:1"), seq)


def grid_of_one(**options: int) -> Membership:
    """edge-a's view, with edge-b there since 1.0."""
    membership = Membership(OWN, 5, **options)
    assert membership.appeared("edge-b", 7, 1.0)
    return membership


def test_a_site_is_there_until_it_vanishes_and_is_remembered_for_a_while() -> None:
    membership = grid_of_one()
    assert membership.reported("edge-b", 7, report_of(), 1.5)
    member = membership.vanished("edge-b", 7, 2.0)
    assert member
    assert (member.is_there, member.changed_s, member.report) == (False, 2.0, report_of())
    membership.forget(2.0 + REMEMBERED_S)
    assert membership.get("edge-b")
    membership.forget(2.1 + REMEMBERED_S)
    assert not membership.get("edge-b")
    assert not membership.ignored


def test_a_site_that_is_back_is_taken_at_its_new_word_only() -> None:
    membership = grid_of_one()
    membership.reported("edge-b", 7, report_of(seq=9), 1.5)
    membership.vanished("edge-b", 7, 2.0)
    member = membership.appeared("edge-b", 8, 3.0)
    assert member
    assert (member.epoch, member.report) == (8, None)
    assert not membership.reported("edge-b", 7, report_of(seq=10), 3.1)
    assert membership.reported("edge-b", 8, report_of(epoch=8), 3.2)


def test_one_that_stood_still_keeps_what_it_said() -> None:
    membership = grid_of_one()
    membership.reported("edge-b", 7, report_of(seq=9), 1.5)
    membership.vanished("edge-b", 7, 2.0)
    member = membership.appeared("edge-b", 7, 3.0)
    assert member
    assert member.report == report_of(seq=9)
    assert not membership.reported("edge-b", 7, report_of(seq=9), 3.1)
    assert membership.ignored == {Ignored.STALE: 1}


def test_a_name_stays_with_who_had_it_first() -> None:
    membership = grid_of_one()
    assert not membership.appeared("edge-b", 99, 2.0)
    assert not membership.reported("edge-b", 99, report_of(epoch=99), 2.1)
    assert membership.reported("edge-b", 7, report_of(), 2.2)
    assert membership.ignored == {Ignored.NAME_TAKEN: 2}
    member = membership.vanished("edge-b", 7, 3.0)
    assert member
    assert (member.is_there, member.epoch, member.report) == (True, 99, None)


def test_a_rival_that_gave_up_does_not_get_the_name() -> None:
    membership = grid_of_one()
    membership.appeared("edge-b", 99, 2.0)
    assert not membership.vanished("edge-b", 99, 2.5)
    member = membership.vanished("edge-b", 7, 3.0)
    assert member
    assert not member.is_there


def test_nobody_else_is_this_site() -> None:
    membership = Membership(OWN, 5)
    assert not membership.appeared(OWN, 5, 1.0)
    assert not membership.appeared(OWN, 6, 1.1)
    assert not membership.vanished(OWN, 6, 1.2)
    was_joined = membership.is_joined
    assert not membership.reported(OWN, 5, report_of(OWN, 5), 1.2)
    assert not membership.vanished(OWN, 5, 1.3)
    assert (was_joined, membership.is_joined) == (True, False)
    assert membership.ignored == {Ignored.OWN_NAME: 2}
    assert not list(membership)


@pytest.mark.parametrize("said", [report_of("edge-c"), report_of(epoch=8)])
def test_a_report_that_names_another_does_not_count(said: SiteReport) -> None:
    membership = grid_of_one()
    assert not membership.reported("edge-b", 7, said, 2.0)
    assert membership.ignored == {Ignored.WRONG_NAME: 1}


def test_figures_of_another_epoch_do_not_count() -> None:
    load = report_load(LOAD, now_s=0.0, epoch=6, seq=1, max_num_queued=1, credits=Credits())
    membership = grid_of_one()
    said = msgspec.structs.replace(report_of(), load=load)
    assert not membership.reported("edge-b", 7, said, 2.0)
    assert membership.ignored == {Ignored.WRONG_NAME: 1}


def test_who_is_not_there_is_not_heard() -> None:
    membership = Membership(OWN, 5)
    assert not membership.reported("edge-b", 7, report_of(), 1.0)
    assert not membership.vanished("edge-b", 7, 1.0)
    assert membership.ignored == {Ignored.NOT_THERE: 1}


def test_more_sites_than_can_be_are_not_seen() -> None:
    membership = grid_of_one(max_num_sites=1)
    assert not membership.appeared("edge-c", 1, 2.0)
    assert [member.site for member in membership] == ["edge-b"]
    assert membership.ignored == {Ignored.TOO_MANY: 1}


def test_who_is_gone_makes_room() -> None:
    membership = grid_of_one(max_num_sites=2)
    membership.appeared("edge-c", 1, 1.5)
    membership.vanished("edge-c", 1, 2.0)
    membership.vanished("edge-b", 7, 3.0)
    assert membership.appeared("edge-d", 1, 4.0)
    assert [member.site for member in membership] == ["edge-b", "edge-d"]
    assert not membership.ignored


_SITES, _EPOCHS = st.sampled_from([OWN, "edge-b", "edge-c"]), st.integers(1, 3)


@given(st.lists(st.tuples(st.sampled_from("+-r"), _SITES, _EPOCHS, st.integers(1, 5))))
def test_whatever_comes_a_name_has_one_holder_that_is_there(
    events: list[tuple[str, str, int, int]],
) -> None:
    membership = Membership(OWN, 1)
    there: set[tuple[str, int]] = set()
    for at_s, (kind, site, epoch, seq) in enumerate(events):
        match kind:
            case "+":
                membership.appeared(site, epoch, at_s)
                there.add((site, epoch))
            case "-":
                membership.vanished(site, epoch, at_s)
                there.discard((site, epoch))
            case _:
                membership.reported(site, epoch, report_of(site, epoch, seq), at_s)
        assert membership.is_joined == ((OWN, 1) in there)
        for member in membership:
            assert member.site != OWN
            if member.is_there:
                assert (member.site, member.epoch) in there
            if member.report:
                assert member.report.card.epoch == member.epoch
