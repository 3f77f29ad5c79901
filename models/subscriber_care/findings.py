"""What a run over evaluation cases found: passes by category, confusions, and wrong values."""

import json
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from gateway.core.values import said
from models.subscriber_care.cases import Case
from models.subscriber_care.format import Called, Heard, Returned, Said, Turn

MAX_REPLY_WORDS = 30
VALUE_ARGUMENTS = frozenset({"amount", "minutes", "country", "days"})
"""Arguments whose values are open: the dangerous ones."""
_Z95 = 1.959964


@dataclass(slots=True)
class Tally:
    """Passes of one kind of case."""

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


def wilson(num_passed: int, num_cases: int) -> tuple[float, float]:
    """Return the 95 % score interval of a proportion (Wilson, 1927)."""
    if num_cases == 0:
        return 0.0, 1.0
    p, n, z = num_passed / num_cases, num_cases, _Z95
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(slots=True)
class Findings:
    """Grows case by case."""

    categories: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    values: Tally = field(default_factory=Tally)
    """Cases with an open value in the expected call: every value right, in the right call."""
    passed: set[str] = field(default_factory=set)
    failures: list[dict[str, str]] = field(default_factory=list)
    values_not_said: list[str] = field(default_factory=list)
    """Calls with a value that the caller never said, in any words."""
    values_said_but_wrong: list[str] = field(default_factory=list)
    confusions: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By expected tool (or text): what came instead or as expected."""
    num_invalid_calls: int = 0
    num_long_replies: int = 0

    @property
    def total(self) -> Tally:
        """All cases together."""
        tallies = self.categories.values()
        return Tally(sum(t.num_passed for t in tallies), sum(t.num_cases for t in tallies))

    def add(self, case: Case, reply: Said | Called) -> None:
        """Count one answer."""
        if isinstance(reply, Said) and len(reply.text.split()) > MAX_REPLY_WORDS:
            self.num_long_replies += 1
        if isinstance(reply, Called):
            self._judge_values(case, reply)
        self._count(case, _kind(reply), shown(reply), is_passed=case.accepts(reply))

    def add_invalid(self, case: Case, reason: str) -> None:
        """Count a call that is none."""
        self.num_invalid_calls += 1
        self._count(case, "invalid", f"invalid call: {reason}", is_passed=False)

    def _count(self, case: Case, kind: str, got: str, *, is_passed: bool) -> None:
        tallies = [self.categories[case.category]]
        if case.call is not None and not VALUE_ARGUMENTS.isdisjoint(case.call.arguments):
            tallies.append(self.values)
        for tally in tallies:
            tally.num_cases += 1
            tally.num_passed += is_passed
        self.confusions[case.call.tool if case.call else "text"][kind] += 1
        if is_passed:
            self.passed.add(case.id)
            return
        expected = shown(case.call) if case.call else f"text: {case.text_pattern}"
        last = shown(case.turns[-1])
        self.failures.append({"id": case.id, "last": last, "expected": expected, "got": got})

    def _judge_values(self, case: Case, call: Called) -> None:
        wanted = case.call.arguments if case.call and case.call.tool == call.tool else {}
        open_values = {n: v for n, v in call.arguments.items() if n in VALUE_ARGUMENTS}
        for name, value in open_values.items():
            if value == wanted.get(name):
                continue
            note = f"{case.id}: {name}={value}"
            was_said = value in _all_said(case)
            (self.values_said_but_wrong if was_said else self.values_not_said).append(note)

    def as_json(self, *, keep_failures: bool) -> dict[str, Any]:
        """Return the findings as the report holds them."""
        report: dict[str, Any] = {
            "total": self.total.as_json(),
            "categories": {k: v.as_json() for k, v in sorted(self.categories.items())},
            "values": self.values.as_json(),
            "values_not_said": len(self.values_not_said),
            "values_said_but_wrong": len(self.values_said_but_wrong),
            "invalid_calls": self.num_invalid_calls,
            "replies_over_30_words": self.num_long_replies,
            "confusion_matrix": {k: dict(c.most_common()) for k, c in self.confusions.items()},
        }
        if keep_failures:
            report["wrong_values"] = [*self.values_not_said, *self.values_said_but_wrong]
            report["failures"] = self.failures
        return report


def _all_said(case: Case) -> set[int | str]:
    """Every value in anything that the caller said, of whatever kind, taken back or not."""
    heard = [turn.text for turn in case.turns if isinstance(turn, Heard)]
    values: set[int | str] = set()
    for text in heard:
        for found in said([text]).values():
            values.update(found.values)
    return values


def _kind(reply: Said | Called) -> str:
    return reply.tool if isinstance(reply, Called) else "text"


def shown(turn: Turn) -> str:
    """Return a turn in one line for people."""
    match turn:
        case Called(tool, arguments):
            return f"{tool}({', '.join(f'{k}={v}' for k, v in arguments.items())})"
        case Returned(values):
            return json.dumps(dict(values))
        case Heard(text) | Said(text):
            return text
