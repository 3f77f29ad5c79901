"""The requests of a workload as client processes send them, and what came of them as an outcome."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from typing import TYPE_CHECKING

from gateway.config.site import SHIPPED_MODEL
from gateway.core.turn import Message, Role
from gateway.engine.bundle import load_bundle
from gateway.engine.text_model import TextModel
from loadtests.clients.plan import Ask, Plan
from loadtests.sim.arms import ARMS, Place
from loadtests.sim.outcome import Fate, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from loadtests.clients.plan import Sample
    from loadtests.live.ground import Ground
    from loadtests.sim.prepared import Prepared

LEAST_BUDGET_S = 1e-3
"""Of a call whose time was over before its model was asked: a site sheds it."""


class PromptWriter:
    """Writes prompts of a wanted number of tokens that share nothing but the template's head."""

    def __init__(self) -> None:
        bundle = load_bundle(SHIPPED_MODEL, verify=False)
        text = TextModel.from_bundle(bundle)

        def num_tokens(said: str) -> int:
            return len(text.render([Message(Role.USER, said)]))

        self._head_tokens = num_tokens("hello") - 1
        self._words = [
            word
            for word in _plain_words(bundle.tokenizer_path)
            if num_tokens(f"hello {word}") == self._head_tokens + 2
        ]

    def write(self, prompt_tokens: int, rng: random.Random) -> str:
        """A prompt of so many tokens, the template's included; of what that takes at least."""
        return " ".join(["hello", *rng.choices(self._words, k=self._num_words(prompt_tokens) - 1)])

    def _num_words(self, prompt_tokens: int) -> int:
        return max(2, prompt_tokens - self._head_tokens)


def _plain_words(tokenizer: Path) -> list[str]:
    """What stands in the vocabulary with a space before it, as byte-level BPE spells that."""
    vocabulary = json.loads(tokenizer.read_bytes())["model"]["vocab"]
    found = (re.fullmatch("Ġ([a-z]{3,})", token) for token in vocabulary)
    return [match[1] for match in found if match is not None]


def plans(prepared: Prepared, arm: str, ground: Ground, writer: PromptWriter) -> list[Plan]:
    """One for each home. A call's model is asked once its words are recognised, of which the
    simulator's draw says how long it took; what its voice takes is taken off its budget.
    """
    scenario, workload = prepared.scenario, prepared.workload
    is_far = ARMS[arm].place in (Place.CENTRAL, Place.REGIONAL)
    rng = random.Random(f"{scenario.seed} prompts")
    asks: list[list[Ask]] = [[] for _ in ground.homes]
    for key in range(len(workload)):
        slo = workload.slos[workload.slo[key]]
        listening_s, voice_s = workload.listening_s[key], workload.voice_s[key]
        if is_far and (listening_s or voice_s):
            listening_s += scenario.central.playout_s
        budget_s = None
        if slo.first_token_s is not None:
            left_s = slo.first_token_s - listening_s - voice_s - ground.rtt_s
            budget_s = max(LEAST_BUDGET_S, left_s)
        asks[workload.home[key]].append(
            Ask(
                workload.sent_s[key] + listening_s,
                writer.write(workload.prompt_tokens[key], rng),
                slo.turn_class.value,
                workload.output_tokens[key],
                budget_s,
                key % len(ground.sites) if ground.is_pooled else 0,
                key,
            )
        )
    return [
        Plan(
            "http",
            ground.targets(home),
            tuple(sorted(own, key=lambda ask: ask.due_s)),
            time_limit_s=max(5.0, scenario.drain_s),
            turns_elsewhere=scenario.clients.failover_s is not None,
        )
        for home, own in enumerate(asks)
    ]


def outcome(prepared: Prepared, ground: Ground, samples: Iterable[Sample]) -> Outcome:
    """What came of the workload; requests without a sample are unfinished."""
    workload = prepared.workload
    found = Outcome(workload)
    site_of = {site.name: number for number, site in enumerate(ground.sites)}
    fates = {"ok": Fate.DONE, "shed": Fate.SHED, "failed": Fate.FAILED}
    for sample in samples:
        key = sample.ask.key
        begun_s = workload.sent_s[key] - workload.voice_s[key]
        found.fate[key] = fates[sample.outcome]
        if sample.first_s is not None:
            found.first_token_s[key] = sample.first_s - begun_s
        if sample.outcome == "ok":
            found.last_token_s[key] = sample.ended_s - begun_s
            found.served_by[key] = site_of.get(sample.site, -1)
            found.num_forwarded += sample.path.count(",")
        else:
            found.reasons[sample.code] += 1
    return found


def wrong_sizes(prepared: Prepared, samples: Iterable[Sample]) -> Counter[str]:
    """How many answered requests had another size than the workload says."""
    workload, found = prepared.workload, Counter[str]()
    for sample in samples:
        if sample.outcome == "ok":
            key = sample.ask.key
            found["prompts"] += sample.prompt_tokens != workload.prompt_tokens[key]
            found["answers"] += sample.completion_tokens != workload.output_tokens[key]
    return found
