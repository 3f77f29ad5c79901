"""Measure the shipped bundle: the hand-written development set and fresh generated dialogues.

    python -m models.subscriber_care.evaluate

writes `report.json` in this folder. A case passes when the next assistant turn is exactly the
expected call, or is text (no call) that matches the expected pattern. Values are never repaired
and nothing constrains the decoding.
"""

import argparse
import json
import math
import platform
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.subscriber_care.data.mix import dialogues
from models.subscriber_care.export import BUNDLE_DIR
from models.subscriber_care.format import (
    HERE,
    Called,
    Heard,
    MalformedCallError,
    Returned,
    Said,
    Turn,
)
from models.subscriber_care.greedy import GreedyModel

CASES_FILE = HERE / "dev_cases.jsonl"
REPORT_FILE = HERE / "report.json"
FRESH_SEED = 987_654_321
MAX_REPLY_WORDS = 30
_Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Case:
    """A conversation up to the assistant's turn, and what that turn has to be."""

    id: str
    category: str
    turns: Sequence[Turn]
    call: Called | None = None
    text_pattern: str = ""

    def accepts(self, reply: Said | Called) -> bool:
        """Say whether `reply` is what was expected."""
        if isinstance(reply, Called):
            return reply == self.call
        return self.call is None and bool(re.search(self.text_pattern, reply.text, re.IGNORECASE))


@dataclass(slots=True)
class Tally:
    """Passes and failures of one category."""

    num_passed: int = 0
    num_cases: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the counts, their ratio and its 95 % Wilson interval."""
        low, high = wilson(self.num_passed, self.num_cases)
        ratio = self.num_passed / self.num_cases if self.num_cases else 0.0
        return {
            "passed": self.num_passed,
            "cases": self.num_cases,
            "ratio": round(ratio, 4),
            "wilson95": [round(low, 4), round(high, 4)],
        }


@dataclass(slots=True)
class Findings:
    """What a run over cases found."""

    categories: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    failures: list[dict[str, str]] = field(default_factory=list)
    num_invalid_calls: int = 0
    num_long_replies: int = 0
    confusions: Counter[str] = field(default_factory=Counter)


def wilson(num_passed: int, num_cases: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson, 1927)."""
    if num_cases == 0:
        return 0.0, 1.0
    p, n, z = num_passed / num_cases, num_cases, _Z95
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def read_cases(path: Path = CASES_FILE) -> list[Case]:
    """Read the hand-written cases, one JSON object a line."""
    cases = []
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        expected = entry["expect"]
        call = Called(expected["call"], expected["arguments"]) if "call" in expected else None
        turns = [_turn(turn) for turn in entry["turns"]]
        cases.append(Case(entry["id"], entry["category"], turns, call, expected.get("text", "")))
    return cases


def _turn(entry: Mapping[str, Any]) -> Turn:
    if "user" in entry:
        return Heard(entry["user"])
    if "assistant" in entry:
        return Said(entry["assistant"])
    if "call" in entry:
        return Called(entry["call"], entry["arguments"])
    return Returned(entry["result"])


def generated_cases(num_cases: int, seed: int) -> Iterator[Case]:
    """Yield cases cut from dialogues that training never saw; text turns are only `not a call`."""
    num_made = 0
    for index, turns in enumerate(dialogues(seed)):
        for at, turn in enumerate(turns):
            if isinstance(turn, Said | Called) and num_made < num_cases:
                num_made += 1
                call = turn if isinstance(turn, Called) else None
                category = f"generated {turn.tool if isinstance(turn, Called) else 'text'}"
                yield Case(f"generated-{index}-{at}", category, turns[:at], call)
        if num_made >= num_cases:
            return


def run(model: GreedyModel, cases: Iterable[Case]) -> Findings:
    """Let the model answer every case."""
    findings = Findings()
    for case in cases:
        tally = findings.categories[case.category]
        tally.num_cases += 1
        try:
            reply = model.reply(case.turns)
        except MalformedCallError as error:
            findings.num_invalid_calls += 1
            _fail(findings, case, f"invalid call: {error}", "invalid")
            continue
        if isinstance(reply, Said) and len(reply.text.split()) > MAX_REPLY_WORDS:
            findings.num_long_replies += 1
        if case.accepts(reply):
            tally.num_passed += 1
        else:
            _fail(findings, case, _shown(reply), _kind(reply))
    return findings


def _fail(findings: Findings, case: Case, got: str, kind: str) -> None:
    last = case.turns[-1]
    findings.failures.append(
        {
            "id": case.id,
            "last_turn": last.text if isinstance(last, Heard | Said) else _shown(last),
            "expected": _shown(case.call) if case.call else f"text: {case.text_pattern}",
            "got": got,
        }
    )
    expected = case.call.tool if case.call else "text"
    findings.confusions[f"{expected} -> {kind}"] += 1


def _kind(reply: Said | Called) -> str:
    return reply.tool if isinstance(reply, Called) else "text"


def _shown(turn: Turn) -> str:
    match turn:
        case Called(tool, arguments):
            return f"{tool}({', '.join(f'{k}={v}' for k, v in arguments.items())})"
        case Returned(values):
            return json.dumps(dict(values))
        case Heard(text) | Said(text):
            return text


def as_json(findings: Findings, *, keep_failures: bool) -> dict[str, Any]:
    """Return the findings as the report holds them."""
    total = Tally(
        sum(tally.num_passed for tally in findings.categories.values()),
        sum(tally.num_cases for tally in findings.categories.values()),
    )
    report: dict[str, Any] = {
        "total": total.as_json(),
        "categories": {k: v.as_json() for k, v in sorted(findings.categories.items())},
        "invalid_calls": findings.num_invalid_calls,
        "replies_over_30_words": findings.num_long_replies,
        "confusions": dict(findings.confusions.most_common()),
    }
    if keep_failures:
        report["failures"] = findings.failures
    return report


def _commit() -> str:
    git = shutil.which("git")
    if git is None:
        return "unknown"
    asked = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def main() -> None:
    """Evaluate the shipped bundle and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=BUNDLE_DIR)
    parser.add_argument("--report", type=Path, default=REPORT_FILE)
    parser.add_argument("--training", type=Path, help="the run's training.json, to be included")
    parser.add_argument("--generated", type=int, default=1500)
    options = parser.parse_args()
    model = GreedyModel(options.bundle)
    hand_written = run(model, read_cases())
    generated = run(model, generated_cases(options.generated, FRESH_SEED))
    report: dict[str, Any] = {
        "bundle": model.digest,
        "precision": model.precision,
        "decoding": "greedy, unconstrained",
        "commit": _commit(),
        "machine": platform.machine(),
        "generated_seed": FRESH_SEED,
        "development": as_json(hand_written, keep_failures=True),
        "generated": as_json(generated, keep_failures=False),
    }
    if options.training is not None:
        report["training"] = json.loads(options.training.read_text(encoding="utf-8"))
    options.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: report[k]["total"] for k in ("development", "generated")}, indent=1))


if __name__ == "__main__":
    main()
