"""The shape in which a scenario is run live: one that sites on this machine are, and can carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.config.site import SHIPPED_MODEL
from gateway.core.errors import ConfigError
from gateway.engine.bundle import load_bundle
from gateway.engine.frames import Start
from gateway.engine.worker.rounding import Rounding, grid_tokens
from loadtests.live.ground import LIVE_ARMS

if TYPE_CHECKING:
    from loadtests.sim.scenario import Scenario
    from loadtests.sim.workload import Sizes

MAX_RATE_HZ = 80.0
MAX_NUM_SITES = 8
MAX_DURATION_S = 300.0
_MIN_PROMPT_TOKENS = 8
_ANSWER_RATIO = 0.25
"""The part of the model's context that is left to answers."""


def live_shape(scenario: Scenario) -> Scenario:
    """The scenario as sites run it here, which is also what the simulator is asked about it.

    Engines cut prompts as the shipped ones do, and no request is larger than the shipped model's
    context. Raises ConfigError, with the mend, for what only the simulator can carry.
    """
    for arm in scenario.arms:
        if arm not in LIVE_ARMS:
            raise ConfigError(
                f"arms: {arm!r} exists only in the simulator; live are {', '.join(LIVE_ARMS)}"
            )
    scenario = _small(scenario)
    rate_hz = sum(scenario.rates_hz())
    for value, most, what in (
        (scenario.sites.count, MAX_NUM_SITES, "sites"),
        (rate_hz, MAX_RATE_HZ, "requests a second"),
        (scenario.duration_s, MAX_DURATION_S, "seconds"),
    ):
        if value > most:
            raise ConfigError(
                f"{value:g} {what} are more than the {most:g} that run live on one machine: give "
                "the scenario a smaller [live] shape, or use `firsthop simulate`"
            )
    return _as_shipped(scenario)


def _small(scenario: Scenario) -> Scenario:
    """With the figures of `[live]` in place of its own, and its instants drawn together."""
    live = scenario.live
    if live is None:
        return scenario
    replace, ratio = msgspec.structs.replace, live.time_ratio
    given = {key: value for key, value in msgspec.structs.asdict(live).items() if value is not None}
    sites = {key: given[key] for key in ("count", "profile", "num_slots") if key in given}
    load = {key: given[key] for key in ("rate_hz", "prompts", "outputs") if key in given}
    surges = tuple(
        replace(surge, at_s=surge.at_s * ratio, until_s=surge.until_s * ratio)
        for surge in scenario.load.surges
    )
    wave = scenario.load.wave
    if wave is not None:
        wave = replace(wave, period_s=wave.period_s * ratio)
    return replace(
        scenario,
        duration_s=scenario.duration_s * ratio,
        sites=replace(scenario.sites, **sites),
        load=replace(scenario.load, surges=surges, wave=wave, **load),
        faults=tuple(
            replace(fault, at_s=fault.at_s * ratio, until_s=fault.until_s * ratio)
            for fault in scenario.faults
        ),
    )


def _as_shipped(scenario: Scenario) -> Scenario:
    replace = msgspec.structs.replace
    chunk_tokens = Start("").chunk_tokens
    fine = grid_tokens(chunk_tokens, Rounding(is_same_cut=True, is_same_in_batch=True))
    sites = replace(scenario.sites, chunk_tokens=chunk_tokens, grid_tokens=fine)
    context_tokens = load_bundle(SHIPPED_MODEL, verify=False).max_context_tokens
    most_output = int(_ANSWER_RATIO * context_tokens)
    most_prompt = context_tokens - most_output - 1
    load = scenario.load
    slos = tuple(
        replace(
            slo,
            prompts=slo.prompts and _cut(slo.prompts, most_prompt),
            outputs=slo.outputs and _cut(slo.outputs, most_output),
        )
        for slo in scenario.slos
    )
    load = replace(
        load, prompts=_cut(load.prompts, most_prompt), outputs=_cut(load.outputs, most_output)
    )
    return replace(scenario, sites=sites, load=load, slos=slos)


def _cut(sizes: Sizes, most_tokens: int) -> Sizes:
    if sizes.mean_tokens > most_tokens:
        raise ConfigError(
            f"{sizes.mean_tokens:g} tokens on average: the shipped model takes at most "
            f"{most_tokens} here; give the scenario a smaller [live] shape"
        )
    return msgspec.structs.replace(sizes, max_tokens=min(sizes.max_tokens, most_tokens))
