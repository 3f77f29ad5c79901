from math import inf
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.budget import TurnClass
from gateway.core.estimate import first_token_s
from gateway.core.generation import Backlog, EngineLoad
from gateway.core.load_report import SiteState
from gateway.core.peer_view import PeerView, Trust
from gateway.core.peers import Peers
from gateway.core.route_choice import Ask, Choice, Here, Reason, Verdict
from gateway.core.routing import Rules, choose, refusal
from gateway.core.stages import RouteDecision
from tests.core.grid_figures import FULL, IDLE, MODEL, peer, report

VOICE, AGENT, BATCH = range(3)
TEXT = Ask(AGENT, 100, 0.5)
NEVER = Rules(exploration_ratio=0.0)
PATIENT = Rules(exploration_ratio=0.0, overrun_ratio=1.25)


def here(state: SiteState = SiteState.READY) -> Here:
    site = Here("a", max_num_queued=64, region="north")
    site.state = state
    return site


def decide(
    *views: PeerView,
    load: EngineLoad = FULL,
    ask: Ask = TEXT,
    site: Here | None = None,
    rules: Rules = NEVER,
    seed: int = 1,
    now_s: float = 0.0,
) -> Choice:
    return choose(
        ask,
        load,
        site or here(),
        Peers(views),
        now_s=now_s,
        random=Random(seed).random,
        rules=rules,
    )


def test_what_fits_comfortably_here_looks_at_no_peer() -> None:
    choice = decide(peer("b"), load=IDLE)
    assert (choice.verdict, choice.reason, choice.considered) == (Verdict.HERE, Reason.FITS, ())


def test_without_a_free_slot_here_peers_are_looked_at_however_short_the_wait() -> None:
    nearly_done = msgspec.structs.replace(
        IDLE, num_active=IDLE.num_slots, prefill_s_per_token=1e-5, mean_remaining_tokens=1.0
    )
    assert first_token_s(nearly_done, TEXT.prompt_tokens, AGENT) < NEVER.comfort_s
    assert decide(peer("b"), load=nearly_done).considered


def test_what_is_late_here_goes_to_a_peer_in_which_it_fits() -> None:
    choice = decide(peer("b"))
    assert (choice.verdict, choice.reason) == (Verdict.PEER, Reason.SOONER)
    assert choice.peer is not None
    assert choice.peer.name == "b"
    assert choice.estimate_s == pytest.approx(0.12)


def test_the_sooner_of_two_is_taken_and_the_other_is_the_runner_up() -> None:
    near, far = peer("near"), peer("far", rtt_s=0.2)
    for seed in range(10):
        choice = decide(far, near, seed=seed)
        assert choice.peer is near
        assert choice.runner_up is far


def test_a_peer_that_costs_more_is_taken_only_if_it_saves_as_much() -> None:
    slower = peer("slower", rtt_s=0.1)
    assert decide(peer("dear", cost_s=0.2), slower).peer is slower
    assert decide(peer("dear", cost_s=0.05), slower).peer is not slower


def test_where_it_fits_in_both_a_peer_must_gain() -> None:
    uncomfortable = msgspec.structs.replace(
        IDLE, num_active=1, backlog=(Backlog(), Backlog(1, 60), Backlog())
    )
    estimate_s = first_token_s(uncomfortable, 100, AGENT)
    assert estimate_s < 0.2
    assert decide(peer("b", rtt_s=0.045), load=uncomfortable).verdict is Verdict.HERE
    assert decide(peer("b", rtt_s=0.01), load=uncomfortable).verdict is Verdict.PEER


def test_the_peer_with_the_prompts_beginning_is_always_among_those_looked_at() -> None:
    views = [peer(f"p{number}") for number in range(20)]
    ask = TEXT._replace(home="p7", home_tokens=90)
    for seed in range(10):
        choice = decide(*views, ask=ask, seed=seed)
        assert choice.peer is views[7]
        assert choice.estimate_s == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("view", "ask", "verdict"),
    [
        (peer("b"), TEXT._replace(not_at=("b",)), "visited"),
        (peer("b"), TEXT._replace(model=b"\x02" * 8), "other_model"),
        (peer("b", region="south"), TEXT._replace(regions=frozenset({"north"})), "other_region"),
        (peer("b"), TEXT._replace(sites=frozenset({"a", "c"})), "other_tenant"),
        (peer("b", state=SiteState.DRAINING), TEXT, "draining"),
        (peer("b", None), TEXT, "unknown"),
        (peer("b", FULL), TEXT, "over_budget"),
        (peer("b"), TEXT, "fits"),
    ],
    ids=["visited", "model", "region", "tenant", "draining", "unknown", "over budget", "fits"],
)
def test_hard_filters(view: PeerView, ask: Ask, verdict: str) -> None:
    choice = decide(view, ask=ask)
    assert [one.verdict for one in choice.considered] == [verdict]
    assert (choice.peer is view) == (verdict == "fits")


