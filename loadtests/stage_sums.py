"""Whether a turn's stages add up to what its client saw, over HTTP and gRPC.

A site with an emulated accelerator is asked by open-loop clients: at a steady rate; at one that the
accelerator cannot carry, so that turns are late or shed; and while the site is frozen for 100 ms
again and again, which its own clock cannot see. A client's time runs from its sending to the first
content or, of a turn that was shed, to the refusal; it is compared with the sum of the stages of
the site's record up to there. `loadtests.voice_turns` does the same for calls.

    python -m loadtests.stage_sums [--seconds 30] [--rate 60] [--profile edge-accelerator]

Exits with 1 when less than 99 % of the turns, or of those over budget, are within 10 ms, in a
phase or over a protocol. Takes two minutes.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from loadtests.arrival_choice import ArrivalChoice
from loadtests.clients.plan import Ask, Plan, dealt
from loadtests.clients.run import run_clients
from loadtests.command_line import parser_for, positive
from loadtests.facts import conclude, percentile, verdict
from loadtests.host import HostGuard
from loadtests.local_site import running_site
from loadtests.open_loop import SAID, Freezer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtests.clients.plan import Protocol, Sample
    from loadtests.local_site import SiteProcess

SEED = 9
MAX_APART_S, MIN_EXPLAINED = 0.010, 0.99
_PROTOCOLS: tuple[Protocol, ...] = ("http", "grpc")
_MIN_NUM_OVER = 20
"""Of fewer turns over budget no ratio is told."""


class Phase(NamedTuple):
    """One kind of load."""

    name: str
    rate_factor: float
    budget_s: float
    max_tokens: int
    is_frozen: bool = False
    """Whether the site is, again and again."""


PHASES = (
    Phase("steady", 1.0, 2.0, 8),
    Phase("overloaded", 2.0, 0.25, 24),
    Phase("frozen", 1.0, 0.05, 8, is_frozen=True),
)


class Compared(NamedTuple):
    """One turn: what its client saw, and what the site's record says."""

    protocol: str
    seen_s: float
    told_s: float
    is_over_budget: bool

    @property
    def apart_s(self) -> float:
        """What the record does not explain."""
        return self.seen_s - self.told_s


def compared(site: SiteProcess, protocol: str, sample: Sample) -> Compared | None:
    """A sample beside its record; None of a turn that failed or left no record."""
    if not sample.request_id or sample.outcome == "failed":
        return None
    record = site.admin_json(f"/v1/requests/{sample.request_id}")
    end_s = sample.ended_s if sample.first_s is None else sample.first_s
    until_ms = record["duration_ms"] if record["ttft_ms"] is None else record["ttft_ms"]
    stages = record["stages"]
    told_ms = sum(one["duration_ms"] for one in stages if one["offset_ms"] < until_ms - 1e-3)
    return Compared(
        protocol, end_s - sample.sent_s, told_ms / 1e3, record["within_budget"] is False
    )


def figures(turns: Sequence[Compared]) -> dict[str, Any]:
    """How far apart they are."""
    over = [turn for turn in turns if turn.is_over_budget]
    found: dict[str, Any] = {"n": len(turns), "n_over_budget": len(over)}
    if turns:
        apart_s = [turn.apart_s for turn in turns]
        for quantile in (0.01, 0.5, 0.99):
            name = f"apart_p{quantile * 100:g}_ms"
            found[name] = round(percentile(apart_s, quantile) * 1e3, 3)
        found["within_10_ms"] = _explained(turns)
    if len(over) >= _MIN_NUM_OVER:
        found["over_budget_within_10_ms"] = _explained(over)
    return found


def _explained(turns: Sequence[Compared]) -> float:
    return round(sum(abs(turn.apart_s) <= MAX_APART_S for turn in turns) / len(turns), 5)


def missed_by(phases: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    """The ratios below the target."""
    return [
        f"{phase} over {protocol}: {name} {found[name]:.2%}"
        for phase, by_protocol in phases.items()
        for protocol, found in by_protocol.items()
        for name in ("within_10_ms", "over_budget_within_10_ms")
        if found.get(name, 1.0) < MIN_EXPLAINED
    ]


def run_phase(
    phase: Phase, site: SiteProcess, rate_per_s: float, seconds: float, out: Path
) -> dict[str, dict[str, Any]]:
    """The figures of one phase, by protocol."""
    instants = ArrivalChoice("poisson").instants(rate_per_s * phase.rate_factor, seconds, SEED)
    asks = [
        Ask(float(at_s), SAID[place % len(SAID)], "voice", phase.max_tokens, phase.budget_s)
        for place, at_s in enumerate(instants)
    ]
    targets = (site.http.removeprefix("http://"), site.grpc)
    done = threading.Event()
    freezing = threading.Thread(target=Freezer(site.process.pid).run, args=(done,))
    by_protocol: dict[str, dict[str, Any]] = {}
    parts = zip(_PROTOCOLS, targets, dealt(asks, 2), strict=True)
    plans = [Plan(protocol, (target,), part) for protocol, target, part in parts]
    try:
        seen = run_clients(plans, out, on_start=freezing.start if phase.is_frozen else lambda: None)
    finally:
        done.set()
        if freezing.ident is not None:
            freezing.join()
    for plan in plans:
        mine = [sample for sample in seen.samples if sample.ask in set(plan.asks)]
        turns = [compared(site, plan.protocol, sample) for sample in mine]
        by_protocol[plan.protocol] = figures([turn for turn in turns if turn is not None])
    lags_s = [lag_s for of_client in seen.lags_s.values() for lag_s in of_client]
    for found in by_protocol.values():
        found["client_lag_p99_ms"] = round(percentile(lags_s, 0.99) * 1e3, 3)
    return by_protocol


def main() -> int:
    """Run it and save the result."""
    parser = parser_for("stage_sums", __doc__)
    parser.add_argument("--seconds", type=positive, default=30.0, help="of each phase")
    parser.add_argument("--rate", type=positive, default=60.0, help="requests per second")
    parser.add_argument("--profile", default="edge-accelerator", help="of the accelerator")
    args = parser.parse_args()
    phases = {}
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder)
        profile = f"emulated:{args.profile}"
        with running_site(there / "site", "--accelerator", profile) as site:
            guard = HostGuard()
            for phase in PHASES:
                phases[phase.name] = run_phase(
                    phase, site, args.rate, args.seconds, there / phase.name
                )
            guard.stop()
    return conclude(
        "stage_sums",
        SEED,
        {
            "command": f"python -m loadtests.stage_sums --seconds {args.seconds:g} "
            f"--rate {args.rate:g} --profile {args.profile}",
            "phases": phases,
            "host": guard.row(),
            **verdict(guard.faults(), missed=missed_by(phases)),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
