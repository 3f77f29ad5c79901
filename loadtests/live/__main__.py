"""Run a scenario's arms with real site processes on emulated links, and write a report.

    firsthop loadtest loadtests/scenarios/burst.toml --out out/

Leaves summary.json, requests.jsonl.zst and report.html in DIR. Every arm sees the same seeded
requests, in passes there and back again; beside its figures stands what `firsthop simulate` says of
the same passes. Needs root for network namespaces. Ctrl-C keeps what there is, marked partial.

Exits with 1 when the run does not count, or is partial; the report says why.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.errors import GatewayError
from loadtests.child import ChildFailed
from loadtests.command_line import BUILD, at_least, parser_for
from loadtests.comparison.measured import Measured
from loadtests.comparison.run import LIVE, Run
from loadtests.links import namespaces
from loadtests.live.columns import beside_simulated, joined, measured, path_rows, repeated
from loadtests.live.passes import Pass, Passes
from loadtests.live.shape import live_shape
from loadtests.live.traffic import PromptWriter
from loadtests.local_site import SiteFailed
from loadtests.progress_line import ProgressLine
from loadtests.sim.prepared import Prepared
from loadtests.sim.scenario import load_scenario
from loadtests.simulate import print_arms

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from loadtests.sim.scenario import Scenario


@dataclass(slots=True)
class LiveRun:
    """A load test and what it has so far."""

    name: str
    scenario: Scenario
    num_passes: int
    line: ProgressLine
    passes: list[Pass] = field(default_factory=list)
    broken_off: str = ""
    """Why it ended before its end; empty: it did not."""

    def prepared(self, number: int) -> Prepared:
        """A pass's requests: each pass has its own, and all arms have the same in it."""
        return Prepared(msgspec.structs.replace(self.scenario, seed=self.scenario.seed + number))

    def run(self, folder: Path, stop: threading.Event) -> None:
        """Every pass of every arm, as far as they get."""
        bench = Passes(PromptWriter(), folder, stop.is_set)
        for number in range(self.num_passes):
            prepared = self.prepared(number)
            for arm in self._arms(number):
                place = f"{len(self.passes) + 1} of {self.num_passes * len(self.scenario.arms)}"
                self.line.show(f"{arm}, {place}")
                try:
                    found = bench.run(prepared, arm, f"{number + 1}-{arm}")
                except (GatewayError, ChildFailed, SiteFailed, OSError) as error:
                    self.broken_off = f"{arm}: {_first_line(error)}"
                    return
                self.passes.append(found)
                if found.broken_off or stop.is_set():
                    self.broken_off = f"{arm}: {found.broken_off or 'stopped'}"
                    return

    def _arms(self, number: int) -> Sequence[str]:
        """In the order of the file, and backwards every other time."""
        return self.scenario.arms if number % 2 == 0 else self.scenario.arms[::-1]

    def made(self) -> Run:
        """What is kept of it."""
        scenario, duration_s = self.scenario, self.scenario.duration_s
        arms: dict[str, Measured] = {}
        for arm in scenario.arms:
            found = [one for one in self.passes if one.arm == arm]
            if found:
                arms[arm] = measured(found, duration_s)
        networks = sorted({one.network for one in self.passes})
        reasons = [
            f"pass {number + 1}, {one.arm}: {reason}"
            for number, one in enumerate(self.passes)
            for reason in one.invalid_because
        ]
        return Run(
            self.name,
            repeated(scenario, self.num_passes),
            LIVE,
            arms,
            {"backend": "; ".join(networks), "paths": path_rows(self.passes)},
            reasons + ([self.broken_off] if self.broken_off else []),
            bool(self.broken_off),
            {
                "passes": [
                    {"arm": one.arm, "host": one.host, "faults": one.faults} for one in self.passes
                ],
                "beside_simulated": self._beside_simulated(arms),
            },
        )

    def _beside_simulated(self, arms: dict[str, Measured]) -> dict[str, Any]:
        """For the arms that were run whole."""
        if self.broken_off:
            return {}
        found = {}
        prepared = [self.prepared(number) for number in range(self.num_passes)]
        for name, live in arms.items():
            self.line.show(f"{name}, simulated")
            outcomes = [one.run(name) for one in prepared]
            parts = [Measured.of(one, self.scenario.duration_s) for one in outcomes]
            found[name] = beside_simulated(live, joined(parts))
        return found


def _first_line(error: Exception) -> str:
    """What it says before a site's whole log."""
    return str(error).partition("\n")[0]


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Set by Ctrl-C or SIGTERM; a second one ends the program at once."""
    stop = threading.Event()
    before: dict[signal.Signals, Any] = {}

    def on_signal(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 with one line that says what is wrong."""
    options = _parser().parse_args(argv)
    out: Path = options.out or BUILD / "loadtest" / options.scenario.stem
    line = ProgressLine()
    began_s = time.monotonic()
    try:
        scenario = live_shape(load_scenario(options.scenario))
        if options.seed is not None:
            scenario = msgspec.structs.replace(scenario, seed=options.seed)
        run = LiveRun(options.scenario.stem, scenario, options.passes, line)
        run.prepared(0)
        namespaces.check_available()
        out.mkdir(parents=True, exist_ok=True)
        with stopping() as stop, tempfile.TemporaryDirectory(prefix="loadtest-") as folder:
            run.run(Path(folder), stop)
            if not run.passes:
                raise SiteFailed(run.broken_off)
            made = run.made()
            made.more["wall_s"] = round(time.monotonic() - began_s, 1)
            summary = made.save(out)
    except (GatewayError, SiteFailed, OSError) as error:
        line.clear()
        print(f"loadtest: {error}", file=sys.stderr)
        return 1
    line.clear()
    if options.json:
        print(msgspec.json.encode(summary).decode())
    else:
        _print(summary, out)
    return 0 if summary["valid"] and not summary["partial"] else 1


def _print(summary: dict[str, Any], out: Path) -> None:
    print_arms(summary)
    for name, found in summary["beside_simulated"].items():
        print(
            f"{name:20} {found['live']:.2%} attained live, {found['simulated']:.2%} simulated: "
            f"{found['apart_points']:+.2f} points"
        )
    for reason in summary["invalid_because"]:
        print(f"does not count: {reason}")
    print(f"report: {out / 'report.html'}")


def _parser() -> argparse.ArgumentParser:
    parser = parser_for("live", __doc__)
    parser.add_argument("scenario", type=Path, metavar="SCENARIO.toml")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: build/loadtest/NAME")
    parser.add_argument(
        "--passes",
        type=at_least(1),
        default=2,
        metavar="N",
        help="of every arm, each with requests of its own (default: %(default)s)",
    )
    parser.add_argument("--seed", type=at_least(0), help="instead of the scenario's")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