def test_the_right_model_and_region_pass() -> None:
    ask = TEXT._replace(model=MODEL, regions=frozenset({"south", "north"}))
    assert decide(peer("b", region="south"), ask=ask).verdict is Verdict.PEER


def test_a_peer_without_credit_gets_nothing() -> None:
    view = peer("b")
    view.take(
        report(seq=2, max_num_queued=0, load=msgspec.structs.replace(IDLE, num_active=4)), 0.0
    )
    assert [one.verdict for one in decide(view).considered] == ["no_credit"]


def test_credit_is_used_up_by_what_was_sent_since() -> None:
    view = peer("b", rtt_s=0.0)
    ask = Ask(VOICE, 100, 2.0)
    assert (
        decide(view, ask=ask, load=msgspec.structs.replace(FULL, available_in_s=9.0)).peer is view
    )
    view.book(TurnClass.VOICE, 600)
    choice = decide(view, ask=ask, load=msgspec.structs.replace(FULL, available_in_s=9.0))
    assert [one.verdict for one in choice.considered] == ["no_credit"]


def test_nobody_in_time_is_shed_with_the_best_estimate_there_was() -> None:
    choice = decide(peer("b", FULL, rtt_s=0.1), ask=TEXT)
    assert (choice.verdict, choice.reason) == (Verdict.SHED, Reason.NOTHING_FITS)
    assert choice.estimate_s == pytest.approx(first_token_s(FULL, 100, AGENT))


def test_work_that_may_wait_is_queued_and_voice_is_not() -> None:
    just_late_s = first_token_s(FULL, 100, AGENT) / 1.1
    late = TEXT._replace(remaining_s=just_late_s)
    assert decide(ask=late).verdict is Verdict.SHED
    assert decide(ask=late, rules=PATIENT).verdict is Verdict.QUEUED
    full = msgspec.structs.replace(
        IDLE, num_active=4, backlog=(Backlog(8, 800), Backlog(), Backlog())
    )
    voice = Ask(VOICE, 100, first_token_s(full, 100, VOICE) / 1.1)
    assert decide(load=full, ask=voice, rules=PATIENT).verdict is Verdict.SHED
    hopeless = TEXT._replace(remaining_s=just_late_s / 2)
    assert decide(ask=hopeless, rules=PATIENT).verdict is Verdict.SHED


def test_a_turn_that_has_begun_is_never_shed() -> None:
    for remaining_s in (0.0, 0.01, 0.3):
        ask = TEXT._replace(remaining_s=remaining_s, has_begun=True)
        assert decide(ask=ask).verdict is Verdict.QUEUED


def test_a_draining_site_sends_its_turns_to_others_or_sheds_them() -> None:
    draining = here(SiteState.DRAINING)
    assert decide(peer("b"), load=IDLE, site=draining).verdict is Verdict.PEER
    choice = decide(load=IDLE, site=draining)
    assert (choice.verdict, choice.reason) == (Verdict.SHED, Reason.DRAINING)


def test_a_turn_that_may_not_be_answered_here_leaves_or_is_shed() -> None:
    ask = TEXT._replace(regions=frozenset({"south"}))
    assert decide(peer("b", region="south"), load=IDLE, ask=ask).verdict is Verdict.PEER
    elsewhere = TEXT._replace(sites=frozenset({"b"}))
    assert decide(peer("b"), load=IDLE, ask=elsewhere).verdict is Verdict.PEER
    assert decide(load=IDLE, ask=elsewhere).reason is Reason.PLACE_NOT_ALLOWED
    begun = ask._replace(has_begun=True)
    assert decide(load=IDLE, ask=begun).reason is Reason.PLACE_NOT_ALLOWED


def test_without_hops_left_only_this_site_counts() -> None:
    choice = decide(peer("b"), ask=TEXT._replace(may_forward=False))
    assert (choice.verdict, choice.considered) == (Verdict.SHED, ())


def test_a_full_queue_here_is_a_reason_of_its_own() -> None:
    site = here()
    site.max_num_queued = 8
    ask = TEXT._replace(remaining_s=inf)
    assert decide(site=site, ask=ask).reason is Reason.QUEUE_FULL


def test_now_and_then_the_later_of_two_is_taken() -> None:
    near, far = peer("near"), peer("far", rtt_s=0.2)
    always = Rules(exploration_ratio=1.0)
    choice = decide(near, far, rules=always)
    assert (choice.peer, choice.reason) == (far, Reason.EXPLORED)
    assert decide(near, rules=always).reason is Reason.SOONER


