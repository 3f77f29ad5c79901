"""What goes wrong around a site, and what its callers see of it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore
from typing import TYPE_CHECKING

import openai
import pytest

from loadtests.local_site import (
    ONE_SITE,
    SiteProcess,
    firsthop,
    free_port_base,
    running_site,
    wait_until,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

ENDLESS = "round and round ..."


@pytest.fixture
def own_site(echo_bundle: Path, tmp_path: Path) -> Iterator[SiteProcess]:
    """A site of the test's own, to be hurt."""
    with running_site(tmp_path / "site", "--model", str(echo_bundle)) as site:
        yield site


def client_of(site: SiteProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{site.http}/v1", api_key="none", max_retries=0)


def stream(client: openai.OpenAI, said: str, max_tokens: int) -> Iterator[str]:
    chunks = client.chat.completions.create(
        model="default",
        messages=[{"role": "user", "content": said}],
        stream=True,
        temperature=0,
        max_tokens=max_tokens,
    )
    for chunk in chunks:
        if chunk.choices and chunk.choices[0].delta.content:
            yield chunk.choices[0].delta.content


def test_a_killed_engine_costs_a_pause_and_no_token(own_site: SiteProcess) -> None:
    with client_of(own_site) as client:
        unbroken = "".join(stream(client, ENDLESS, 1500))
        pieces = []
        first_engine = own_site.engine_pid()
        for piece in stream(client, ENDLESS, 1500):
            pieces.append(piece)
            if len(pieces) == 3:
                os.kill(first_engine, signal.SIGKILL)
    assert "".join(pieces) == unbroken
    assert own_site.engine_pid() != first_engine
    own_site.wait_idle()
    newest = own_site.admin_json("/v1/requests?limit=1")["data"][0]
    assert newest["num_resumes"] == 1
    assert newest["usage"]["completion_tokens"] == 1500


def test_an_engine_killed_again_and_again_loses_no_stream(own_site: SiteProcess) -> None:
    said = [f"{index} round and round ..." for index in range(4)]

    begun = Semaphore(0)

    def ask(text: str) -> str:
        with client_of(own_site) as client:
            pieces = stream(client, text, 1800)
            first = next(pieces)
            begun.release()
            return first + "".join(pieces)

    with ThreadPoolExecutor(max_workers=4) as pool:
        unbroken = list(pool.map(ask, said))
        answers = [pool.submit(ask, text) for text in said]
        for _ in said * 2:  # those that have not begun have a deadline that restarts may cost
            assert begun.acquire(timeout=60)
        for _ in range(3):
            restarts = own_site.admin_json("/v1/site")["now"]["num_engine_restarts"]
            os.kill(own_site.engine_pid(), signal.SIGKILL)

            def is_back(before: int = restarts) -> bool:
                now = own_site.admin_json("/v1/site")["now"]
                return bool(now["num_engine_restarts"] > before)

            wait_until(is_back, "the engine is back")
        assert [answer.result() for answer in answers] == unbroken


def test_a_killed_site_leaves_no_engine_behind(own_site: SiteProcess) -> None:
    engine = own_site.engine_pid()
    own_site.process.kill()
    own_site.process.wait(60)
    wait_until(lambda: not Path(f"/proc/{engine}").exists(), "the engine has ended")


def test_sigterm_lets_the_running_turn_end(own_site: SiteProcess) -> None:
    with client_of(own_site) as client:
        undisturbed = "".join(stream(client, ENDLESS, 1500))
        answer = stream(client, ENDLESS, 1500)
        pieces = [next(answer)]
        own_site.process.send_signal(signal.SIGTERM)
        pieces += list(answer)
    assert "".join(pieces) == undisturbed
    assert own_site.process.wait(60) == 0


def test_a_draining_site_sends_new_turns_elsewhere(own_site: SiteProcess) -> None:
    with client_of(own_site) as client:
        own_site.set_capacity(0.02)  # the running turn outlasts the drain's announcement
        running = stream(client, ENDLESS, 1900)
        next(running)
        own_site.process.send_signal(signal.SIGTERM)
        wait_until(lambda: own_site.admin_json("/v1/site")["now"]["draining"], "it drains")
        with pytest.raises(openai.InternalServerError) as refused:
            list(stream(client, "hello", 5))
        assert refused.value.code == "site_draining"
        own_site.set_capacity(1.0)
        assert list(running)


def test_a_client_that_leaves_frees_its_slot(echo_site: SiteProcess) -> None:
    with client_of(echo_site) as client:
        for _ in range(20):
            answer = client.chat.completions.create(
                model="default",
                messages=[{"role": "user", "content": ENDLESS}],
                stream=True,
                max_tokens=1900,
            )
            next(iter(answer))
            answer.close()
    echo_site.wait_idle()
    newest = echo_site.admin_json("/v1/requests?limit=20")["data"]
    assert {turn["outcome"] for turn in newest} == {"abandoned"}


def test_a_client_that_stops_reading_is_dropped_and_harms_nobody(
    echo_bundle: Path, tmp_path: Path
) -> None:
    body = (
        '{"model":"default","stream":true,"temperature":0,"max_tokens":1900,"logprobs":true,'
        '"top_logprobs":20,"messages":[{"role":"user","content":"round ..."}]}'
    )
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    with running_site(
        tmp_path / "site", "--model", str(echo_bundle), FIRSTHOP_LIMITS_STALL_LIMIT_S="1"
    ) as site:
        with socket.socket() as idle:
            idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            idle.connect(("127.0.0.1", site.port_base))
            idle.sendall((head + body).encode())
            with client_of(site) as client:
                assert "".join(stream(client, "still here", 50)) == "still here"

            def dropped() -> bool:
                turns = site.admin_json("/v1/requests?outcome=abandoned")["data"]
                return bool(turns) and turns[0]["error"] == "client_stalled"

            wait_until(dropped, "the idle client was dropped")
        site.wait_idle()


def test_fifty_times_more_turns_than_slots(echo_bundle: Path, tmp_path: Path) -> None:
    slots, turns = 2, 100
    fates: list[str] = []
    lock = threading.Lock()

    def ask(index: int) -> None:
        said = f"turn {index}"
        with client_of(site) as client:
            try:
                fate = "answered" if "".join(stream(client, said, 20)) == said else "wrong"
            except openai.InternalServerError as shed:
                fate = f"{shed.status_code} {shed.code} {'retry-after' in shed.response.headers}"
        with lock:
            fates.append(fate)

    with running_site(
        tmp_path / "site",
        "--model",
        str(echo_bundle),
        FIRSTHOP_MODEL_NUM_SLOTS=str(slots),
        FIRSTHOP_BUDGETS_AGENT_MS="300",
    ) as site:
        with ThreadPoolExecutor(max_workers=turns) as pool:
            list(pool.map(ask, range(turns)))
        assert set(fates) <= {"answered", "503 slo_unattainable True"}
        assert len(fates) == turns
        assert fates.count("answered") > 0
        site.wait_idle()
        with client_of(site) as client:
            assert "".join(stream(client, "after the storm", 50)) == "after the storm"


def test_a_port_in_use_is_named(echo_bundle: Path, tmp_path: Path) -> None:
    def start(offset: int) -> tuple[int, subprocess.CompletedProcess[str]]:
        port = free_port_base() + offset
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a test before may have
            taken.bind(("127.0.0.1", port))  # left connections on it that time out
            taken.listen()
            options = ("--port-base", str(port - offset), "--model", str(echo_bundle))
            return port, firsthop(*ONE_SITE, *options, cwd=tmp_path)

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(start, range(4)))
    for port, done in told:
        assert done.returncode == 1
        assert f"127.0.0.1:{port}" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_damaged_model_is_refused_at_start(echo_bundle: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "model"
    damaged.mkdir()
    for file in echo_bundle.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "tokenizer.json").write_text("{}")
    base = str(free_port_base())
    changed = firsthop(*ONE_SITE, "--port-base", base, "--model", str(damaged), cwd=tmp_path)
    (damaged / "tokenizer.json").unlink()
    missing = firsthop(*ONE_SITE, "--port-base", base, "--model", str(damaged), cwd=tmp_path)
    for done in (changed, missing):
        assert done.returncode == 1
        assert "tokenizer.json" in done.stderr
        assert "Traceback" not in done.stderr


def test_ctrl_c_ends_it_quietly(own_site: SiteProcess) -> None:
    engine = own_site.engine_pid()
    started_s = time.monotonic()
    assert own_site.end(signal.SIGINT) == 0
    assert time.monotonic() - started_s < 10
    assert not Path(f"/proc/{engine}").exists()
    assert "Traceback" not in own_site.log.read_text()
