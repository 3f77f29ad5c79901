"""The talk page in a browser: a person speaks, types, interrupts and is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from openai import AsyncOpenAI

from gateway.session import phrases
from loadtests.local_site import firsthop, running_site
from tests.clients.chromium import drive, sentences
from tests.flows.test_realtime_faults import children

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtests.local_site import SiteProcess

pytestmark = pytest.mark.voice

NOTICE = "Hello, you are talking to an AI assistant. What can I do for you?"
BILL = "Your current bill is"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteProcess]:
    """A site with the shipped assistant."""
    with running_site(tmp_path_factory.mktemp("site")) as site:
        yield site


def use(site: SiteProcess, scenario: str, said: Path | str = "") -> Any:
    """What came of a scenario of `talk.mjs`; with nothing to say the microphone is refused."""
    return drive("talk.mjs", [site.http, scenario, str(said)])


def words_of(found: Any, who: str) -> list[str]:
    return [line["words"] for line in found["said"] if line["who"] == who]


def test_a_caller_speaks_and_types_and_is_answered(site: SiteProcess, tmp_path: Path) -> None:
    found = use(site, "speaks", sentences(tmp_path / "said", "what is my balance"))
    *_, heard, written = words_of(found, "caller")  # what was not understood was said again
    assert "balance" in heard  # a busy machine's browser drops sound: other words may differ
    assert written == "what is my balance"
    assert words_of(found, "tool")[-1].startswith('get_bill({"period": "current"}) → ')
    notice, *_, spoken, typed = words_of(found, "assistant")
    assert notice == NOTICE
    assert spoken.startswith(BILL)
    assert typed.startswith(BILL)
    assert found["loudest"] > 0.5
    stages = next(line["stages"] for line in found["said"] if line["words"] == spoken)
    for stage in ("endpoint", "prefill", "tts", "budget 500 ms"):
        assert stage in stages
    assert "demonstration grade" in found["engines"]
    assert (found["trouble"], found["faults"]) == ("", [])


def test_who_interrupts_reads_what_was_heard_of_the_answer(
    site: SiteProcess, tmp_path: Path
) -> None:
    said = sentences(tmp_path / "said", "what can you do for me", "no wait stop please")
    found = use(site, "interrupts", said)
    cut = next(line for line in found["said"] if line["isCut"])
    kept = next(line for line in found["said"] if line["words"] == NOTICE)
    assert not kept["isCut"]
    assert 0 < len(cut["words"]) < 120
    assert found["faults"] == []


def test_a_button_held_says_when_a_turn_ends(site: SiteProcess, tmp_path: Path) -> None:
    found = use(site, "pushes", sentences(tmp_path / "said", "what is my balance"))
    assert "balance" in words_of(found, "caller")[-1]
    assert words_of(found, "assistant")[-1].startswith(BILL)
    assert (found["trouble"], found["faults"]) == ("", [])


def test_without_a_microphone_one_types(site: SiteProcess) -> None:
    found = use(site, "types")
    assert "refused the microphone" in found["refused"]
    assert "typing works" in found["refused"]
    assert words_of(found, "assistant")[-1].startswith(BILL)
    assert found["faults"] == []


def test_a_call_comes_back_by_itself_when_its_voice_worker_is_killed(
    site: SiteProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (worker,) = children(site, "gateway.media.worker")
    monkeypatch.setenv("VICTIM", str(worker))
    found = use(site, "goesOn", sentences(tmp_path / "said", "hello"))
    assert found["states"][0] == "connecting again"
    notice, first, again, last = words_of(found, "assistant")
    assert notice == NOTICE
    assert first.startswith(BILL)
    assert again == f"{phrases.CUT_OFF} {phrases.ONCE_MORE}"
    assert "last" in last  # the site still knows that it is about bills
    assert words_of(found, "caller") == ["what is my balance", "and last month"]
    assert (found["trouble"], found["faults"]) == ("", [])


def test_a_site_that_is_full_or_wants_a_key_says_so(echo_bundle: Path, tmp_path: Path) -> None:
    made = firsthop("key", "create", "--tenant", "acme", "--file", "keys.toml", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    key = next(word for word in made.stdout.split() if word.startswith("fh_"))
    with running_site(
        tmp_path,
        "--model",
        str(echo_bundle),
        FIRSTHOP_AUTH_KEYS_FILE="keys.toml",
        FIRSTHOP_REALTIME_MAX_SESSIONS="1",
    ) as site:
        assert "asks for a key" in use(site, "isRefused")["trouble"]

        async def while_busy() -> Any:
            client = AsyncOpenAI(base_url=f"{site.http}/v1", api_key=key)
            async with client.realtime.connect(model="gpt-realtime"):
                return await asyncio.to_thread(
                    drive, "talk.mjs", [site.http, "isRefused", "", "", key]
                )

        assert "All lines are busy" in asyncio.run(while_busy())["trouble"]
