"""Where the parts of a live run stand, the shape it is run in, and what its tables make of it."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from gateway.config.site import SHIPPED_MODEL
from gateway.core.errors import ConfigError
from gateway.core.turn import Message, Role
from gateway.engine.bundle import load_bundle
from gateway.engine.text_model import TextModel
from loadtests.clients.plan import Sample
from loadtests.comparison.measured import Measured
from loadtests.live.columns import beside_simulated, joined, repeated
from loadtests.live.ground import CENTRAL, ground, wide
from loadtests.live.shape import live_shape
from loadtests.live.traffic import LEAST_BUDGET_S, PromptWriter, outcome, plans, wrong_sizes
from loadtests.local_site import ROOT
from loadtests.sim.faults import Kill
from loadtests.sim.links import Link
from loadtests.sim.outcome import Fate
from loadtests.sim.prepared import Prepared
from loadtests.sim.scenario import (
    LiveTable,
    LoadTable,
    Scenario,
    SitesTable,
    SloTable,
    load_scenario,
)
from loadtests.sim.ways import Clients
from loadtests.sim.workload import Sizes, Speech

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

_SCENARIOS = [
    path
    for path in sorted((ROOT / "loadtests" / "scenarios").glob("*.toml"))
    if load_scenario(path).live is not None
]


def _scenario(**parts: Any) -> Scenario:
    given: dict[str, Any] = {
        "duration_s": 20.0,
        "arms": ("central", "grid", "grid_forwarding"),
        "sites": SitesTable(count=3, profile="edge-accelerator-3b", num_slots=8),
        "load": LoadTable(rate_hz=2.0, prompts=Sizes(60.0, 0.5, 300), outputs=Sizes(8.0, 0.5, 40)),
        "clients": Clients(access_delay_s=0.005, access_jitter_s=0.001, failover_s=0.05),
    }
    return Scenario(**given | parts)


@pytest.fixture(scope="module")
def writer() -> PromptWriter:
    return PromptWriter()


def test_a_pool_is_one_place_and_its_clients_call_its_sites_in_turn(writer: PromptWriter) -> None:
    prepared = Prepared(_scenario())
    found = ground(prepared, "central")
    assert {site.place for site in found.sites} == {CENTRAL}
    assert len({site.http for site in found.sites}) == 3
    assert found.is_linked
    assert found.rtt_s == pytest.approx(0.07)
    (link,) = {link for one, _, link in found.matrix.links if one == CENTRAL}
    assert link.rtt_s == pytest.approx(0.072)  # the jitter's mean each way
    asks = [ask for plan in plans(prepared, "central", found, writer) for ask in plan.asks]
    assert {ask.target for ask in asks} == {0, 1, 2}


def test_the_clients_of_a_grid_call_their_own_site_and_then_the_nearest() -> None:
    prepared = Prepared(_scenario())
    found = ground(prepared, "grid_forwarding")
    links = {frozenset((one, other)): link.rtt_s for one, other, link in found.matrix.links}
    for home, site in enumerate(found.sites):
        targets = found.targets(home)
        assert targets[0] == site.http
        ways_s = [
            links[frozenset((found.homes[home], one.place))]
            for target in targets
            for one in found.sites
            if one.http == target
        ]
        assert ways_s == sorted(ways_s)
    assert not ground(prepared, "grid").is_linked


def test_a_partition_takes_clients_with_it() -> None:
    prepared = Prepared(_scenario())
    assert ground(prepared, "grid").within((1,)) == ("edge-2", "clients-2")
    assert ground(prepared, "central").within((1,)) == ("clients-2",)


def test_links_in_a_row_are_one_link() -> None:
    one = wide([Link(0.005, 0.001, 0.1, 1e8), Link(0.01, 0.002, 0.1, 5e7)])
    assert one.rtt_s == pytest.approx(0.036)
    assert one.jitter_s == pytest.approx(0.003)
    assert one.loss_ratio == pytest.approx(0.19)
    assert one.rate_bit_per_s == 5e7


def test_there_are_scenarios_with_a_live_shape() -> None:
    assert len(_SCENARIOS) >= 9


@pytest.mark.parametrize("path", _SCENARIOS, ids=lambda path: path.stem)
def test_every_shipped_scenario_with_a_live_shape_fits_one_machine(path: Path) -> None:
    shape = live_shape(load_scenario(path))
    assert sum(shape.rates_hz()) <= 80.0
    assert 2 * len(shape.arms) * (shape.duration_s + 15.0) <= 630.0
    assert shape.sites.chunk_tokens == 64
    assert shape.load.prompts.max_tokens + shape.load.outputs.max_tokens < 512


def test_a_live_shape_moves_its_instants_together() -> None:
    live = LiveTable(rate_hz=1.0, time_ratio=0.5)
    shape = live_shape(_scenario(live=live, faults=(Kill(site=1, at_s=8.0, until_s=12.0),)))
    assert (shape.duration_s, shape.load.rate_hz) == (10.0, 1.0)
    assert [(fault.at_s, fault.until_s) for fault in shape.faults] == [(4.0, 6.0)]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"arms": ("two_choices",)}, "only in the simulator"),
        ({"load": LoadTable(rate_hz=40.0)}, "120 requests a second"),
        ({"duration_s": 900.0}, "900 seconds"),
        ({"load": LoadTable(rate_hz=1.0, prompts=Sizes(900.0, 0.1, 2000))}, "900 tokens"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_mend(parts: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        live_shape(_scenario(**parts))


def test_prompts_have_the_wanted_number_of_tokens_and_share_nothing(writer: PromptWriter) -> None:
    text = TextModel.from_bundle(load_bundle(SHIPPED_MODEL, verify=False))
    rng = random.Random(1)
    said = [writer.write(tokens, rng) for tokens in (20, 20, 100, 383)]
    counted = [len(text.render([Message(Role.USER, one)])) for one in said]
    assert counted == [20, 20, 100, 383]
    assert said[0] != said[1]


def test_a_call_is_asked_after_its_words_are_recognised_within_what_is_left(
    writer: PromptWriter,
) -> None:
    speech = Speech(mean_s=0.15, voice_s=0.05)
    prepared = Prepared(_scenario(slos=(SloTable(first_token_s=0.5, speech=speech),)))
    found = ground(prepared, "grid")
    for plan in plans(prepared, "grid", found, writer):
        for ask in plan.asks:
            assert ask.due_s == pytest.approx(prepared.workload.sent_s[ask.key] + 0.15)
            assert ask.budget_s == pytest.approx(0.5 - 0.15 - 0.05 - 0.01)
    hopeless = Prepared(_scenario(slos=(SloTable(first_token_s=0.1, speech=speech),)))
    (plan, *_) = plans(hopeless, "grid", found, writer)
    assert {ask.budget_s for ask in plan.asks} == {LEAST_BUDGET_S}


def test_samples_become_an_outcome_in_the_client_s_time(writer: PromptWriter) -> None:
    speech = Speech(mean_s=0.15, voice_s=0.05)
    prepared = Prepared(_scenario(slos=(SloTable(first_token_s=0.5, speech=speech),)))
    found = ground(prepared, "grid_forwarding")
    (plan, *_) = plans(prepared, "grid_forwarding", found, writer)
    ask, shed, *_ = plan.asks
    sizes = prepared.workload.prompt_tokens[ask.key], prepared.workload.output_tokens[ask.key]
    answered = Sample(
        ask,
        ask.due_s,
        "ok",
        ask.due_s + 0.3,
        ask.due_s + 0.1,
        "",
        "",
        "edge-2",
        "edge-1,edge-2",
        *sizes,
    )
    refused = Sample(shed, shed.due_s, "shed", shed.due_s, code="slo_unattainable")
    seen = outcome(prepared, found, [answered, refused])
    assert seen.first_token_s[ask.key] == pytest.approx(0.3)
    assert seen.last_token_s[ask.key] == pytest.approx(0.5)
    assert (seen.served_by[ask.key], seen.num_forwarded) == (1, 1)
    assert (seen.fate[ask.key], seen.fate[shed.key]) == (Fate.DONE, Fate.SHED)
    assert seen.reasons == {"slo_unattainable": 1}
    assert seen.attained().sum() == 1
    assert not wrong_sizes(prepared, [answered]).total()
    longer = msgspec.structs.replace(answered, prompt_tokens=1)
    assert wrong_sizes(prepared, [longer])["prompts"] == 1


def test_passes_of_an_arm_are_one_after_the_other() -> None:
    scenario = _scenario(faults=(Kill(site=1, at_s=8.0),))
    whole = repeated(scenario, 2)
    assert whole.duration_s == 40.0
    assert [(fault.at_s, fault.until_s) for fault in whole.faults] == [(8.0, 20.0), (28.0, 40.0)]
    run = Measured.of(Prepared(scenario).run("grid"), scenario.duration_s)
    both = joined([run, run])
    assert len(both) == 2 * len(run)
    assert both.duration_s == 40.0
    assert np.all(np.diff(both.sent_s) >= 0)


def test_live_and_simulated_are_compared_in_points() -> None:
    run = Measured.of(Prepared(_scenario()).run("grid"), 20.0)
    failed = run.fate.copy()
    failed[: len(failed) // 10] = Fate.FAILED
    worse = dataclasses.replace(run, fate=failed)
    found = beside_simulated(worse, run)
    assert found["apart_points"] < -3.0
    assert not found["met"]
    assert beside_simulated(run, run)["met"]
