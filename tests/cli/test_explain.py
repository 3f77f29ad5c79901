"""`firsthop explain` against a real admin port, and the picture it draws."""

from __future__ import annotations

import io
import json
import socket
import threading
from math import inf, nan
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.cli.ink import ASCII, Ink, ink_for
from gateway.cli.main import main
from gateway.cli.waterfall import draw
from gateway.core.stages import Candidate, Outcome, TurnRecord
from gateway.edge.turn_view import TurnView, view_of
from gateway.telemetry.records import KeptTurn
from tests.edge.admin_site import serve_admin
from tests.telemetry.turns import answered, shed, trail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.edge.admin_site import AdminSite

STARTED_NS = 1_787_000_000_123_000_000

LATE_TURN = """\
turn   turn-1  voice, answered (stop)
at     2026-08-17T20:53:20.123+00:00  by acme over openai
model  subscriber-care@0123456789ab  path edge-a
trace  {trace}
budget 500.0 ms; first content at 630.0 ms: missed by 130.0 ms
took   1030.0 ms for 200 prompt tokens (50 cached) and 41 answer tokens

stage       from ms   took ms  0                                         1030 ms
ingress         0.0       1.0  █                      ┊
prompt          1.0       1.0  █                      ┊
admission       2.0       1.0  █                      ┊
link            3.0       5.0  █                      ┊
queue           8.0      20.0  █                      ┊
prefill        28.0     600.0   █████████████████████████████
egress        628.0       2.0                         ┊     █
decode        630.0     360.0                         ┊     ██████████████████
egress        990.0      40.0                         ┊                       ██
                                     first content 630.0 ms ▲
                                                      ┊ budget 500.0 ms

decision: sent to edge-a, because fits, 497.0 of 500.0 ms left
  site            predicted       margin   report age  verdict
> edge-a           120.0 ms      20.0 ms       8.0 ms  fits
  edge-b           160.0 ms      30.0 ms            -  slower
"""


def picture(record: TurnRecord, *, num_columns: int = 80, ink: Ink | None = None) -> str:
    view = view_of(KeptTurn(record, STARTED_NS))
    return draw(view, num_columns=num_columns, ink=Ink() if ink is None else ink)


@pytest.fixture(scope="module")
def site() -> Iterator[AdminSite]:
    with serve_admin() as site:
        site.telemetry.sink.record(answered(request_id="good/1"))
        yield site


def test_a_late_turn_is_drawn_to_scale_with_its_budget_and_decision() -> None:
    record = answered(prefill_s=0.6)
    trace = KeptTurn(record, STARTED_NS).trace.root.trace_hex

    assert picture(record) == LATE_TURN.format(trace=trace)


@pytest.mark.parametrize("num_columns", [60, 80, 100, 200])
@pytest.mark.parametrize("record", [answered(), answered(prefill_s=30.0), shed()])
def test_the_bars_fill_the_terminal_and_no_more(record: TurnRecord, num_columns: int) -> None:
    _, stages, *_ = picture(record, num_columns=num_columns).split("\n\n")

    lengths = [len(line) for line in stages.splitlines()]
    assert max(lengths) == num_columns
    assert lengths[0] == num_columns, "the scale ends where the terminal does"


def test_a_shed_turn_says_what_the_best_estimate_was() -> None:
    text = picture(shed())

    assert "voice, shed (slo_unattainable)" in text
    assert "budget 500.0 ms; no content: missed" in text
    assert "decision: shed, because estimate_exceeds_budget, 497.0 of 500.0 ms left" in text
    assert "  edge-a           700.0 ms      50.0 ms" in text
    assert "┊" not in text, "a budget a hundred times the turn would hide its stages"


def test_a_peer_that_never_said_anything_has_no_figures() -> None:
    unknown = Candidate("edge-c", inf, nan, "unknown")
    record = answered()
    decision = msgspec.structs.replace(record.decisions[0], candidates=(unknown,))
    record = msgspec.structs.replace(record, decisions=(decision,))
    assert "  edge-c                  -            -            -  unknown" in picture(record)
    view = view_of(KeptTurn(record, STARTED_NS))
    assert msgspec.json.decode(msgspec.json.encode(view), type=TurnView) == view


