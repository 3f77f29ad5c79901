import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.core.budget import TurnClass
from gateway.core.estimate import estimate_first_token_s
from gateway.core.generation import CLASS_RANK, SERVICE_ORDER, Backlog
from gateway.core.load_report import NOTHING_RECEIVED, ByClass, Received, SiteState, with_turn
from gateway.core.peer_view import PeerView, Trust
from gateway.core.peers import Peers
from tests.core.grid_figures import FULL, IDLE, peer, report

ROOMY = msgspec.structs.replace(IDLE, num_slots=10_000)
VOICE, AGENT, BATCH = (CLASS_RANK[turn_class] for turn_class in SERVICE_ORDER)


def test_the_estimate_of_a_peer_is_its_own_estimate_and_the_round_trip() -> None:
    for load in (IDLE, FULL):
        view = peer("b", load, rtt_s=0.03)
        for turn_class, rank in CLASS_RANK.items():
            there_s = estimate_first_token_s(load, 100, turn_class)
            assert view.estimate_s(rank, 100) == pytest.approx(there_s + 0.03, abs=1e-5)


def test_what_was_sent_and_not_yet_reported_is_work_ahead_of_its_class_and_later_ones() -> None:
    view = peer("b")
    before = [view.estimate_s(rank, 100) for rank in (VOICE, AGENT, BATCH)]
    view.book(TurnClass.AGENT, 200)
    after = [view.estimate_s(rank, 100) for rank in (VOICE, AGENT, BATCH)]
    assert after[VOICE] == before[VOICE]
    assert after[AGENT] == pytest.approx(before[AGENT] + 0.2)
    assert after[BATCH] == pytest.approx(before[BATCH] + 0.2)
    view.unbook(TurnClass.AGENT, 200)
    assert [view.estimate_s(rank, 100) for rank in (VOICE, AGENT, BATCH)] == before


def test_turns_sent_to_a_peer_without_free_slots_wait_for_slots_too() -> None:
    full = msgspec.structs.replace(IDLE, num_active=4)
    view = peer("b", full)
    before_s = view.estimate_s(AGENT, 100)
    view.book(TurnClass.AGENT, 0)
    assert view.estimate_s(AGENT, 100) == pytest.approx(before_s + 20 * 0.010 / 4, abs=1e-5)


def test_a_free_slot_costs_those_sent_there_nothing() -> None:
    view = peer("b", msgspec.structs.replace(IDLE, num_active=2))
    before_s = view.estimate_s(AGENT, 100)
    view.book(TurnClass.AGENT, 0)
    assert view.estimate_s(AGENT, 100) == before_s
    view.book(TurnClass.AGENT, 0)
    assert view.estimate_s(AGENT, 100) > before_s


def test_a_report_that_has_seen_a_turn_replaces_its_booking() -> None:
    view = peer("b")
    view.book(TurnClass.AGENT, 200)
    received = with_turn(NOTHING_RECEIVED, TurnClass.AGENT, 200)
    busy = msgspec.structs.replace(
        IDLE, num_active=1, backlog=(Backlog(), Backlog(0, 120), Backlog())
    )
    view.take(report(busy, seq=2, received=received), 0.1)
    expected_s = 0.02 + estimate_first_token_s(busy, 100, TurnClass.AGENT)
    assert view.estimate_s(AGENT, 100) == pytest.approx(expected_s, abs=1e-5)


def test_the_highest_epoch_and_sequence_counts() -> None:
    view = peer("b")
    assert view.take(report(FULL, seq=5), 0.2)
    for old in (report(IDLE, seq=5), report(IDLE, seq=4), report(IDLE, epoch=0, seq=9)):
        assert not view.take(old, 0.3)
    assert view.take(report(IDLE, epoch=2, seq=1), 0.4)


def test_a_restarted_peer_has_lost_what_it_was_sent() -> None:
    view = peer("b")
    idle_s = view.estimate_s(AGENT, 100)
    view.book(TurnClass.AGENT, 500)
    view.take(report(epoch=2), 0.5)
    assert view.estimate_s(AGENT, 100) == pytest.approx(idle_s)
    view.book(TurnClass.AGENT, 500)
    assert view.estimate_s(AGENT, 100) == pytest.approx(idle_s + 0.5)


