"""A busy grid gives what it gave: the simulator may become faster, its results stay."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING

import pytest

from loadtests.sim.faults import AnyFault, Freeze, Kill, SlowDown
from loadtests.sim.policy import ExactGreedy, Local, TwoChoices
from loadtests.sim.site import SiteSpec
from loadtests.sim.ways import Clients
from loadtests.sim.workload import Slo
from tests.loadtests.simulations import TIMES, grid, workload

if TYPE_CHECKING:
    from loadtests.sim.policy import Policy

FAULTS: tuple[AnyFault, ...] = (
    Kill(site=1, at_s=2.0, until_s=4.0),
    Freeze(site=2, at_s=3.0, until_s=3.5),
    SlowDown(site=3, factor=3.0, at_s=1.0, until_s=5.0),
)


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Local(), "fb1017ebb9650cde"),
        (TwoChoices(), "5e17750bf37da189"),
        (ExactGreedy(), "8fa797b80fecaca0"),
    ],
)
def test_the_same_requests_have_the_same_fates(policy: Policy, expected: str) -> None:
    rng = random.Random(11)
    sent = sorted((rng.random() * 8.0, rng.randrange(5)) for _ in range(400))
    load = workload(
        sent,
        slo=Slo(first_token_s=0.8),
        prompt_tokens=[rng.randrange(1, 300) for _ in sent],
        output_tokens=[rng.randrange(1, 40) for _ in sent],
    )
    site = (SiteSpec("test", num_slots=4, chunk_tokens=64, max_num_queued=8), TIMES)
    made = grid(
        load, num_sites=5, site=site, policy=policy, faults=FAULTS, clients=Clients(failover_s=0.05)
    )
    outcome = made.run(60.0)
    told = [
        f"{fate} {place} {first_s:.6f} {last_s:.6f}"
        for fate, place, first_s, last_s in zip(
            outcome.fate,
            outcome.served_by,
            outcome.first_token_s,
            outcome.last_token_s,
            strict=True,
        )
    ]
    num_steps = sum(node.site.engine.num_steps for node in made.nodes)
    reasons = sorted((str(reason), count) for reason, count in outcome.reasons.items())
    told.append(f"{num_steps} {outcome.num_forwarded} {reasons}")
    assert hashlib.sha256("\n".join(told).encode()).hexdigest()[:16] == expected, told[-1]