@pytest.mark.parametrize(
    ("record", "verdict"),
    [
        (answered(), "500.0 ms; first content at 130.0 ms: met with 370.0 ms left"),
        (answered(budget_s=None), "none; first content at 130.0 ms"),
        (
            trail().close(Outcome.ABANDONED, "", 100.1, error="CancelledError"),
            "500.0 ms; no content: not judged",
        ),
        (
            trail().close(Outcome.FAILED, "", 100.1, error="engine_error"),
            "500.0 ms; no content: missed",
        ),
    ],
)
def test_the_verdict_in_words(record: TurnRecord, verdict: str) -> None:
    assert f"\nbudget {verdict}\n" in picture(record)


def test_tools_and_moves_are_told() -> None:
    record = msgspec.structs.replace(
        answered(), tools_run=("get_balance", "pay_bill"), num_resumes=1
    )

    text = picture(record)

    assert "\ntools  get_balance, pay_bill\n" in text
    assert "\nmoved  once to another engine\n" in text


def test_colours_mark_what_was_late_and_only_when_wanted() -> None:
    record = answered(prefill_s=0.6)

    coloured = picture(record, ink=ASCII._replace(coloured=True))

    (prefill,) = [line for line in coloured.splitlines() if line.startswith("prefill")]
    (decode,) = [line for line in coloured.splitlines() if line.startswith("decode")]
    assert "\x1b[31m###" in prefill
    assert "\x1b[32m###" in decode
    assert "\x1b" not in picture(record)
    assert picture(record, ink=ASCII).isascii()


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_ink_fits_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    pipe = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    terminal = _Terminal(io.BytesIO(), encoding="utf-8")
    latin = _Terminal(io.BytesIO(), encoding="latin-1")

    assert ink_for(pipe) == Ink(coloured=False)
    assert ink_for(terminal) == Ink(coloured=True)
    assert ink_for(latin) == ASCII._replace(coloured=True)

    monkeypatch.setenv("NO_COLOR", "1")
    assert ink_for(terminal) == Ink(coloured=False)


def test_a_turn_is_fetched_and_drawn(site: AdminSite, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["explain", "good/1", "--site", site.url + "/"])

    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert out.startswith("turn   good/1  voice, answered (stop)\n")
    assert "\x1b" not in out


def test_json_is_the_record_as_it_is_kept(
    site: AdminSite, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["explain", "good/1", "--site", site.url, "--json"])

    record = json.loads(capsys.readouterr().out)
    assert code == 0
    assert record["request_id"] == "good/1"
    assert record["class"] == "voice"
    assert record["stages"][0] == {"stage": "ingress", "offset_ms": 0.0, "duration_ms": 1.0}


def failure(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    """The exit code and the one line on stderr."""
    code = main(["explain", *args])
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return code, line


def test_an_unknown_turn(site: AdminSite, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = failure(capsys, "nobody", "--site", site.url)

    assert code == 1
    assert "no recent turn has the id 'nobody' at this site" in line
    assert "GET /v1/requests on its admin port lists those it has" in line


def test_a_port_of_another_protocol_is_no_raw_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            with listener.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(b"\x00\x00\x18\x04\x00\x00\x00\x00\x00")

        server = threading.Thread(target=answer)
        server.start()
        code, line = failure(capsys, "x", "--site", f"http://127.0.0.1:{port}")
        server.join()

    assert code == 1
    assert "is it the gRPC port?" in line
    assert "\\x" not in line


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    code, line = failure(capsys, "x", "--site", f"http://127.0.0.1:{port}")

    assert code == 1
    assert f"no site answers at http://127.0.0.1:{port}" in line
    assert "firsthop up" in line


def test_no_proxy_stands_before_an_admin_port(
    site: AdminSite, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")

    _, line = failure(capsys, "nobodys", "--site", site.url)

    assert "no recent turn has the id 'nobodys'" in line


def test_a_port_of_something_else(site: AdminSite, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = failure(capsys, "x", "--site", f"{site.url}/elsewhere")

    assert code == 1
    assert "answers 404" in line


@pytest.mark.parametrize("url", ["edge-a:8083", "file:///etc/passwd", "http://", "8083"])
def test_a_url_that_is_none_is_wrong_usage(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, line = failure(capsys, "x", "--site", url)

    assert code == 2
    assert repr(url) in line


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--help"]) == 0
    assert "examples:" in capsys.readouterr().out
