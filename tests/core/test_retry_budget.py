from random import Random

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.generation import EngineLoad
from gateway.core.peers import Peers
from gateway.core.retry_budget import PeerRetries, TrafficShare, hedges, retries
from gateway.core.route_choice import Ask, Here
from gateway.core.routing import choose
from tests.core.grid_figures import IDLE, peer

AWAY = msgspec.structs.replace(IDLE, available_in_s=9.0)


def test_retries_end_when_half_of_the_tokens_are_gone_and_come_back_with_successes() -> None:
    budget = PeerRetries()
    allowed = []
    for _ in range(6):
        allowed.append(budget.may_retry)
        budget.failed()
    assert allowed == [True] * 5 + [False]
    for _ in range(21):
        budget.succeeded()
    assert budget.may_retry
    for _ in range(100):
        budget.failed()
    assert budget.tokens == 0.0


def uses(share: TrafficShare, num_turns: int) -> int:
    taken = 0
    for _ in range(num_turns):
        share.count_turn()
        taken += share.take()
    return taken


def test_hedges_are_two_in_a_hundred_and_retries_ten() -> None:
    assert 195 <= uses(hedges(), 10_000) <= 200
    assert 990 <= uses(retries(), 10_000) <= 1000


def test_little_is_saved_up_in_quiet_times() -> None:
    share = hedges()
    for _ in range(100_000):
        share.count_turn()
    assert sum(share.take() for _ in range(100)) == 5


def hedge_s(turn_class: TurnClass, *names: str, load: EngineLoad = AWAY) -> float | None:
    peers = Peers([peer(name) for name in names])
    site = Here("a", max_num_queued=64)
    choice = choose(Ask(0, 100, 0.5), load, site, peers, now_s=0.0, random=Random(1).random)
    after_s = choice.hedge_after_s(turn_class)
    assert after_s is None or after_s == choice.estimate_s + choice.margin_s
    return after_s


def test_only_voice_is_hedged_and_only_with_a_second_peer_and_after_the_margin() -> None:
    assert hedge_s(TurnClass.VOICE, "b", "c") is not None
    assert hedge_s(TurnClass.VOICE, "b") is None
    assert hedge_s(TurnClass.AGENT, "b", "c") is None
    assert hedge_s(TurnClass.VOICE, "b", "c", load=IDLE) is None
