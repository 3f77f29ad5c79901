"""Refusals as JSON, where the unmodified clients show too little of it."""

from __future__ import annotations

import json
import math

from gateway.core.errors import SiteDraining, SloUnattainable
from gateway.edge.http_errors import error_body, error_headers


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


def test_who_is_sent_away_is_told_where_to_go() -> None:
    there = ("http://127.0.0.1:8090", "http://127.0.0.1:8100")
    headers = dict(error_headers(SiteDraining(there)))
    assert headers[b"x-firsthop-alternates"] == b"http://127.0.0.1:8090, http://127.0.0.1:8100"
    assert headers[b"x-should-retry"] == b"false"
    useless = SloUnattainable(
        estimate_s=9.0,
        budget_s=0.5,
        reason="nothing_fits",
        retry_after_s=math.inf,
        alternates=there[:1],
    )
    headers = dict(error_headers(useless))
    assert headers[b"x-firsthop-alternates"] == b"http://127.0.0.1:8090"
    assert headers[b"x-should-retry"] == b"false"
    assert b"retry-after" not in headers
