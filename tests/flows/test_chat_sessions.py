"""Chat completions whose session outlives the site that is asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import httpx

from loadtests.local_grid import kill, running_grid

if TYPE_CHECKING:
    from pathlib import Path

    from loadtests.local_site import SiteProcess

PATIENT = {"x-slo-ttft-ms": "20000", "x-firsthop-tools": "server"}


def say(
    site: SiteProcess, text: str, session: str, request_id: str, **headers: str
) -> httpx.Response:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "temperature": 0}
    told = {**PATIENT, "x-firsthop-session": session, "x-request-id": request_id, **headers}
    return httpx.post(f"{site.http}/v1/chat/completions", json=body, headers=told, timeout=60)


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["message"]["content"])


def test_a_pending_payment_is_paid_once_after_its_site_was_killed(tmp_path: Path) -> None:
    with running_grid(tmp_path) as sites:
        begins = ("I would like to pay forty dollars.", "new")
        key = {"idempotency-key": "5f0c"}
        asked = say(sites["edge-a"], *begins, "ask", **key)
        assert re.search(r"pay 40 dollars .*\(ref [A-Z0-9]{5}\)", text_of(asked))
        token = asked.headers["x-firsthop-session"]
        alternates = asked.headers["x-firsthop-alternates"].split(", ")
        assert sorted(alternates) == sorted(sites[name].http for name in ("edge-b", "edge-c"))
        kill(sites["edge-a"])
        lost = say(sites["edge-b"], *begins, "ask-again", **key)
        assert lost.headers["x-firsthop-session"] == token
        assert text_of(lost) == text_of(asked)
        paid = say(sites["edge-c"], "yes please", token, "yes")
        (ran,) = paid.json()["firsthop"]["tool_runs"]
        assert ran["result"] == '{"paid_dollars":40,"open_dollars":24}'
        again = say(sites["edge-b"], "yes please", token, "yes")
        assert text_of(again) == text_of(paid)
        assert again.json()["firsthop"]["tool_runs"] == [ran]
        bill = say(sites["edge-b"], "What is my current bill?", token, "bill")
        assert "24 dollars still open" in text_of(bill)
        refused = say(sites["edge-b"], "hello", token[:-1] + "x", "no")
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "session_not_found")
