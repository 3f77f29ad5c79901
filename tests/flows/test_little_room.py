"""What operators set for turns that there is little room for, at whole sites."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from loadtests.local_grid import running_grid
from loadtests.local_site import SiteProcess, running_site
from tests.flows.test_grid import BLOCKER, PATIENT, TURN, asking
from tests.flows.test_keys import new_key

if TYPE_CHECKING:
    from pathlib import Path

SLOW = """
basis = "assumed"
about = "a fifth of a second a step, half a millisecond for a token of a prompt"

[decode]
rows = [1, 256]
step_ms = [200.0, 300.0]
context_us_per_token = 0.0

[prefill]
tokens = [1, 2048]
chunk_ms = [1.0, 1024.0]
past_ns_per_pair = 0.0

[sources]
"decode.step_ms" = "made up for a test"
"decode.context_us_per_token" = "made up for a test"
"prefill.chunk_ms" = "made up for a test"
"prefill.past_ns_per_pair" = "made up for a test"
"""


def slow_model(folder: Path, bundle: Path) -> tuple[str, ...]:
    profile = folder / "slow.toml"
    profile.write_text(SLOW)
    return ("--model", str(bundle), "--accelerator", f"emulated:{profile}")


def ask(site: SiteProcess, body: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
    url = f"{site.http}/v1/chat/completions"
    return httpx.post(url, json={**body, "stream": False}, headers=headers, timeout=90)


def test_a_key_names_the_sites_that_may_answer_and_turns_avoid_the_dear_one(
    tmp_path: Path, echo_bundle: Path
) -> None:
    bound = {"authorization": f"Bearer {new_key(tmp_path, '--tenant', 'a', '--sites', 'edge-b')}"}
    lost = {"authorization": f"Bearer {new_key(tmp_path, '--tenant', 'b', '--sites', 'core')}"}
    free = {"authorization": f"Bearer {new_key(tmp_path, '--tenant', 'c')}"}
    with running_grid(
        tmp_path,
        *("--model", str(echo_bundle), "--accelerator", "emulated:rtx-pro-6000"),
        own={"edge-b": {"FIRSTHOP_ROUTING_COST_MS": "60000"}},
        FIRSTHOP_AUTH_KEYS_FILE=str(tmp_path / "keys.toml"),
        FIRSTHOP_MODEL_NUM_SLOTS="1",
        FIRSTHOP_LIMITS_MAX_QUEUED="0",
    ) as sites:
        entry = sites["edge-a"]
        for _ in range(3):
            answer = ask(entry, TURN, bound)
            assert answer.json()["firsthop"]["path"] == ["edge-a", "edge-b"]
        refused = ask(entry, TURN, lost)
        assert refused.status_code == 503
        record = entry.admin_json(f"/v1/requests/{refused.headers['x-request-id']}")
        (shed,) = record["decisions"]
        assert (shed["chosen"], shed["reason"]) == ("", "place_not_allowed")
        assert {one["reason"] for one in shed["candidates"]} == {
            "place_not_allowed",
            "other_tenant",
        }
        for site in sites.values():
            site.wait_idle()
        with asking(entry, BLOCKER, {**PATIENT, **free}) as blocker:
            blocker.read(1)
            for _ in range(3):
                with asking(entry, {**TURN, "max_tokens": 8}, {**PATIENT, **free}) as stream:
                    stream.read()
                assert stream.head["x-firsthop-site"] == "edge-c"
                sites["edge-c"].wait_idle()


def test_a_late_turn_waits_where_the_operator_lets_it(tmp_path: Path, echo_bundle: Path) -> None:
    short = {**TURN, "max_tokens": 4}
    with running_site(
        tmp_path,
        *slow_model(tmp_path, echo_bundle),
        FIRSTHOP_MODEL_NUM_SLOTS="1",
        FIRSTHOP_ROUTING_OVERRUN_RATIO="10",
    ) as site:
        with asking(site, BLOCKER) as blocker:
            blocker.read(1)
            hopeless = ask(site, short, {"x-slo-ttft-ms": "1"})
            assert hopeless.status_code == 503
            late = {"x-slo-ttft-ms": f"{hopeless.json()['error']['estimate_ms'] / 2:.0f}"}
            voice = ask(site, short, {**late, "x-firsthop-class": "voice"})
            agent = ask(site, short, late)
        assert voice.status_code == 503
        record = site.admin_json(f"/v1/requests/{agent.headers['x-request-id']}")
    assert record["decisions"][0]["chosen"] == "edge-a"
    assert record["decisions"][0]["reason"] == "nothing_fits"
    assert record["decisions"][1]["reason"] == "expired_in_queue"


def test_a_conversation_that_takes_too_long_is_answered_by_its_last_part(
    tmp_path: Path, echo_bundle: Path
) -> None:
    history = [
        {"role": role, "content": f"{number} {'x' * 120}"}
        for number in range(6)
        for role in ("user", "assistant")
    ]
    body = {"messages": [*history, {"role": "user", "content": "hello"}], "max_tokens": 8}
    hurried = {"x-slo-ttft-ms": "600"}
    with running_site(
        tmp_path,
        *slow_model(tmp_path, echo_bundle),
        FIRSTHOP_ROUTING_KEEP_MESSAGES="2",
    ) as site:
        part = ask(site, body, hurried).json()
        whole = ask(site, body, PATIENT).json()
        hopeless = ask(site, {**body, "messages": [history[0] | {"content": "x" * 1500}]}, hurried)
    assert "messages_left_out" not in whole["firsthop"]
    assert part["firsthop"]["messages_left_out"] == 12
    assert part["usage"]["prompt_tokens"] < 200 < whole["usage"]["prompt_tokens"]
    assert hopeless.status_code == 503
