"""Random request schedules in virtual time: ``python -m tests.core.random_schedules [COUNT]``."""

from __future__ import annotations

import random
import sys
from typing import NamedTuple

from gateway.core.budget import TurnClass
from gateway.core.scheduling import Scheduler
from tests.core.kv_model import KvModel

_NUM_STEPS = 60
_CHUNK_TOKENS = 8


class Reach(NamedTuple):
    """How often a schedule got to what it is meant to try."""

    cached_tokens: int
    batches: int
    preemptions: int


def _prompt(rng: random.Random) -> tuple[int, ...]:
    """Half of them over few beginnings, so that many prompts share some of it."""
    words = (0, 0, 0, 1) if rng.random() < 0.5 else range(100)
    return tuple(rng.choice(words) for _ in range(rng.choice((3, 4, rng.randint(1, 22)))))


def run_schedule(seed: int) -> Reach:
    """Arrivals, deadlines, ends, faults and cancellations by chance; every step is checked."""
    rng = random.Random(seed)
    scheduler = Scheduler(
        rng.randint(1, 4),
        _CHUNK_TOKENS,
        6,
        grid_tokens=rng.choice((2, 4)),
        num_spare_rows=rng.randint(0, 3),
        batches_prompts=rng.random() < 0.7,
    )
    model = KvModel(scheduler)
    now_s, num_arrived = 0.0, 0
    for _ in range(_NUM_STEPS):
        now_s += rng.random()
        for _ in range(rng.randint(0, 2)):
            num_arrived += 1
            _arrive(model, num_arrived, now_s, rng)
        _step(model, now_s, rng)
        if model.prompts and rng.random() < 0.1:
            gone = rng.choice(sorted(model.prompts))
            scheduler.cancel(gone)
            model.forget(gone)
        model.check()
    return Reach(model.num_cached, model.num_batched, scheduler.num_preempted)


def _arrive(model: KvModel, key: int, now_s: float, rng: random.Random) -> None:
    prompt = _prompt(rng)
    turn_class = rng.choice(list(TurnClass))
    deadline_s = rng.choice((None, now_s + 3.0))
    if not model.scheduler.is_full_for(turn_class):
        model.scheduler.submit(key, prompt=prompt, turn_class=turn_class, deadline_s=deadline_s)
        model.add(key, prompt)


def _step(model: KvModel, now_s: float, rng: random.Random) -> None:
    plan = model.scheduler.plan_step(now_s, prefill_tokens=rng.choice((None, 0, 2)))
    num_steps = rng.choice((1, 1, 4)) if len(plan.decode) == 1 else 1
    drew = model.execute(plan, num_steps)
    ended = {key for key in drew if rng.random() < 0.2}
    failed = {key for key in drew if rng.random() < 0.02} - ended
    model.scheduler.commit(plan, ended, failed)
    for key in ended | failed:
        model.forget(key)


def main() -> None:
    """Run as many schedules as the command line says, and print what they reached."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    reach = [run_schedule(seed) for seed in range(count)]
    totals = Reach(*(sum(column) for column in zip(*reach, strict=True)))
    sys.stdout.write(f"{count} schedules of {_NUM_STEPS} steps, all sound: {totals}\n")


if __name__ == "__main__":
    main()
