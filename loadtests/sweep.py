"""Map where a grid sustains more than a pool at a distance, and where less.

    firsthop sweep loadtests/scenarios/crossover.toml --out out/

Round trip to the pool x skew x burst, by the highest load sustained and by attainment at given
loads; all arms of a cell see the same requests. Leaves summary.json and report.html in DIR, written
anew with every skew and burst and marked partial until the last: whatever ends the sweep, what was
known is kept, and the same command goes on there with `--resume`.
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

    from loadtests.sim.scenario import Scenario

_SHORT_S = 30.0
_SUMMARY = "summary.json"
_SAME = ("scenario", "seed", "num_seeds", "duration_s", "commit", "backend", "axes")
"""What two parts of one sweep have in common."""


def _parser() -> argparse.ArgumentParser:
    parser = parser_for("sweep", __doc__)
    parser.add_argument("scenario", type=Path, metavar="SCENARIO.toml")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: build/sweep/NAME")
    parser.add_argument("--seed", type=at_least(0), help="instead of the scenario's")
    parser.add_argument("--seeds", type=at_least(1), default=3, metavar="N", help="of every cell")
    parser.add_argument("--short", action="store_true", help="a coarse map in a few minutes")
    parser.add_argument("--resume", action="store_true", help="go on with what DIR has")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0, or 1 with one line that says what is wrong or that the sweep is partial."""
    options = _parser().parse_args(argv)
    out: Path = options.out or BUILD / "sweep" / options.scenario.stem
    line = ProgressLine()
    try:
        scenario = load_scenario(options.scenario)
        if options.seed is not None:
            scenario = msgspec.structs.replace(scenario, seed=options.seed)
        if options.short:
            scenario = msgspec.structs.replace(scenario, duration_s=_SHORT_S)
        if scenario.load.trace is not None:
            raise ConfigError(f"{options.scenario}: load.arrivals: a sweep has its own, no trace's")
        axes = SHORT if options.short else Axes()
        result = _empty(options, scenario, axes)
        if options.resume:
            _resume(result, out / _SUMMARY)
        _save(result, out)
        _swept(result, scenario, axes, out, line)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass  # what is known has been saved
    finally:
        line.clear()
    print(json.dumps(result, indent=1) if options.json else f"report: {out / 'report.html'}")
    return 1 if result["partial"] else 0


def _empty(options: argparse.Namespace, scenario: Scenario, axes: Axes) -> dict[str, Any]:
    """The result before anything was run."""
    short = " --short" if options.short else ""
    return {
        "scenario": options.scenario.stem,
        "claim": scenario.claim,
        "kind": "simulated",
        "command": f"firsthop sweep {options.scenario.name} --seeds {options.seeds}{short}",
        "seed": scenario.seed,
        "num_seeds": options.seeds,
        "duration_s": scenario.duration_s,
        "commit": facts.commit(),
        "machine": facts.machine(),
        "backend": f"emulated:{scenario.sites.profile}",
        "axes": msgspec.to_builtins(axes),
        "cells": [],
        "partial": True,
        "wall_s": 0.0,
    }


def _resume(result: dict[str, Any], path: Path) -> None:
    """Take over the cells of a sweep that ended early. Raises ConfigError if it was another."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        same = all(kept[key] == json.loads(json.dumps(result[key])) for key in _SAME)
        cells, wall_s = list(kept["cells"]), float(kept["wall_s"])
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: is no sweep's result: {error}") from error
    if not same:
        raise ConfigError(f"{path}: is of another sweep; take another --out or no --resume")
    result["cells"], result["wall_s"] = cells, wall_s


def _swept(
    result: dict[str, Any], scenario: Scenario, axes: Axes, out: Path, line: ProgressLine
) -> None:
    """Add what is missing, cell by cell, each saved at once."""
    began_s = time.perf_counter() - result["wall_s"]
    cells = result["cells"]
    missing = sweep(
        scenario, axes, num_seeds=result["num_seeds"], done=line.show, num_known=len(cells)
    )
    for cell in missing:
        cells.append(cell)
        result["wall_s"] = round(time.perf_counter() - began_s, 1)
        _save(result, out)
    result["partial"] = False
    _save(result, out)


def _save(result: dict[str, Any], out: Path) -> None:
    """Raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    for name, text in (
        (_SUMMARY, json.dumps(result, indent=1) + "\n"),
        ("report.html", map_page(result)),
    ):
        written = out / f"{name}.new"
        try:
            written.write_text(text, encoding="utf-8")
        except OSError as error:  # which does not say of what file
            raise OSError(f"{written}: {error.strerror}") from error
        written.replace(out / name)  # at once: whoever is killed here leaves the one before


if __name__ == "__main__":
    sys.exit(main())
