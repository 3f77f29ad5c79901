"""Map where a grid sustains more than a pool at a distance, and where less.

    firsthop sweep loadtests/scenarios/crossover.toml --out out/

Round trip to the pool x skew x burst, by the highest load sustained and by attainment at given
loads; all arms of a cell see the same requests. Leaves summary.json and report.html in DIR, after
Ctrl-C of what was known, marked partial.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.errors import ConfigError
from loadtests import facts
from loadtests.command_line import BUILD, at_least, parser_for
from loadtests.comparison.crossover import SHORT, Axes, sweep
from loadtests.comparison.map_page import map_page
from loadtests.progress_line import ProgressLine
from loadtests.sim.scenario import load_scenario

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_SHORT_S = 30.0


def _parser() -> argparse.ArgumentParser:
    parser = parser_for("sweep", __doc__)
    parser.add_argument("scenario", type=Path, metavar="SCENARIO.toml")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: build/sweep/NAME")
    parser.add_argument("--seed", type=at_least(0), help="instead of the scenario's")
    parser.add_argument("--seeds", type=at_least(1), default=3, metavar="N", help="of every cell")
    parser.add_argument("--short", action="store_true", help="a coarse map in a few minutes")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 with one line that says what is wrong."""
    options = _parser().parse_args(argv)
    out: Path = options.out or BUILD / "sweep" / options.scenario.stem
    try:
        scenario = load_scenario(options.scenario)
        out.mkdir(parents=True, exist_ok=True)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.seed is not None:
        scenario = msgspec.structs.replace(scenario, seed=options.seed)
    if options.short:
        scenario = msgspec.structs.replace(scenario, duration_s=_SHORT_S)
    line, began_s = ProgressLine(), time.perf_counter()
    axes = SHORT if options.short else Axes()
    cells: list[dict[str, Any]] = []
    is_partial = False
    try:
        cells += sweep(scenario, axes, num_seeds=options.seeds, done=line.show)
    except KeyboardInterrupt:
        is_partial = True
    finally:
        line.clear()
    result = {
        "scenario": options.scenario.stem,
        "claim": scenario.claim,
        "kind": "simulated",
        "command": " ".join(["python -m loadtests.sweep", *(argv or sys.argv[1:])]),
        "seed": scenario.seed,
        "num_seeds": options.seeds,
        "duration_s": scenario.duration_s,
        "commit": facts.commit(),
        "machine": facts.machine(),
        "backend": f"emulated:{scenario.sites.profile}",
        "axes": msgspec.to_builtins(axes),
        "cells": cells,
        "partial": is_partial,
        "wall_s": round(time.perf_counter() - began_s, 1),
    }
    text = json.dumps(result, indent=1) + "\n"
    try:
        (out / "summary.json").write_text(text, encoding="utf-8")
        (out / "report.html").write_text(map_page(result), encoding="utf-8")
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    print(text if options.json else f"report: {out / 'report.html'}")
    return 1 if is_partial else 0


if __name__ == "__main__":
    sys.exit(main())
