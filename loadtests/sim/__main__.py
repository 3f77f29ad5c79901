"""Run a scenario and print its results as JSON.

python -m loadtests.sim SCENARIO.toml [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from gateway.core.errors import ConfigError
from loadtests import facts
from loadtests.sim.prepared import Prepared
from loadtests.sim.scenario import load_scenario


def main() -> int:
    """Exit code 0, or 1 with one line that says what is wrong with the input."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.sim", description=__doc__)
    parser.add_argument("scenario", type=Path)
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    options = parser.parse_args()
    try:
        scenario = load_scenario(options.scenario)
        if options.out is not None:
            options.out.open("a").close()  # before anything is computed that could not be kept
        prepared = Prepared(scenario)
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    result = {
        "scenario": options.scenario.name,
        "seed": scenario.seed,
        "commit": facts.commit(),
        "machine": facts.machine(),
        **prepared.results(),
    }
    text = json.dumps(result, indent=2) + "\n"
    print(text, end="")
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
