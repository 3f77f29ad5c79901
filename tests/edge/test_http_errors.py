"""Refusals as JSON, where the unmodified clients show too little of it."""

from __future__ import annotations

import json

from gateway.core.errors import SloUnattainable
from gateway.edge.http_errors import error_body


def test_a_turn_without_a_budget_is_shed_in_words_of_its_own() -> None:
    shed = SloUnattainable(estimate_s=9.0, budget_s=None, reason="queue_full", retry_after_s=2.0)
    assert json.loads(error_body(shed))["error"] == {
        "message": "shed (queue_full): the turn has no budget, but no more may wait at this site; "
        "the best estimate to the first token is 9000 ms",
        "type": "overloaded_error",
        "param": None,
        "code": "slo_unattainable",
        "reason": "queue_full",
        "estimate_ms": 9000.0,
        "budget_ms": None,
    }
