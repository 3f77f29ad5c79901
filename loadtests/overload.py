"""A grid that is asked for four times what it can do, and one that loses half a site.

Three sites with an emulated accelerator so slow that their front could carry more than ten times
as much. Phases, each with fresh sites:

overload  steps up to the peak of goodput, a minute at four times the capacity, then half of it:
          goodput, what was admitted, memory, recovery (150 s)
ejection  ten minutes at four times the capacity: no healthy site may be ejected (610 s)
capacity  half of one site's capacity is cut while the others have room: voice goes on (40 s)

    python -m loadtests.overload [--phases overload,ejection,capacity] [--seconds 60]
                                 [--ejection-seconds 600] [--out DIR]

Exits with 1 when a run does not count or misses a target.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.core.errors import GatewayError
from gateway.engine.step_profiles import load_profile
from loadtests.arrival_choice import ArrivalChoice
from loadtests.child import ChildFailed
from loadtests.clients.plan import Ask, Plan, dealt
from loadtests.clients.run import attained, run_clients, summarize
from loadtests.command_line import add_out, parser_for, positive
from loadtests.facts import conclude, percentile, verdict
from loadtests.host import HostGuard
from loadtests.local_grid import NAMES, running_grid
from loadtests.local_site import TEXT_ONLY, SiteFailed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from loadtests.clients.plan import Sample, TurnClassName
    from loadtests.local_site import SiteProcess

SEED = 7
NUM_SLOTS = 4
ANSWER_TOKENS = 16
PROMPT_TOKENS = 16
"""About: a template and two words."""
PROFILE = """basis = "assumed"
about = "an accelerator slow enough for any front"
[decode]
rows = [1, 9]
step_ms = [20.0, 20.5]
context_us_per_token = 0.0
[prefill]
tokens = [1, 257]
chunk_ms = [10.0, 60.0]
past_ns_per_pair = 0.0
[sources]
"decode.step_ms" = "made up"
"decode.context_us_per_token" = "made up"
"prefill.chunk_ms" = "made up"
"prefill.past_ns_per_pair" = "made up"
"""
CLASSES: tuple[tuple[TurnClassName, float], ...] = (("voice", 0.5), ("agent", 2.0))
"""Half of the requests each, with its budget in seconds."""
PHASES = ("overload", "ejection", "capacity")
OVERLOAD = 4.0
STEPS = (0.7, 0.85, 1.0, 1.15)
STEP_S, REST_S, AFTER_S = 15.0, 5.0, 15.0
SETTLED_S = 5.0
"""After a step up or a cut, until what was there before has left."""
MIN_GOODPUT_RATIO, RECOVERY_S, MIN_RECOVERED = 0.9, 2.0, 0.99
MAX_GROWTH = 1.1
"""Of memory, from the first third of an overload to its last."""
MIN_VOICE = 0.99
CUT_LOADS = (0.8, 0.3, 0.3)
"""Of each site's own capacity; the first is cut to half."""
CUT_AT_S, AFTER_CUT_S = 10.0, 20.0
LOOK_S, WEIGH_S = 0.5, 5.0


class Stretch(NamedTuple):
    """A time of even load: requests a second at each site."""

    seconds: float
    rates_hz: tuple[float, ...]


class Seen(NamedTuple):
    """What a watcher saw: instants from the start."""

    ejections: list[tuple[float, str, str]]
    """When, who, whom."""
    pss_bytes: list[tuple[float, int]]
    """Of all processes of all sites."""


class Watch:
    """Looks at the sites' grids and memory while a run lasts."""

    def __init__(self, sites: dict[str, SiteProcess]) -> None:
        self._sites = sites
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._weigh_s = 0.0
        self.seen = Seen([], [])

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While the context lasts, from `begin` on."""
        try:
            yield
        finally:
            self._over.set()
            if self._thread.ident is not None:
                self._thread.join()

    def begin(self, start_s: float) -> None:
        """The run's instants count from here, on the monotonic clock."""
        self._start_s = start_s
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(LOOK_S):
            now_s = time.monotonic() - self._start_s
            for name, site in self._sites.items():
                for peer in site.admin_json("/v1/grid")["peers"]:
                    if peer["state"] == "ejected" or peer["num_ejections"]:
                        self.seen.ejections.append((now_s, name, peer["site"]))
            if now_s >= self._weigh_s:
                self._weigh_s = now_s + WEIGH_S
                weight = sum(site.pss_bytes() for site in self._sites.values())
                self.seen.pss_bytes.append((now_s, weight))


def capacity_hz() -> float:
    """Requests a second that one site can answer, by its profile."""
    with tempfile.TemporaryDirectory() as folder:
        times = load_profile(str(profile_in(Path(folder))))
    decode_s = ANSWER_TOKENS * times.decode_s(NUM_SLOTS, NUM_SLOTS * PROMPT_TOKENS)
    return NUM_SLOTS / (decode_s + NUM_SLOTS * times.prefill_s(PROMPT_TOKENS, 0))


