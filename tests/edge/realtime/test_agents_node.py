"""The unmodified `@openai/agents-realtime` client for Node, over WebSocket."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.turn import TextDelta, ToolCall, ToolCallDelta, TurnEnd, TurnFinish, Usage
from tests.edge.fakes import END, PAY, ScriptedRunner
from tests.requirements import require

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from gateway.core.stages import TurnTrail
    from gateway.core.turn import Turn, TurnEvent
    from tests.edge.fakes import Site

CLIENT = Path(__file__).parents[2] / "clients" / "node"
CALLED = TurnEnd(TurnFinish.TOOL_CALLS, Usage(), (ToolCall("call_1", "pay_bill", '{"amount":40}'),))


@pytest.fixture(autouse=True)
def node() -> None:
    package = CLIENT / "node_modules" / "@openai" / "agents-realtime"
    present = shutil.which("node") is not None and package.is_dir()
    require("node", present, "install Node and run `npm ci` in tests/clients/node")


def run(site: Site, scenario: str) -> Any:
    url = f"ws://127.0.0.1:{site.port}/v1/realtime?model=gpt-4o-realtime"
    command = ["node", str(CLIENT / "realtime.mjs"), url, scenario]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["unfit"] == []
    assert told["errors"] == []
    return told


def test_answers(http_site: Site) -> None:
    told = run(http_site, "answers")
    said = [(item["role"], item["text"], item["status"]) for item in told["history"]]
    assert said == [("user", "hi", "completed"), ("assistant", "Hello wörld", "completed")]
    assert {"session.created", "session.updated", "response.done"} <= set(told["told"])


class AnswersResults(ScriptedRunner):
    """Calls a tool, and answers its result in words."""

    async def run(self, turn: Turn, trail: TurnTrail) -> AsyncGenerator[TurnEvent, None]:
        has_result = bool(turn.messages[-1].tool_call_id)
        self.script = (
            (TextDelta("Paid."), END)
            if has_result
            else (PAY, ToolCallDelta(0, '{"amount":40}'), CALLED)
        )
        async for event in super().run(turn, trail):
            yield event


def test_tools(http_site: Site) -> None:
    http_site.desk.runner = runner = AnswersResults()
    told = run(http_site, "tools")
    call = next(item for item in told["history"] if item["type"] == "function_call")
    assert (call["name"], call["output"]) == ("pay_bill", "paid 40")
    assert told["history"][-1]["text"] == "Paid."
    result = runner.turns[-1].messages[-1]
    assert (result.tool_call_id, result.content) == ("call_1", "paid 40")
