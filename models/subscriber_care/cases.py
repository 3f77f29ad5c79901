"""Evaluation cases: conversations up to the assistant's turn, and what that turn has to be."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.subscriber_care.data.mix import dialogues
from models.subscriber_care.format import HERE, Called, Heard, Returned, Said, Turn

CASES_FILE = HERE / "dev_cases.jsonl"
FRESH_CASES_FILE = HERE / "fresh_cases.jsonl"
"""Written when the data and the weights of a version were fixed; their failures are not kept."""


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
            is_models = isinstance(turn, Called) or (
                isinstance(turn, Said) and not turn.is_sessions
            )
            if is_models and num_made < num_cases:
                num_made += 1
                call = turn if isinstance(turn, Called) else None
                category = f"generated {turn.tool if isinstance(turn, Called) else 'text'}"
                yield Case(f"generated-{index}-{at}", category, turns[:at], call)
        if num_made >= num_cases:
            return