def profile_in(folder: Path) -> Path:
    """The accelerator's profile, as a file."""
    path = folder / "slow.toml"
    path.write_text(PROFILE, encoding="utf-8")
    return path


def asks_of(stretches: Sequence[Stretch], voice_ratio: float = 0.5) -> list[Ask]:
    """Requests of all stretches, one after the other, as a Poisson process at each site."""
    rng, asks, begin_s = random.Random(SEED), list[Ask](), 0.0
    for number, stretch in enumerate(stretches):
        for target, rate_hz in enumerate(stretch.rates_hz):
            seed = SEED + 100 * number + target
            for at_s in ArrivalChoice("poisson").instants(rate_hz, stretch.seconds, seed):
                kind, budget_s = CLASSES[rng.random() >= voice_ratio]
                said = f"hello number {rng.randrange(10**6)}"
                asks.append(Ask(begin_s + float(at_s), said, kind, ANSWER_TOKENS, budget_s, target))
        begin_s += stretch.seconds
    return asks


class Run(NamedTuple):
    """One run of clients against fresh sites."""

    samples: list[Sample]
    seen: Seen
    host: dict[str, Any]
    faults: list[str]


def run(asks: Sequence[Ask], out: Path, cut_at_s: float | None = None) -> Run:
    """Send them; with `cut_at_s` the first site's capacity is then cut by half."""
    with tempfile.TemporaryDirectory() as folder:
        profile = profile_in(Path(folder))
        with running_grid(
            Path(folder),
            *("--accelerator", f"emulated:{profile}"),
            own=dict.fromkeys(NAMES, TEXT_ONLY),
            FIRSTHOP_MODEL_NUM_SLOTS=str(NUM_SLOTS),
        ) as sites:
            return _run_on(sites, asks, out, cut_at_s)


def _run_on(
    sites: dict[str, SiteProcess], asks: Sequence[Ask], out: Path, cut_at_s: float | None
) -> Run:
    targets = tuple(f"127.0.0.1:{site.port_base}" for site in sites.values())
    plans = [Plan("http", targets, part) for part in dealt(asks, 2)]
    guard = HostGuard(sites={name: site.metrics for name, site in sites.items()})
    watch = Watch(sites)
    cut: list[threading.Timer] = []

    def begin(start_s: float) -> None:
        watch.begin(start_s)
        if cut_at_s is not None:
            delay_s = start_s + cut_at_s - time.monotonic()
            cut.append(threading.Timer(delay_s, sites[NAMES[0]].set_capacity, (0.5,)))
            cut[0].start()

    with watch.watching():
        seen = run_clients(plans, out, on_start=guard.start, on_begin=begin)
    for timer in cut:
        timer.join()
    guard.stop()
    for who, lags_s in seen.lags_s.items():
        guard.note(f"loop of {who}", lags_s)
    faults = [*guard.faults(), *summarize(seen.samples, SEED)["invalid_because"]]
    return Run(seen.samples, watch.seen, guard.row(), faults)


def overload(out: Path, seconds: float) -> dict[str, Any]:
    """Goodput, admitted P99, memory and recovery."""
    one_hz = capacity_hz()
    steps = [_even(STEP_S, load * one_hz) for load in STEPS]
    over = [*steps, _even(REST_S, 0.3 * one_hz), _even(seconds, OVERLOAD * one_hz)]
    done = run(asks_of([*over, _even(AFTER_S, 0.5 * one_hz)]), out / "overload")
    begin_s = len(STEPS) * STEP_S + REST_S
    figures = overload_figures(done.samples, done.seen, begin_s, seconds)
    return judged(done, figures, {"capacity_per_s": round(len(NAMES) * one_hz, 2)})


def overload_figures(
    samples: Sequence[Sample], seen: Seen, begin_s: float, seconds: float
) -> dict[str, tuple[float, float, bool]]:
    """What was reached, the target, and whether it was met."""
    settled_s, end_s = begin_s + min(SETTLED_S, seconds / 2), begin_s + seconds
    peak_hz = max(
        _goodput_hz(samples, number * STEP_S, (number + 1) * STEP_S) for number in range(len(STEPS))
    )
    kept = _goodput_hz(samples, settled_s, end_s) / peak_hz
    weights = [(at_s, size) for at_s, size in seen.pss_bytes if begin_s <= at_s <= end_s]
    first = max((size for at_s, size in weights if at_s < begin_s + seconds / 3), default=0)
    last = max((size for at_s, size in weights if at_s > end_s - seconds / 3), default=0)
    after = [attained(one) for one in samples if one.ask.due_s >= end_s + RECOVERY_S]
    recovered = sum(after) / max(1, len(after))
    found = {
        "goodput_of_peak": (kept, MIN_GOODPUT_RATIO, kept >= MIN_GOODPUT_RATIO),
        "memory_growth": (last / max(1, first), MAX_GROWTH, 0 < last <= MAX_GROWTH * first),
        "attained_2_s_after": (recovered, MIN_RECOVERED, recovered >= MIN_RECOVERED),
    }
    for kind, budget_s in CLASSES:
        ttft_s = [
            one.ttft_s
            for one in samples
            if one.ttft_s is not None
            and one.ask.turn_class == kind
            and begin_s <= one.ask.due_s < end_s
        ]
        p99_s = percentile(ttft_s, 0.99) if ttft_s else float("inf")
        found[f"{kind}_admitted_p99_ms"] = (p99_s * 1e3, budget_s * 1e3, p99_s <= budget_s)
    return found


