"""The open-loop clients: against a site, and against a server that stalls."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING

import msgspec
import pytest

from loadtests.child import ChildFailed
from loadtests.clients.caller import Fate as CallerFate
from loadtests.clients.plan import Ask, Plan, Protocol, Sample, asks_at, dealt
from loadtests.clients.process import OpenLoop
from loadtests.clients.run import attained, run_clients, summarize
from loadtests.host import lag_counts, lag_p99_s
from loadtests.local_site import free_port_base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtests.local_site import SiteProcess

_SAID = "hello there"
_STALL_S = 0.1


def _plan(protocol: Protocol, target: str, asks: list[Ask], **keys: float) -> Plan:
    plan = Plan(protocol, (target,), tuple(asks), num_connections=2)
    return msgspec.structs.replace(plan, **keys)


def _target(site: SiteProcess, protocol: Protocol) -> str:
    return site.grpc if protocol == "grpc" else site.http.removeprefix("http://")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_every_request_leaves_a_whole_sample(
    echo_site: SiteProcess, tmp_path: Path, protocol: Protocol
) -> None:
    asks = asks_at(
        [0.01 * n for n in range(20)], [_SAID], random.Random(1), turn_class="batch", max_tokens=5
    )
    plans = [_plan(protocol, _target(echo_site, protocol), list(part)) for part in dealt(asks, 2)]
    seen = run_clients(plans, tmp_path)
    samples = seen.samples
    assert set(seen.lags_s) == {"client 0", "client 1"}
    assert [sample.ask for sample in samples] == asks
    for sample in samples:
        assert (sample.outcome, sample.code, sample.site) == ("ok", "", "edge-a")
        assert sample.path == "edge-a"
        assert sample.completion_tokens == 5
        assert sample.prompt_tokens > len(_SAID)
        assert sample.first_s is not None
        assert sample.ask.due_s <= sample.sent_s < sample.first_s <= sample.ended_s
        record = echo_site.admin_json(f"/v1/requests/{sample.request_id}")
        assert record["class"] == "batch"
    assert 0.0 < lag_p99_s(lag_counts(echo_site.metrics())) < inf
    summary = summarize(samples, seed=1)
    assert (summary["offered"], summary["shed"], summary["failed"]) == (20, 0, 0)
    assert summary["attained"] == 1.0
    assert summary["ttft_ms"]["n"] == 20
    assert len(list(tmp_path.glob("samples-*.jsonl.zst"))) == 2


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_what_was_shed_is_told_from_what_failed(
    echo_site: SiteProcess, tmp_path: Path, protocol: Protocol
) -> None:
    hopeless = Ask(0.0, _SAID, "voice", 5, budget_s=1e-4)
    impossible = Ask(0.0, "long " * 2000, "agent", 5)
    plan = _plan(protocol, _target(echo_site, protocol), [hopeless, impossible])
    fates = {sample.ask: sample for sample in run_clients([plan], tmp_path).samples}
    assert (fates[hopeless].outcome, fates[hopeless].code) == ("shed", "slo_unattainable")
    assert fates[impossible].outcome == "failed"
    assert fates[impossible].code == "context_length_exceeded"
    assert not any(map(attained, fates.values()))


@contextmanager
def stalling_server(stall_at_s: float) -> Iterator[tuple[int, threading.Event]]:
    """Answers at once, except that all of it stands still once, for _STALL_S."""
    port, ready, done = free_port_base(), threading.Event(), threading.Event()
    asked = threading.Event()
    body = b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                if not asked.is_set():  # a busy machine takes seconds to start the client
                    asked.set()
                    asyncio.get_running_loop().call_later(stall_at_s, time.sleep, _STALL_S)
                length = int(request.lower().partition(b"content-length: ")[2].split()[0])
                await reader.readexactly(length)
                writer.write(answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def serve() -> None:
        server = await asyncio.start_server(handle, "127.0.0.1", port)
        async with server:
            ready.set()
            while not done.is_set():  # noqa: ASYNC110 (set by another thread)
                await asyncio.sleep(0.05)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert ready.wait(60)
        yield port, done
    finally:
        done.set()
        thread.join(60)


def test_a_stall_of_the_server_counts_against_all_that_was_due(tmp_path: Path) -> None:
    asks = [Ask(0.005 * n, _SAID) for n in range(600)]
    with stalling_server(stall_at_s=2.0) as (port, _):
        samples = run_clients([_plan("http", f"127.0.0.1:{port}", asks)], tmp_path).samples
    assert all(sample.outcome == "ok" for sample in samples)
    # 5 ms apart, the seventh of those that met the stall waited for 70 ms. A client that sent the
    # next request only after an answer would have had one slow sample in 600.
    assert summarize(samples, seed=1)["ttft_ms"]["p99"] >= 60.0
    assert min(sample.ttft_s for sample in samples if sample.ttft_s is not None) < 0.03


def test_a_server_that_never_answers_and_one_that_is_not_there(tmp_path: Path) -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def main() -> list[Sample]:
        async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            asks = [Ask(0.0, _SAID) for _ in range(3)]
            plan = _plan("http", f"127.0.0.1:{port}", asks, time_limit_s=0.3, max_num_open=2)
            return (await asyncio.to_thread(run_clients, [plan], tmp_path / "silent")).samples

    samples = asyncio.run(main())
    assert sorted(sample.code for sample in samples) == [
        "client_full",
        "client_timeout",
        "client_timeout",
    ]
    summary = summarize(samples, seed=1)
    assert (summary["failed"], summary["attained"], summary["ttft_ms"]) == (3, 0.0, None)
    assert not summary["valid"]
    nobody = _plan("http", f"127.0.0.1:{free_port_base()}", [Ask(0.0, _SAID)])
    with pytest.raises(ChildFailed, match="client 0 ended before its work did"):
        run_clients([nobody], tmp_path / "nobody")


_EVENT = b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'
_HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunked(*pieces: bytes) -> bytes:
    return _HEAD + b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in (*pieces, b""))


def test_an_odd_answer_is_one_requests_fate_and_events_need_not_be_chunks(tmp_path: Path) -> None:
    answers = {
        "whole": _chunked(_EVENT),
        "split": _chunked(_EVENT[:20], _EVENT[20:], b"data: [DONE]\n\n"),
        "not json": _chunked(b"data: {what\n\n"),
        "other json": _chunked(b'data: {"choices": 7}\n\n'),
        "odd chunk": _HEAD + b"seven\r\n",
        "garbage": b"garbage\r\n\r\n",
        "cut off": _HEAD + b"20\r\nda",
    }

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                said = json.loads(await reader.readexactly(length))["messages"][0]["content"]
                writer.write(answers[said])
                if said == "cut off":
                    writer.close()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> list[Sample]:
        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            asks = [Ask(0.01 * place, said) for place, said in enumerate(answers)]
            plan = _plan("http", f"127.0.0.1:{server.sockets[0].getsockname()[1]}", asks)
            return (await asyncio.to_thread(run_clients, [plan], tmp_path)).samples

    fates = {sample.ask.said: sample for sample in asyncio.run(main())}
    for said in ("whole", "split"):
        assert (fates[said].outcome, fates[said].code) == ("ok", "")
        assert fates[said].first_s is not None
    for said in ("not json", "other json", "odd chunk", "garbage"):
        assert (fates[said].outcome, fates[said].code) == ("failed", "client_unreadableanswer")
    assert fates["cut off"].code == "connection_incompletereaderror"


class _Echo:
    """Answers everything at once."""

    async def open(self) -> None: ...

    async def ask(self, ask: Ask) -> CallerFate:
        return CallerFate("ok", first_s=time.monotonic())

    async def close(self) -> None: ...


def test_a_client_that_wakes_late_counts_the_wait_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked_s = []

    def oversleep(self: OpenLoop, due_s: float) -> bool:
        time.sleep(max(0.0, due_s + 0.05 - time.monotonic()))
        asked_s.append(due_s)
        return True

    monkeypatch.setattr(OpenLoop, "_wait_until", oversleep)
    loop = OpenLoop(Plan("http", (), (Ask(0.1, _SAID), Ask(0.3, _SAID))), _Echo())
    asyncio.run(loop.run(time.monotonic()))
    assert len(asked_s) == 2
    for sample in loop.samples:
        assert sample.schedule_delay_s >= 0.05
        assert sample.ttft_s is not None
        assert sample.ttft_s >= sample.schedule_delay_s


def test_what_was_not_answered_is_missing_from_what_was_attained() -> None:
    ask = Ask(1.0, _SAID, budget_s=0.5)
    samples = [Sample(ask, 1.0, "ok", 2.0, 1.4), Sample(ask, 1.0, "shed", 1.1)]
    assert summarize(samples, seed=1)["attained"] == 0.5


def test_a_late_client_makes_the_run_invalid() -> None:
    def sample(late_s: float) -> Sample:
        return Sample(Ask(1.0, _SAID, budget_s=0.5), 1.0 + late_s, "ok", 2.0, 1.4)

    assert summarize([sample(0.001)] * 100, seed=1)["valid"]
    summary = summarize([sample(0.001)] * 98 + [sample(0.005)] * 2, seed=1)
    assert summary["schedule_delay_ms"]["p99"] == 5.0
    assert "sent 5.0 ms late" in summary["invalid_because"][0]
    assert summary["attained"] == 1.0
    late = msgspec.structs.replace(sample(0.0), first_s=1.6)
    assert summarize([late], seed=1)["attained"] == 0.0


def test_clients_turn_to_the_next_target_while_one_is_gone(
    echo_site: SiteProcess, tmp_path: Path
) -> None:
    """A connection that is cut before any content, as by a site that is killed."""

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async def main(plan: Plan) -> list[Sample]:
        async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
            targets = (f"127.0.0.1:{server.sockets[0].getsockname()[1]}", plan.targets[0])
            both = msgspec.structs.replace(plan, targets=targets)
            return (await asyncio.to_thread(run_clients, [both], tmp_path)).samples

    asks = [Ask(0.01 * n, _SAID, max_tokens=3) for n in range(5)]
    plan = _plan("http", _target(echo_site, "http"), asks)
    assert {sample.outcome for sample in asyncio.run(main(plan))} == {"failed"}
    samples = asyncio.run(main(msgspec.structs.replace(plan, turns_elsewhere=True)))
    assert [sample.ask for sample in samples] == asks
    assert {sample.site for sample in samples} == {"edge-a"}


def test_a_run_that_is_over_early_keeps_what_had_ended(
    echo_site: SiteProcess, tmp_path: Path
) -> None:
    asks = [Ask(0.01 * n, _SAID, max_tokens=2) for n in range(10)]
    plan = _plan("http", _target(echo_site, "http"), [*asks, Ask(500.0, _SAID)])
    begun = threading.Event()

    def has_answered() -> bool:
        return begun.is_set() and "_count" in echo_site.metrics() and time.monotonic() > over_s[0]

    over_s = [0.0]

    def begin(start_s: float) -> None:
        over_s[0] = start_s + 3.0
        begun.set()

    began_s = time.monotonic()
    seen = run_clients([plan], tmp_path, on_begin=begin, is_over=has_answered)
    assert time.monotonic() - began_s < 60.0
    assert 0 < len(seen.samples) <= len(asks)
    assert seen.lags_s["client 0"]
