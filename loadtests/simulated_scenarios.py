"""Every shipped scenario in virtual time: `python -m loadtests.simulated_scenarios`.

What `firsthop simulate` finds of each, without its plots: the arms, the loads they sustain and the
part of it that a zero-RTT pool does. Kept scenario by scenario; `--resume` goes on where a run of
the same commit, seeds and size was ended. `--only` takes names of files in `loadtests/scenarios`.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from loadtests import facts
from loadtests.command_line import at_least, parser_for
from loadtests.local_site import ROOT
from loadtests.progress_line import ProgressLine
from loadtests.sim.scenario import load_scenario
from loadtests.simulate import run

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME = "simulated_scenarios"
_SCENARIOS = ROOT / "loadtests" / "scenarios"
_OTHERS = ("crossover", "scale-500")
"""The base of a sweep, and a question of speed (`python -m loadtests.sim`)."""
_KEPT = ("claim", "seed", "shape", "comparison", "pooled_bound", "sustainable", "wall_s", "partial")
_PLOTTED = ("ttft_cdf_ms", "over_time", "by_home", "served_by")


def _names() -> list[str]:
    return sorted(path.stem for path in _SCENARIOS.glob("*.toml") if path.stem not in _OTHERS)


def _kept(num_seeds: int) -> dict[str, Any]:
    """The scenarios of a run that was ended, if it was of this commit and as many seeds."""
    try:
        kept = json.loads((facts.RESULTS / f"{_NAME}.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    same = kept["commit"] == facts.commit() and kept["num_seeds"] == num_seeds
    return dict(kept["scenarios"]) if same else {}


def _found(name: str, num_seeds: int) -> dict[str, Any]:
    scenario = load_scenario(_SCENARIOS / f"{name}.toml")
    made = run(name, scenario, num_seeds=num_seeds, with_spare=False, line=ProgressLine())
    summary = made.summary()
    arms = {
        arm: {key: value for key, value in figures.items() if key not in _PLOTTED}
        for arm, figures in summary["arms"].items()
    }
    return {key: summary[key] for key in _KEPT if key in summary} | {"arms": arms}


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, write; 1 when it was ended before its end."""
    parser = parser_for(_NAME, __doc__)
    parser.add_argument("--seeds", type=at_least(1), default=3)
    parser.add_argument("--only", nargs="+", choices=_names(), default=_names(), metavar="NAME")
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args(argv)
    found = _kept(options.seeds) if options.resume else {}
    for name in options.only:
        if name in found:
            continue
        made = _found(name, options.seeds)
        if made["partial"]:
            return 1
        found[name] = made
        body = {"kind": "simulated", "num_seeds": options.seeds, "scenarios": found}
        facts.save(_NAME, None, body | {"partial": len(found) < len(_names())})
    return 0


if __name__ == "__main__":
    sys.exit(main())
