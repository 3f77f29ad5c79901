"""A decision that was written down is made again, whatever the grid was like."""

from __future__ import annotations

from math import inf
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budget import TurnClass
from gateway.core.decision_record import DecisionRecord, choose_on_record, site_of
from gateway.core.generation import Backlog
from gateway.core.load_report import SiteState
from gateway.core.peers import Peers
from gateway.core.replay import replay
from gateway.core.route_choice import Ask, Here, Verdict
from gateway.core.routing import Rules
from tests.core.grid_figures import FULL, IDLE, MODEL, peer

if TYPE_CHECKING:
    from gateway.core.generation import EngineLoad
    from gateway.core.peer_view import PeerView
    from gateway.core.route_choice import Choice

AGENT = 1
NOW_S = 0.1
HERE = Here("a", max_num_queued=64, region="north")


def on_record(
    ask: Ask, load: EngineLoad, views: list[PeerView], seed: int = 1, here: Here = HERE
) -> tuple[Choice, DecisionRecord]:
    """The decision, and its record as it comes back from a file."""
    peers, chance = Peers(views), Random(seed)
    chance.shuffle(peers.shuffled)  # others were decided before
    choice, record = choose_on_record(
        "r", ask, load, here, peers, now_s=NOW_S, random=chance.random, rules=Rules()
    )
    kept = msgspec.msgpack.encode(record)
    return choice, msgspec.msgpack.decode(kept, type=DecisionRecord)


def never() -> float:
    raise AssertionError("all random numbers are on record")


loads = st.builds(
    lambda num_active, agents, tokens: msgspec.structs.replace(
        IDLE, num_active=num_active, backlog=(Backlog(), Backlog(agents, tokens), Backlog())
    ),
    st.integers(0, 4),
    st.integers(0, 80),
    st.integers(0, 3000),
)


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    return Ask(
        draw(st.integers(0, 2)),
        draw(st.integers(1, 600)),
        draw(st.sampled_from([0.0, 0.05, 0.2, 0.5, 2.0, inf])),
        model=draw(st.sampled_from([b"", MODEL, b"\x02" * 8])),
        regions=draw(st.sampled_from([None, frozenset({"north"}), frozenset({"south"})])),
        not_at=draw(st.sampled_from([(), ("b",), ("a", "c")])),
        may_forward=draw(st.booleans()),
        home=draw(st.sampled_from(["", "c"])),
        home_tokens=20,
    )


@st.composite
def views(draw: st.DrawFn) -> list[PeerView]:
    made = []
    for name in "bcdef"[: draw(st.integers(0, 5))]:
        view = peer(
            name,
            draw(st.sampled_from([IDLE, FULL, None])),
            rtt_s=draw(st.floats(0.001, 0.2)),
            region=draw(st.sampled_from(["north", "south"])),
            cost_s=draw(st.sampled_from([0.0, 0.05])),
            state=draw(st.sampled_from(list(SiteState))),
        )
        if draw(st.booleans()):
            view.book(TurnClass.AGENT, 200)
        for _ in range(draw(st.integers(0, 3))):
            view.answered(TurnClass.AGENT, 0.1, draw(st.floats(0.05, 1.0)), 0.05)
        match draw(st.sampled_from(["", "", "eject", "lose"])):
            case "eject":
                view.eject(0.0)
            case "lose":
                view.lost()
        made.append(view)
    return made


@given(asks(), loads, views(), st.integers(0, 10))
def test_the_same_rules_make_the_same_decision(
    ask: Ask, load: EngineLoad, peers: list[PeerView], seed: int
) -> None:
    choice, record = on_record(ask, load, peers, seed)
    again = record.again(Rules(), never)
    # As text, because the margin of a peer that never said anything is no number.
    assert str(again.decision(ask, 1.0, NOW_S)) == str(choice.decision(ask, 1.0, NOW_S))
    assert (again.verdict, again.estimate_s) == (choice.verdict, choice.estimate_s)
    assert (record.verdict, record.chosen) == (choice.verdict, site_of(choice))


def test_another_policy_decides_otherwise() -> None:
    load = msgspec.structs.replace(
        IDLE, num_active=3, backlog=(Backlog(), Backlog(0, 150), Backlog())
    )
    ask = Ask(AGENT, 100, 0.5)
    _, stayed = on_record(ask, IDLE, [peer("b")])
    _, went = on_record(ask, load, [peer("b")])
    assert (stayed.verdict, went.verdict) == (Verdict.HERE, Verdict.PEER)
    found = replay([stayed, went], Rules(gain_s=10.0), Random(1).random)
    assert (found.num_decisions, found.num_reproduced) == (2, 2)
    assert (found.before, found.after) == (
        {Verdict.HERE: 1, Verdict.PEER: 1},
        {Verdict.HERE: 2},
    )
    (change,) = found.changes
    assert (change.site_before, change.site_after) == ("b", "a")
    assert change.estimate_after_s > change.estimate_before_s
    assert found.mean_estimate_after_s == pytest.approx(
        (stayed.estimate_s + change.estimate_after_s) / 2
    )


def test_what_was_shed_has_no_site_and_counts_in_no_mean() -> None:
    _, record = on_record(Ask(0, 500, 0.05), FULL, [])
    assert (record.verdict, record.chosen) == (Verdict.SHED, "")
    found = replay([record], Rules(), never)
    assert (found.mean_estimate_before_s, found.mean_estimate_after_s) == (None, None)
    assert found.changes == []


def test_a_policy_that_draws_more_gets_more_numbers() -> None:
    _, record = on_record(Ask(AGENT, 100, 0.5), IDLE, [peer("b"), peer("c")])
    assert record.draws == ()
    eager = Rules(comfort_s=0.0, gain_s=-10.0)
    assert record.again(eager, Random(1).random).verdict is Verdict.PEER
