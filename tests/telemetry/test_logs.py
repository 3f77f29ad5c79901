"""Log lines carry their event, fields and turn, and never what people said."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest

from gateway.telemetry.logs import LogFormat, configure_logging, turn_in_logs
from gateway.telemetry.trace_context import TurnTrace

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE = TurnTrace.of("turn-1", 100.0)
logger = logging.getLogger("gateway.test")


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    # basicConfig(force=True) closes what it replaces; pytest's own handlers must survive that.
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level


def set_up(log_format: LogFormat) -> io.StringIO:
    stream = io.StringIO()
    configure_logging("edge-a", log_format, stream=stream)
    return stream


def test_a_json_line_names_the_event_its_fields_and_its_turn() -> None:
    stream = set_up("json")

    with turn_in_logs("turn-1", TRACE):
        logger.warning("engine_restarted", extra={"pid": 4711, "after_s": 0.25})
    logger.info("site_ready")

    restarted, ready = (json.loads(line) for line in stream.getvalue().splitlines())
    assert restarted.pop("ts").endswith("+00:00")
    assert restarted == {
        "level": "warning",
        "site": "edge-a",
        "logger": "gateway.test",
        "event": "engine_restarted",
        "request_id": "turn-1",
        "trace_id": TRACE.root.trace_hex,
        "pid": 4711,
        "after_s": 0.25,
    }
    assert "request_id" not in ready


def test_a_console_line_reads_from_left_to_right() -> None:
    stream = set_up("console")

    with turn_in_logs("turn-1", TRACE):
        logger.warning("engine_restarted", extra={"why": "exit code 9", "pid": 4711})

    (line,) = stream.getvalue().splitlines()
    assert line[12:].startswith(
        f" warning  edge-a  engine_restarted request_id=turn-1 trace_id={TRACE.root.trace_hex}"
    )
    assert line.endswith("why='exit code 9' pid=4711")


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("name", ["text", "content", "prompt", "messages", "arguments", "result"])
def test_what_people_say_is_masked(log_format: LogFormat, name: str) -> None:
    stream = set_up(log_format)

    logger.info("turn_started", extra={name: "my PIN is 4711"})

    assert "4711" not in stream.getvalue()
    assert "[masked]" in stream.getvalue()


def test_a_console_line_cannot_be_forged_by_a_field() -> None:
    stream = set_up("console")

    logger.info("refused", extra={"path": "/x\n12:00:00.000 info site_ready"})

    assert len(stream.getvalue().splitlines()) == 1


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_is_told_with_its_traceback(log_format: LogFormat) -> None:
    stream = set_up(log_format)

    try:
        raise ValueError("broken")
    except ValueError:
        logger.exception("turn_failed")

    assert "ValueError: broken" in stream.getvalue()
    assert "test_logs.py" in stream.getvalue()


def test_a_field_that_json_does_not_know_is_shown_as_python_shows_it() -> None:
    stream = set_up("json")

    logger.info("odd", extra={"value": 1 + 2j})

    assert json.loads(stream.getvalue())["value"] == "(1+2j)"


def test_lines_below_the_level_are_dropped() -> None:
    stream = io.StringIO()
    configure_logging("edge-a", "json", level=logging.WARNING, stream=stream)

    logger.info("chatter")

    assert stream.getvalue() == ""