def test_a_new_connection_accounts_anew() -> None:
    view = peer("b")
    idle_s = view.estimate_s(AGENT, 100)
    view.book(TurnClass.AGENT, 500)
    view.lost()
    assert view.health(0.1) == "lost"
    view.connected(1, 0.2)
    assert view.health(0.2) == ""
    view.take(report(seq=2), 0.2)
    assert view.estimate_s(AGENT, 100) == pytest.approx(idle_s)


def test_a_peer_whose_clock_was_set_back_is_believed_again() -> None:
    view = peer("b", FULL)
    view.take(report(FULL, epoch=9, seq=5), 0.1)
    view.lost()
    view.connected(3, 0.2)
    assert view.health(0.2) == "unknown"
    assert view.take(report(IDLE, epoch=3), 0.3)
    assert view.health(0.3) == ""
    assert view.estimate_s(AGENT, 100) == peer("b").estimate_s(AGENT, 100)


def test_claiming_more_than_was_sent_hides_no_other_work() -> None:
    view = peer("b")
    idle_s = view.estimate_s(BATCH, 100)
    view.book(TurnClass.AGENT, 300)
    lie = (Received(900, 90_000), Received(), Received())
    view.take(report(seq=2, received=lie), 0.1)
    assert view.estimate_s(BATCH, 100) == pytest.approx(idle_s + 0.3)


def test_age_widens_the_margin_and_never_lowers_the_estimate() -> None:
    view = peer("b", FULL)
    estimate_s = view.estimate_s(AGENT, 100)
    margins = [view.margin_s(AGENT, estimate_s, at_s) for at_s in (0.0, 1.0, 5.0)]
    assert margins == sorted(margins)
    assert margins[0] < margins[2]
    assert view.estimate_s(AGENT, 100) == estimate_s


def test_the_age_of_figures_is_their_own_age_and_half_a_round_trip() -> None:
    view = peer("b", None, rtt_s=0.04)
    late = msgspec.structs.replace(report(), age_us=30_000)
    view.take(late, 10.0)
    assert view.age_s(10.0) == pytest.approx(0.05)


def test_a_silent_peer_gets_nothing_until_it_is_heard() -> None:
    view = peer("b", trust=Trust(silent_after_s=0.75))
    assert view.health(0.7) == ""
    assert view.health(0.8) == "silent"
    view.heard(0.8)
    assert view.health(0.9) == ""


def test_nothing_is_known_of_a_peer_without_a_report() -> None:
    view = peer("b", None)
    assert view.health(0.0) == "unknown"
    assert view.estimate_s(AGENT, 1) == float("inf")


def test_a_draining_peer_says_so() -> None:
    assert peer("b", state=SiteState.DRAINING).health(0.0) == "draining"


def test_a_peer_that_became_slower_is_named_and_one_that_always_was_is_not() -> None:
    view = peer("b")
    for seq in range(2, 20):
        view.take(report(seq=seq), 0.0)
    assert not view.is_slow
    slower = msgspec.structs.replace(IDLE, prefill_s_per_token=0.004)
    view.take(report(slower, seq=20), 0.0)
    was_named = view.is_slow
    view.take(report(seq=21), 0.0)
    assert (was_named, view.is_slow) == (True, False)
    assert not peer("c", slower).is_slow


def test_failures_in_a_row_eject_and_each_time_for_longer() -> None:
    trust = Trust(silent_after_s=1e9)
    views = [peer(name, trust=trust) for name in "abcd"]
    peers, view, now_s = Peers(views), views[0], 0.0
    lengths = []
    for _ in range(6):
        for _ in range(3):
            assert not peers.judge(view, now_s)
            view.failed()
        assert peers.judge(view, now_s)
        assert view.health(now_s) == "ejected"
        lengths.append(view.ejected_until_s - now_s)
        now_s = view.ejected_until_s
        assert view.health(now_s) == ""
    assert lengths == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_first_tokens_do_not_hide_that_nothing_is_finished() -> None:
    broken, unlucky = peer("broken"), peer("unlucky")
    peers = Peers([broken, unlucky])
    for _ in range(3):
        for view in (broken, unlucky):
            view.answered(TurnClass.AGENT, 0.1, 0.1, 0.0)
            view.failed()
        unlucky.finished()
    assert [peers.judge(view, 0.0) for view in (broken, unlucky)] == [True, False]