def test_certain_goes_before_uncertain_and_uncertain_before_nothing() -> None:
    unsure = peer("unsure", rtt_s=0.01)
    for _ in range(300):
        unsure.residuals.add(AGENT, 0.1, 0.7)
    sure = peer("sure", rtt_s=0.2)
    for seed in range(5):
        assert decide(unsure, sure, seed=seed).peer is sure
    choice = decide(unsure)
    assert (choice.peer, choice.reason) == (unsure, Reason.UNCERTAIN)


def test_a_peer_that_was_full_a_while_ago_is_worth_asking_before_a_turn_is_shed() -> None:
    crowded = peer("b", FULL, trust=Trust(silent_after_s=inf))
    assert decide(crowded, now_s=0.1).verdict is Verdict.SHED
    choice = decide(crowded, now_s=2.0)
    assert (choice.peer, choice.reason) == (crowded, Reason.UNCERTAIN)
    assert (
        decide(crowded, peer("c", trust=Trust(silent_after_s=inf)), now_s=2.0).peer is not crowded
    )


def test_looking_stops_at_two_that_fit_however_many_there_are() -> None:
    views = [peer(f"p{number}") for number in range(200)]
    assert len(decide(*views).considered) == 2
    assert len(decide(*[peer(f"p{number}", FULL) for number in range(200)]).considered) == 200


def test_every_peer_is_drawn_about_as_often_as_any_other() -> None:
    views = [peer(f"p{number}") for number in range(10)]
    peers, random = Peers(views), Random(4).random
    drawn = [0] * 10
    for _ in range(4000):
        choice = choose(TEXT, FULL, here(), peers, now_s=0.0, random=random, rules=NEVER)
        for one in choice.considered:
            drawn[int(one.view.name[1:])] += 1
    assert all(700 <= count <= 900 for count in drawn)


def test_a_forwarded_turn_is_refused_where_it_does_not_fit_for_certain() -> None:
    site = here()
    busy = msgspec.structs.replace(IDLE, num_active=1)
    assert refusal(TEXT, busy, site) is None
    for _ in range(300):
        site.residuals.add(AGENT, 0.1, 0.7)
    assert refusal(TEXT, busy, site) is Reason.NOTHING_FITS
    assert refusal(TEXT, busy, site, is_last_resort=True) is None
    assert refusal(TEXT, FULL, site, is_last_resort=True) is Reason.NOTHING_FITS
    assert refusal(TEXT._replace(remaining_s=0.0), IDLE, site) is Reason.BUDGET_SPENT
    assert refusal(TEXT, IDLE, here(SiteState.DRAINING)) is Reason.DRAINING


def rechosen(decision: RouteDecision, rules: Rules) -> str:
    """The rule again, in other words, from the record alone."""
    mine, *others = decision.candidates
    for verdict in ("fits", "uncertain"):
        open_to_it = [one for one in others if one.reason == verdict]
        best = min(open_to_it, key=lambda one: one.predicted_s, default=None)
        if best is not None and (
            mine.reason != verdict or best.predicted_s + rules.gain_s < mine.predicted_s
        ):
            return best.site
        if mine.reason == verdict:
            return mine.site
    return ""


backlogs = st.builds(Backlog, st.integers(0, 40), st.integers(0, 3000))
loads = st.builds(
    lambda num_active, voice, agent: msgspec.structs.replace(
        IDLE, num_active=num_active, backlog=(voice, agent, Backlog())
    ),
    st.integers(0, 4),
    backlogs,
    backlogs,
)


@given(
    loads,
    st.lists(st.tuples(loads, st.floats(0.001, 0.3)), max_size=6),
    st.floats(0.0, 3.0),
    st.integers(1, 1000),
    st.sampled_from([VOICE, AGENT]),
    st.integers(0, 9),
)
def test_the_record_alone_gives_the_same_choice(
    load: EngineLoad,
    others: list[tuple[EngineLoad, float]],
    remaining_s: float,
    prompt_tokens: int,
    rank: int,
    seed: int,
) -> None:
    views = [peer(f"p{at}", there, rtt_s=rtt_s) for at, (there, rtt_s) in enumerate(others)]
    ask = Ask(rank, prompt_tokens, remaining_s)
    choice = decide(*views, load=load, ask=ask, seed=seed)
    record = choice.decision(ask, 3.0, 0.0)
    if remaining_s == 0.0:
        assert record.chosen == ""
    elif choice.considered:
        assert record.chosen == rechosen(record, NEVER)
    if choice.peer is not None:  # it may have worked off since what it last spoke of
        assert choice.estimate_s - choice.peer.age_s(0.0) <= remaining_s
    assert record.remaining_s == remaining_s
