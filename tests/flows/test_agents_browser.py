"""The unmodified browser bundle of `@openai/agents-realtime`, in a call over WebRTC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from loadtests.local_site import running_site
from tests.clients.chromium import drive, microphone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtests.local_site import SiteProcess

pytestmark = pytest.mark.voice

_CONNECTED_S = 4.0
_SILENCE_S = 14.0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteProcess]:
    """A site with the shipped assistant."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


def call(site: SiteProcess, scenario: str, recording: Path) -> Any:
    found = drive("agents.mjs", [site.http, scenario, str(recording)])
    assert found["unfit"] == []
    assert found["errors"] == []
    assert found["faults"] == []
    assert found["energy"] > 0.1
    return found


def test_the_page_runs_a_tool_for_a_caller_who_speaks(site: SiteProcess, tmp_path: Path) -> None:
    said = microphone(tmp_path / "a.wav", _CONNECTED_S, "what is my balance", _SILENCE_S)
    found = call(site, "tools", said)
    assert found["run"] == [{"period": "current"}]
    asked, called, answered = found["history"]
    assert (asked["role"], asked["text"]) == ("user", "what is my balance")
    assert (called["name"], "77" in called["output"]) == ("get_bill", True)
    assert "77 dollars" in answered["text"]


def test_the_history_keeps_what_was_heard_of_an_answer(site: SiteProcess, tmp_path: Path) -> None:
    parts = (_CONNECTED_S, "what can you do for me", 2.3, "no wait stop please", _SILENCE_S)
    found = call(site, "interrupts", microphone(tmp_path / "a.wav", *parts))
    cut = found["history"][1]
    assert cut["role"] == "assistant"
    assert cut["status"] != "in_progress"
    assert "conversation.item.truncated" in found["told"]
    assert found["history"][2]["role"] == "user"