def ejection(out: Path, seconds: float) -> dict[str, Any]:
    """Whether a healthy site was ejected."""
    done = run(asks_of([_even(seconds, OVERLOAD * capacity_hz())]), out / "ejection")
    pairs = {f"{who} ejected {whom}" for _, who, whom in done.seen.ejections}
    count = float(len(done.seen.ejections))
    return judged(done, {"sightings_of_ejected": (count, 0.0, not count)}, {"who": sorted(pairs)})


def capacity(out: Path) -> dict[str, Any]:
    """Voice, once half of a site's capacity is gone."""
    one_hz = capacity_hz()
    loads = Stretch(CUT_AT_S + AFTER_CUT_S, tuple(load * one_hz for load in CUT_LOADS))
    done = run(asks_of([loads]), out / "capacity", CUT_AT_S)
    return judged(done, cut_figures(done.samples), {})


def cut_figures(samples: Sequence[Sample]) -> dict[str, tuple[float, float, bool]]:
    """Voice that came to the site before the cut, and from SETTLED_S after it."""

    def ratio(from_s: float, to_s: float) -> float:
        voice = [
            attained(one)
            for one in samples
            if one.ask.turn_class == "voice" and from_s <= one.ask.due_s < to_s
        ]
        return sum(voice) / max(1, len(voice))

    before = ratio(0.0, CUT_AT_S)
    after = ratio(CUT_AT_S + SETTLED_S, CUT_AT_S + AFTER_CUT_S)
    return {
        "voice_before": (before, MIN_VOICE, before >= MIN_VOICE),
        "voice_5_s_after": (after, MIN_VOICE, after >= MIN_VOICE),
    }


def judged(
    done: Run, figures: dict[str, tuple[float, float, bool]], facts: dict[str, Any]
) -> dict[str, Any]:
    """A phase's entry in the result."""
    missed = [f"{name}: {got:.4g}" for name, (got, _, is_met) in figures.items() if not is_met]
    rows = {
        name: {"result": round(got, 4), "target": target, "met": is_met}
        for name, (got, target, is_met) in figures.items()
    }
    clients = summarize(done.samples, SEED)
    for name in ("valid", "invalid_because"):
        del clients[name]
    found = {**facts, "figures": rows, "clients": clients, "host": done.host}
    return found | verdict(done.faults, missed=missed)


def _even(seconds: float, rate_hz: float) -> Stretch:
    return Stretch(seconds, (rate_hz,) * len(NAMES))


def _goodput_hz(samples: Sequence[Sample], from_s: float, to_s: float) -> float:
    within = (one for one in samples if from_s <= one.ask.due_s < to_s)
    return sum(map(attained, within)) / (to_s - from_s)


def table(phases: dict[str, dict[str, Any]]) -> str:
    """All figures, for a terminal."""
    rows = [
        f"{phase:9} {name:24} {row['result']:>10.4g} {row['target']:>8.4g}  "
        f"{'met' if row['met'] else 'MISSED'}{'' if found['valid'] else ' (does not count)'}"
        for phase, found in phases.items()
        for name, row in found["figures"].items()
    ]
    return "\n".join([f"{'phase':9} {'figure':24} {'result':>10} {'target':>8}", *rows])


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = parser_for("overload", __doc__)
    parser.add_argument("--phases", default=",".join(PHASES), metavar="A,B")
    parser.add_argument("--seconds", type=positive, default=60.0, help="of the overload")
    parser.add_argument("--ejection-seconds", type=positive, default=600.0)
    add_out(parser, "overload")
    args = parser.parse_args(words)
    args.phases = args.phases.split(",")
    if unknown := set(args.phases) - set(PHASES):
        parser.error(f"no phase {min(unknown)}; there are {', '.join(PHASES)}")
    return args


def main() -> int:
    """Run the phases, print the table and save the result."""
    args = parse()
    runs = {
        "overload": lambda: overload(args.out, args.seconds),
        "ejection": lambda: ejection(args.out, args.ejection_seconds),
        "capacity": lambda: capacity(args.out),
    }
    try:
        phases = {name: runs[name]() for name in args.phases}
    except (GatewayError, ChildFailed, SiteFailed, OSError) as error:
        print(f"overload: {error}", file=sys.stderr)
        return 1
    faults = [f"{name}: {why}" for name, one in phases.items() for why in one["invalid_because"]]
    missed = [f"{name}: {what}" for name, one in phases.items() for what in one["missed"]]
    code = conclude("overload", SEED, {"phases": phases, **verdict(faults, missed=missed)})
    print(table(phases), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
