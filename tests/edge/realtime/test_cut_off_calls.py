"""Calls that go on over another line, and what is keyed in on a telephone."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import httpx

from gateway.core.caller_check import QUESTION
from gateway.core.turn import TextDelta
from gateway.core.voice_line import Digit
from gateway.session import phrases
from tests.edge.fakes import END, HELLO, WAIT_S, Hold, serve
from tests.edge.realtime.test_calls import OFFER, SDP, ask, place, until, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.edge.fakes import Site
    from tests.edge.realtime.fake_voice import FakeVoices, Worker


def written(worker: Worker) -> list[str]:
    """The kinds of the events on the call's data channel so far."""
    return [json.loads(text)["type"] for text in worker.written]


def wait(holds: Callable[[], bool]) -> None:
    """Wait until something is so."""
    deadline_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def lose_worker(site: Site, worker: Worker) -> None:
    assert worker.line is not None
    site.loop.result().call_soon_threadsafe(worker.line.worker_lost)


def take_up(site: Site, location: str, offer: str = OFFER) -> httpx.Response:
    return httpx.post(f"{site.url}{location}", content=offer, headers=SDP)


def test_a_call_whose_worker_died_goes_on_with_its_conversation(
    voice_site: Site, voices: FakeVoices
) -> None:
    location = place(voice_site, notice="true").headers["location"]
    first = voices.fake_lines.workers[0]
    until(first, "conversation.created")
    until(first, "response.done")
    write(voice_site, first, {"type": "session.update", "session": {"instructions": "Be brief."}})
    until(first, "session.updated")
    ask(voice_site, first)
    wait(lambda: written(first).count("output_audio_buffer.stopped") == 2)
    lose_worker(voice_site, first)
    back = take_up(voice_site, location)
    assert (back.status_code, back.headers["location"]) == (200, location)

    second = voices.fake_lines.workers[1]
    for kind in ("session.created", "conversation.created"):
        before, after = until(first, kind), until(second, kind)
        for part in ("session", "conversation"):
            assert before.get(part, {}).get("id") == after.get(part, {}).get("id")
    assert until(second, "session.created")["session"]["instructions"] == "Be brief."
    until(second, "response.done")
    said_again = f"{phrases.CUT_OFF} {phrases.ONCE_MORE}"
    assert " ".join(voices.engines.spoken).endswith(said_again)
    ask(voice_site, second)
    wait(lambda: len(voice_site.runner.turns) == 2)
    shown = [message.content for message in voice_site.runner.turns[1].messages]
    assert shown == ["Be brief.", phrases.AI_NOTICE, "hi", "Hello wörld", "hi"]
    assert httpx.delete(f"{voice_site.url}{location}", headers=SDP).status_code == 200
    wait(lambda: bool(second.closed))
    assert take_up(voice_site, location).json()["error"]["code"] == "call_not_found"


def test_what_nobody_had_answered_when_the_worker_died_is_answered_then(
    voice_site: Site, voices: FakeVoices
) -> None:
    voice_site.runner.script = (Hold(),)
    location = place(voice_site).headers["location"]
    first = voices.fake_lines.workers[0]
    until(first, "conversation.created")
    ask(voice_site, first)
    voice_site.runner.started.get(timeout=WAIT_S)
    lose_worker(voice_site, first)
    assert voice_site.runner.left.get(timeout=WAIT_S) is False
    voice_site.runner.script = HELLO
    assert take_up(voice_site, location).status_code == 200
    done = until(voices.fake_lines.workers[1], "response.done")["response"]
    assert done["output"][0]["content"][0]["transcript"] == "Hello wörld"
    cut, again = voice_site.runner.turns
    assert [m.content for m in again.messages] == ["hi"]
    assert (again.run_key, again.sampling) == (cut.run_key, cut.sampling)  # no tool runs twice
    assert again.run_key


def test_what_was_not_heard_to_its_end_when_the_worker_died_is_said_again(
    voice_site: Site, voices: FakeVoices
) -> None:
    voices.fake_lines.plays = False
    location = place(voice_site, notice="true").headers["location"]
    first = voices.fake_lines.workers[0]
    until(first, "response.done")
    lose_worker(voice_site, first)
    voices.fake_lines.plays = True
    assert take_up(voice_site, location).status_code == 200
    until(voices.fake_lines.workers[1], "output_audio_buffer.stopped")
    assert " ".join(voices.engines.spoken) == f"{phrases.AI_NOTICE} {phrases.AI_NOTICE}"


def test_a_client_that_was_loaded_anew_gets_a_new_line_for_its_call(
    voice_site: Site, voices: FakeVoices
) -> None:
    location = place(voice_site).headers["location"]
    first = voices.fake_lines.workers[0]
    until(first, "conversation.created")
    ask(voice_site, first)
    until(first, "response.done")
    anew = f"{OFFER}a=fingerprint:sha-256 AB:CD\r\n"
    assert take_up(voice_site, location, anew).status_code == 200
    assert "another connection" in first.closed
    second = voices.fake_lines.workers[1]
    conversations = [until(one, "conversation.created")["conversation"] for one in (first, second)]
    assert conversations[0]["id"] == conversations[1]["id"]


def test_a_lost_call_that_cannot_go_on_yet_may_be_tried_again(
    voice_site: Site, voices: FakeVoices
) -> None:
    location = place(voice_site).headers["location"]
    until(voices.fake_lines.workers[0], "conversation.created")
    lose_worker(voice_site, voices.fake_lines.workers[0])
    voices.fake_lines.num_free = 0
    assert take_up(voice_site, location).json()["error"]["code"] == "lines_busy"
    voices.fake_lines.num_free = 1
    assert take_up(voice_site, location).status_code == 200


def test_a_lost_call_is_forgotten_after_the_grace_period(voices: FakeVoices) -> None:
    with serve(voices=voices, call_grace_s=0.0) as site:
        location = place(site).headers["location"]
        until(voices.fake_lines.workers[0], "conversation.created")
        lose_worker(site, voices.fake_lines.workers[0])
        gone = [take_up(site, location).status_code for _ in range(2)]
        assert gone[1] == 404


def press(site: Site, worker: Worker, keys: str) -> None:
    assert worker.line is not None
    for at_s, key in enumerate(keys):
        site.loop.result().call_soon_threadsafe(worker.line.happened, Digit(key, float(at_s)))


def test_a_code_that_was_asked_for_may_be_keyed_in(voice_site: Site, voices: FakeVoices) -> None:
    voice_site.runner.script = (TextDelta(QUESTION), END)
    place(voice_site)
    worker = voices.fake_lines.workers[0]
    until(worker, "conversation.created")
    press(voice_site, worker, "1234")  # nobody has asked
    ask(voice_site, worker)
    until(worker, "output_audio_buffer.stopped")
    wait(lambda: "rate_limits.updated" in written(worker))
    voice_site.runner.script = HELLO
    press(voice_site, worker, "4*4277")
    wait(lambda: len(voice_site.runner.turns) == 2)
    assert [m.content for m in voice_site.runner.turns[1].messages] == ["hi", QUESTION, "4277"]
    wait(lambda: written(worker).count("response.done") == 2)
    assert written(worker).count("input_audio_buffer.dtmf_event_received") == 10
