"""The unmodified browser bundle of `@openai/agents-realtime`, in a call over WebRTC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from loadtests.local_site import running_site
from tests.clients.chromium import drive, sentences

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtests.local_site import SiteProcess

pytestmark = pytest.mark.voice


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteProcess]:
    """A site with the shipped assistant."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


def call(site: SiteProcess, scenario: str, said: Path) -> Any:
    found = drive("agents.mjs", [site.http, scenario, str(said)])
    assert found["unfit"] == []
    assert found["errors"] == []
    assert found["faults"] == []
    assert found["energy"] > 0.1
    return found


def test_the_page_runs_a_tool_for_a_caller_who_speaks(site: SiteProcess, tmp_path: Path) -> None:
    found = call(site, "tools", sentences(tmp_path / "said", "what is my balance"))
    assert found["run"] == [{"period": "current"}]
    asked, called, answered = found["history"][-3:]  # what was not understood was said again
    assert asked["role"] == "user"
    assert "balance" in asked["text"]
    assert (called["name"], "77" in called["output"]) == ("get_bill", True)
    assert "77 dollars" in answered["text"]


def test_the_history_keeps_what_was_heard_of_an_answer(site: SiteProcess, tmp_path: Path) -> None:
    said = sentences(tmp_path / "said", "what can you do for me", "no wait stop please")
    found = call(site, "interrupts", said)
    (place,) = (at for at, item in enumerate(found["history"]) if item["isCut"])
    cut = found["history"][place]
    assert cut["role"] == "assistant"
    assert cut["status"] != "in_progress"
    assert found["history"][place + 1]["role"] == "user"
