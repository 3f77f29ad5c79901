"""What a scenario's clients send, drawn once for all arms."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gateway.core.errors import ConfigError
from loadtests import arrivals
from loadtests.sim.workload import Workload
from loadtests.traces import InvalidTrace, read_trace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loadtests.sim.scenario import LoadTable, Scenario, SloTable, TraceTable
    from loadtests.traces import Trace

_WAVE_STEPS = 96
"""A wave is drawn in so many steps of constant rate."""


def draw(scenario: Scenario) -> Workload:
    """The requests of a whole run. Raises ConfigError for a trace that cannot be used."""
    load = scenario.load
    rng = np.random.default_rng(scenario.seed)
    if load.trace is not None:
        trace = _replayed(scenario, load.trace, rng)
        home = rng.integers(0, scenario.sites.count, len(trace.at_s))
        return _workload(scenario, trace.at_s, home, rng, trace)
    by_site = _instants(scenario, rng)
    sent_s = np.concatenate(by_site)
    home = np.repeat(np.arange(len(by_site)), [len(instants) for instants in by_site])
    order = np.argsort(sent_s, kind="stable")
    return _workload(scenario, sent_s[order], home[order], rng)


def thinned(workload: Workload, ratio: float, seed: int) -> Workload:
    """At a lower load: the requests whose own mark is below `ratio`.

    Less load of one seed is a part of more, so that loads can be compared; Poisson processes,
    modulated or not, stay what they are when they are thinned.
    """
    marks = np.random.default_rng([seed, 1]).random(len(workload))
    return workload.chosen(marks < ratio)


def _workload(
    scenario: Scenario,
    sent_s: NDArray[np.float64],
    home: NDArray[np.int64],
    rng: np.random.Generator,
    trace: Trace | None = None,
) -> Workload:
    """Requests at these instants, with class and sizes; a trace has its own sizes."""
    count, load = len(sent_s), scenario.load
    shares = np.array([slo.share for slo in scenario.slos])
    prompt = load.prompts.draw(count, rng) if trace is None else trace.prompt_tokens
    output = load.outputs.draw(count, rng) if trace is None else trace.output_tokens
    slo = rng.choice(len(shares), count, p=shares / shares.sum())
    listening_s, voice_s = np.zeros(count), np.zeros(count)
    for index, table in enumerate(scenario.slos):
        rows = slo == index
        num = int(rows.sum())
        if trace is None and table.prompts is not None:
            prompt[rows] = table.prompts.draw(num, rng)
        if trace is None and table.outputs is not None:
            output[rows] = table.outputs.draw(num, rng)
        if table.speech is not None:
            listening_s[rows] = table.speech.draw(num, rng)
            voice_s[rows] = table.speech.voice_s
    slos: tuple[SloTable, ...] = scenario.slos
    return Workload.from_columns(slos, sent_s, home, prompt, output, slo, listening_s, voice_s)


def _instants(scenario: Scenario, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """Per site, when its clients send."""
    load, rates_hz = scenario.load, scenario.rates_hz()
    profiles = [_profile(scenario, site) for site in range(len(rates_hz))]
    means_s = [scenario.duration_s if p is None else p.mean_s() for p in profiles]
    drawn = _drawn(load, rates_hz, means_s, rng)
    return [
        instants if profile is None else profile.bent(instants)
        for instants, profile in zip(drawn, profiles, strict=True)
    ]


def _drawn(
    load: LoadTable, rates_hz: list[float], means_s: list[float], rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Per site, instants at its average rate, within the seconds that would take."""
    sites = list(zip(rates_hz, means_s, strict=True))
    if load.arrivals == "gamma":
        return [arrivals.gamma(rate_hz, load.cv, mean_s, rng) for rate_hz, mean_s in sites]
    if load.arrivals == "poisson":
        return [arrivals.poisson(rate_hz, mean_s, rng) for rate_hz, mean_s in sites]
    bursts = arrivals.Bursts(load.burst_factor, load.burst_mean_s, load.burst_time_ratio)
    size = 1 if load.arrivals == "mmpp_local" else load.sites_per_region
    paths = [arrivals.BurstPath.draw(bursts, max(means_s), rng) for _ in range(0, len(sites), size)]
    return [
        instants[instants < mean_s]
        for site, (rate_hz, mean_s) in enumerate(sites)
        for instants in (arrivals.modulated(rate_hz, bursts, paths[site // size], rng),)
    ]


def _profile(scenario: Scenario, site: int) -> arrivals.RateProfile | None:
    """How a site's rate moves over the run; None: it does not."""
    load, until_s = scenario.load, scenario.duration_s
    surges = [surge for surge in load.surges if not surge.sites or site in surge.sites]
    if not surges and load.wave is None:
        return None
    edges = [0.0, until_s, *(at for surge in surges for at in (surge.at_s, surge.until_s))]
    if load.wave is not None:
        edges += list(np.arange(0.0, until_s, load.wave.period_s / _WAVE_STEPS))
    edges_s = np.unique(np.clip(edges, 0.0, until_s))
    middles_s = (edges_s[:-1] + edges_s[1:]) / 2.0
    factors = np.ones(len(middles_s))
    if (wave := load.wave) is not None:
        phase = wave.phase_spread_ratio * site / scenario.sites.count
        turns = middles_s / wave.period_s - phase
        factors += wave.amplitude_ratio * np.sin(2.0 * np.pi * turns)
    for surge in surges:
        factors[(middles_s >= surge.at_s) & (middles_s < surge.until_s)] *= surge.factor
    return arrivals.RateProfile(edges_s, factors)


def _replayed(scenario: Scenario, table: TraceTable, rng: np.random.Generator) -> Trace:
    """As many requests of a trace as `duration_s` holds at the rate asked for."""
    try:
        trace = read_trace(Path(table.path), table.format)
        if table.quantum_s is not None:
            at_s = arrivals.spread_batches(trace.at_s, table.quantum_s, rng)
            trace = dataclasses.replace(trace, at_s=at_s - at_s[0])
        trace = trace.at_rate(scenario.load.rate_hz * scenario.sites.count)
    except InvalidTrace as error:
        raise ConfigError(f"load.trace: {error}") from error
    except ValueError as error:
        raise ConfigError(f"load.trace: {table.path}: {error}") from error
    if trace.at_s[-1] < scenario.duration_s:
        raise ConfigError(
            f"load.trace: {table.path}: lasts {trace.at_s[-1]:g} s at that rate, "
            f"`duration_s` is {scenario.duration_s:g}"
        )
    return trace.cut(scenario.duration_s)
