"""The unmodified openai client for Node against a real HTTP server."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.errors import SloUnattainable
from gateway.core.stages import Outcome
from gateway.core.turn import TextDelta, ToolCallDelta, TurnEnd, TurnFinish, Usage
from tests.edge.fakes import PAY, WAIT_S, Hold
from tests.requirements import require

if TYPE_CHECKING:
    from tests.edge.fakes import Site

pytestmark = pytest.mark.flow

CLIENT = Path(__file__).parents[1] / "clients" / "node"


@pytest.fixture(autouse=True)
def node() -> None:
    present = shutil.which("node") is not None and (CLIENT / "node_modules" / "openai").is_dir()
    require("node", present, "install Node and run `npm ci` in tests/clients/node")


def run(site: Site, scenario: str) -> Any:
    command = ["node", str(CLIENT / "chat.mjs"), site.v1, scenario]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_answers(http_site: Site) -> None:
    told = run(http_site, "answers")
    record = http_site.records.next()
    assert told["whole"]["choices"][0]["message"]["content"] == "Hello wörld"
    assert told["whole"]["firsthop"]["site"] == "edge-a"
    assert told["requestID"] == record.request_id
    chunks = told["chunks"]
    texts = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]]
    assert "".join(texts) == "Hello wörld"
    assert chunks[-1]["usage"]["total_tokens"] == 10
    assert told["models"] == ["tiny"]


def test_tool_calls(http_site: Site) -> None:
    end = TurnEnd(TurnFinish.TOOL_CALLS, Usage())
    http_site.runner.script = (PAY, ToolCallDelta(0, '{"amount":'), ToolCallDelta(0, "40}"), end)
    told = run(http_site, "tools")
    assert told["finish_reason"] == "tool_calls"
    assert [(call["id"], call["function"]) for call in told["calls"]] == [
        ("call_1", {"name": "pay_bill", "arguments": '{"amount":40}'})
    ]


def test_errors(http_site: Site) -> None:
    http_site.runner.script = (
        SloUnattainable(estimate_s=0.9, budget_s=0.5, reason="queue_full", retry_after_s=1.0),
    )
    told = run(http_site, "errors")
    shed = http_site.records.next()
    assert told["shed"] == {
        "kind": "InternalServerError",
        "status": 503,
        "code": "slo_unattainable",
        "param": None,
        "requestID": shed.request_id,
    }
    malformed = told["malformed"]
    assert (malformed["kind"], malformed["param"]) == ("BadRequestError", "n")
    missing = told["missing"]
    assert (missing["kind"], missing["code"]) == ("NotFoundError", "model_not_found")


def test_leaving_the_stream_aborts_the_turn(http_site: Site) -> None:
    http_site.runner.script = (TextDelta("Hel"), Hold())
    run(http_site, "leaves")
    assert http_site.runner.left.get(timeout=WAIT_S) is False
    assert http_site.records.next().outcome is Outcome.ABANDONED
