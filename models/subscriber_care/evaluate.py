"""Measure the assistant: hand-written cases as a site serves them, and without any help.

    python -m models.subscriber_care.evaluate --build build/further

writes `report.json` in this folder. A case passes when the next assistant turn is exactly the
expected call, or is text (no call) that matches the expected pattern. *Served* decodes under the
turn's grammar, with the session's questions; *unconstrained* is the bare model. With `--build`, the
same cases also run on the weights in fp32.
"""

import argparse
import json
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from models.subscriber_care.cases import (
    CASES_FILE,
    FRESH_CASES_FILE,
    Case,
    generated_cases,
    read_cases,
)
from models.subscriber_care.export import BUNDLE_DIR, export
from models.subscriber_care.findings import Findings
from models.subscriber_care.format import HERE, Called, MalformedCallError, Said, Turn
from models.subscriber_care.served import ServedModel

REPORT_FILE = HERE / "report.json"
FRESH_SEED = 987_654_321

Replies: TypeAlias = Callable[[Sequence[Turn]], Said | Called]


def run(reply: Replies, cases: Iterable[Case]) -> Findings:
    """Let a model answer every case."""
    findings = Findings()
    for case in cases:
        try:
            findings.add(case, reply(case.turns))
        except MalformedCallError as error:
            findings.add_invalid(case, str(error))
    return findings


def against_fp32(build_dir: Path, int8: Findings, cases: Sequence[Case]) -> dict[str, Any]:
    """Serve the same cases in fp32; the loss is in percentage points of exact matches."""
    with tempfile.TemporaryDirectory() as folder:
        export(build_dir, Path(folder), ("fp32",))
        fp32 = run(ServedModel(Path(folder)).reply, cases)
    lost = fp32.total.num_passed - int8.total.num_passed
    return {
        "fp32": fp32.total.as_json(),
        "int8": int8.total.as_json(),
        "exact_match_loss_points": round(100 * lost / len(cases), 2),
        "passed_in_one_only": sorted(fp32.passed ^ int8.passed),
    }


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
    parser.add_argument("--cases", type=Path, default=CASES_FILE)
    parser.add_argument("--report", type=Path, default=REPORT_FILE)
    parser.add_argument("--build", type=Path, help="the run's folder: its facts, and fp32 beside")
    parser.add_argument("--generated", type=int, default=1000)
    parser.add_argument("--sealed", action="store_true", help="keep the failures to yourself")
    options = parser.parse_args()
    model = ServedModel(options.bundle)
    cases = read_cases(options.cases)
    served = run(model.reply, cases)
    report: dict[str, Any] = {
        "bundle": model.greedy.digest,
        "precision": model.greedy.precision,
        "decoding": "greedy",
        "commit": _commit(),
        "machine": platform.machine(),
        "served": served.as_json(keep_failures=not options.sealed),
        "unconstrained": run(model.greedy.reply, cases).as_json(keep_failures=False),
    }
    if not options.sealed:
        fresh_cases = read_cases(FRESH_CASES_FILE)
        report["fresh"] = run(model.reply, fresh_cases).as_json(keep_failures=False)
    if options.generated:
        unseen = generated_cases(options.generated, FRESH_SEED)
        report["generated_seed"] = FRESH_SEED
        report["generated"] = run(model.reply, unseen).as_json(keep_failures=False)
    if options.build is not None:
        report["quantisation"] = against_fp32(options.build, served, cases)
        facts = (options.build / "training.json").read_text(encoding="utf-8")
        report["training"] = json.loads(facts)
    options.report.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({k: report[k]["total"] for k in ("served", "unconstrained")}, indent=1))


if __name__ == "__main__":
    main()
