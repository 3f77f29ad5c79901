"""A whole run, live or simulated, and what is kept of it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loadtests import facts
from loadtests.comparison.cost import break_even_premium
from loadtests.comparison.raw import write_requests
from loadtests.comparison.report import page
from loadtests.comparison.summary import arm_summary, compared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtests.comparison.measured import Measured
    from loadtests.sim.scenario import Scenario

SIMULATED, LIVE = "simulated", "live"


@dataclass(slots=True)
class Run:
    """One scenario through several arms."""

    name: str
    """Of the scenario."""
    scenario: Scenario
    kind: str
    """SIMULATED or LIVE."""
    arms: dict[str, Measured] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    """`backend` and `paths`, as in summary.json."""
    faults: list[str] = field(default_factory=list)
    """What speaks against counting it."""
    is_partial: bool = False
    """Whether it ended before its end."""
    more: dict[str, Any] = field(default_factory=dict)
    """What only this kind of run knows: `sustainable`, `simulated`, `host`."""

    def summary(self) -> dict[str, Any]:
        """As `summary.json` has it."""
        scenario = self.scenario
        arms = {name: arm_summary(name, arm, scenario) for name, arm in self.arms.items()}
        return {
            "scenario": self.name,
            "claim": scenario.claim,
            "kind": self.kind,
            "seed": scenario.seed,
            "commit": facts.commit(),
            "machine": facts.machine(),
            "backend": f"emulated:{scenario.sites.profile}",
            "shape": _shape(scenario),
            "network": self.network,
            "arms": arms,
            "comparison": compared(self.arms, scenario) | _premiums(arms),
            "partial": self.is_partial,
            **facts.verdict(self.faults),
            **self.more,
        }

    def save(self, out: Path) -> dict[str, Any]:
        """Write `summary.json`, `requests.jsonl.zst` and `report.html`. Raises OSError.

        Returns the summary. It is written first, and says partial until the rest is: a full disk
        costs the raw samples first.
        """
        summary = self.summary()
        out.mkdir(parents=True, exist_ok=True)
        shown = page(summary)
        _write(out / "summary.json", summary | {"partial": True})
        with _named(out / "report.html") as path:
            path.write_text(shown, encoding="utf-8")
        with _named(out / "requests.jsonl.zst") as path:
            write_requests(path, self.arms)
        _write(out / "summary.json", summary)
        return summary


def _write(path: Path, summary: dict[str, Any]) -> None:
    with _named(path):
        path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _named(path: Path) -> Iterator[Path]:
    """What goes wrong here goes wrong with this file; a full disk does not say with which."""
    try:
        yield path
    except OSError as error:
        raise OSError(f"{path}: {error.strerror}; what was written before is partial") from error


def _shape(scenario: Scenario) -> dict[str, Any]:
    """What a reader must know of the scenario to judge its figures."""
    load = scenario.load
    return {
        "sites": scenario.sites.count,
        "profile": scenario.sites.profile,
        "num_slots": scenario.sites.num_slots,
        "duration_s": scenario.duration_s,
        "arrivals": load.arrivals,
        "rate_hz_per_site": load.rate_hz,
        "hot_ratio": load.hot_ratio,
        "access_rtt_ms": round(2e3 * scenario.clients.access_delay_s, 3),
        "central_rtt_ms": round(2e3 * scenario.central.path.delay_s, 3),
        "central_regional_rtt_ms": round(2e3 * scenario.central.regional_path.delay_s, 3),
        "edge_usd_per_hour": scenario.prices.edge_usd_per_hour,
        "core_usd_per_hour": scenario.prices.core_usd_per_hour,
        "surges": [[surge.at_s, surge.until_s, surge.factor] for surge in load.surges],
        "faults": [
            [type(fault).__name__, fault.at_s, min(fault.until_s, scenario.duration_s)]
            for fault in scenario.faults
        ],
    }


def _premiums(arms: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Up to which price of the edge each grid's tokens are no dearer than each centre's."""
    return {
        "break_even_edge_premium": {
            f"{grid} / {central}": break_even_premium(
                arms[grid]["goodput_tok_per_s"], arms[central]["goodput_tok_per_s"]
            )
            for grid in ("grid", "grid_forwarding")
            for central in ("central", "central_regional")
            if grid in arms and central in arms
        }
    }