def test_first_tokens_far_later_than_estimated_eject() -> None:
    views = [peer(name) for name in "ab"]
    peers = Peers(views)
    for _ in range(5):
        views[0].answered(TurnClass.AGENT, 0.1, 0.5, 0.0)
    assert peers.judge(views[0], 0.0)
    for _ in range(50):
        views[1].answered(TurnClass.AGENT, 0.1, 0.3, 0.0)
    assert not peers.judge(views[1], 0.0)


def test_a_peer_that_claims_room_and_refuses_is_ejected_and_a_crowded_one_is_not() -> None:
    liar, crowded = peer("liar"), peer("crowded")
    ending = peer("ending", state=SiteState.DRAINING)
    peers = Peers([liar, crowded, ending])
    for _ in range(20):
        liar.refused(0.0, 0.0, was_certain=True)
        crowded.refused(0.0, 0.0, was_certain=False)
        ending.refused(0.0, 0.0, was_certain=True)
    assert [peers.judge(view, 0.0) for view in (ending, crowded, liar)] == [False, False, True]


def test_turns_that_were_all_asked_for_before_the_first_refusal_are_one_broken_word() -> None:
    taken, other = peer("taken"), peer("other")
    peers = Peers([taken, other])
    for number in range(100):
        taken.refused(0.0, 0.1 + number / 1000, was_certain=True)
    assert not peers.judge(taken, 1.0)
    for number in range(1, 20):
        taken.refused(number + 0.5, number + 0.6, was_certain=True)
    assert peers.judge(taken, 30.0)


@given(st.integers(1, 20))
def test_never_more_than_half_are_ejected(count: int) -> None:
    views = [peer(str(number)) for number in range(count)]
    peers = Peers(views)
    for view in views:
        for _ in range(3):
            view.failed()
        peers.judge(view, 0.0)
    assert sum(view.health(0.0) == "ejected" for view in views) == count // 2


class Bookings(RuleBasedStateMachine):
    """A peer that receives, in order and late, what is sent to it, and reports at any time.

    The estimate always counts every turn once: in the peer's figures or in the bookings.
    """

    def __init__(self) -> None:
        super().__init__()
        self.view: PeerView = peer("b", ROOMY)
        self.on_the_way: list[tuple[TurnClass, int]] = []
        self.here: list[tuple[TurnClass, int]] = []
        self.received: ByClass = NOTHING_RECEIVED
        self.reported: list[tuple[TurnClass, int]] = []
        self.unseen: list[tuple[TurnClass, int]] = []
        self.seq = 1

    @rule(turn_class=st.sampled_from(SERVICE_ORDER), prompt_tokens=st.integers(1, 500))
    def send(self, turn_class: TurnClass, prompt_tokens: int) -> None:
        self.view.book(turn_class, prompt_tokens)
        self.on_the_way.append((turn_class, prompt_tokens))
        self.unseen.append((turn_class, prompt_tokens))

    @rule()
    def arrive(self) -> None:
        if self.on_the_way:
            turn = self.on_the_way.pop(0)
            self.here.append(turn)
            self.received = with_turn(self.received, *turn)

    @rule()
    def finish_one(self) -> None:
        if self.here:
            self.here.pop(0)

    @rule()
    def tell(self) -> None:
        self.seq += 1
        backlog = [Backlog(), Backlog(), Backlog()]
        for turn_class, prompt_tokens in self.here:
            backlog[CLASS_RANK[turn_class]] += Backlog(0, prompt_tokens)
        load = msgspec.structs.replace(ROOMY, backlog=tuple(backlog))
        self.view.take(report(load, seq=self.seq, received=self.received), 0.0)
        self.reported, self.unseen = list(self.here), list(self.on_the_way)

    @invariant()
    def every_turn_counts_once(self) -> None:
        for rank in (VOICE, AGENT, BATCH):
            ahead_tokens = sum(
                prompt_tokens
                for turn_class, prompt_tokens in (*self.reported, *self.unseen)
                if CLASS_RANK[turn_class] <= rank
            )
            expected_s = 0.02 + ahead_tokens * 0.001
            assert self.view.estimate_s(rank, 0) == pytest.approx(expected_s, abs=1e-4)


TestBookings = Bookings.TestCase
TestBookings.settings = settings(max_examples=40, stateful_step_count=25)
