"""Log lines on stderr: an event's name and its fields, with the turn they belong to.

Every room logs through the standard library: `logger.warning("engine_restarted", extra={"pid":
4711})`. The message is the event's static name, `extra` its fields. What callers say, what the
model answers and what tools are told never belongs in a log; fields of those names are masked.
"""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TextIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.telemetry.trace_context import TurnTrace

LogFormat = Literal["console", "json"]

_STANDARD = frozenset(
    (*logging.LogRecord("", 0, "", 0, "", (), None).__dict__, "message", "asctime", "color_message")
)
_PRIVATE = frozenset(
    {"text", "content", "prompt", "messages", "arguments", "result", "authorization", "key"}
)
_MASK = "[masked]"

_turn: ContextVar[tuple[str, str]] = ContextVar("firsthop_turn", default=("", ""))


@contextmanager
def turn_in_logs(request_id: str, trace: TurnTrace) -> Iterator[None]:
    """Log lines written inside carry the turn's request id and trace id."""
    token = _turn.set((request_id, trace.root.trace_hex))
    try:
        yield
    finally:
        _turn.reset(token)


def configure_logging(
    site: str,
    log_format: LogFormat = "console",
    *,
    level: int = logging.INFO,
    stream: TextIO | None = None,
) -> None:
    """Send every logger's lines to `stream` (stderr), replacing what was set up before."""
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonLines(site) if log_format == "json" else ConsoleLines(site))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class _SiteLines(logging.Formatter):
    """The lines of one site, which each of them names."""

    def __init__(self, site: str) -> None:
        super().__init__()
        self._site = site


class JsonLines(_SiteLines):
    """One JSON object a line: ts, level, site, logger, event, the turn's ids, fields, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "ts": _instant(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "site": self._site,
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=repr).decode()


class ConsoleLines(_SiteLines):
    """For people: time, level, site, event, then field=value; a traceback on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields = "".join(f" {name}={_plain(value)}" for name, value in _fields(record).items())
        time = _instant(record).astimezone().strftime("%H:%M:%S.%f")[:-3]
        head = f"{time} {record.levelname.lower():<8} {self._site:<7}"
        line = f"{head} {record.getMessage()}{fields}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


def _instant(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    request_id, trace_id = _turn.get()
    fields: dict[str, object] = {}
    if request_id:
        fields |= {"request_id": request_id, "trace_id": trace_id}
    for name, value in record.__dict__.items():
        if name not in _STANDARD:
            fields[name] = _MASK if name in _PRIVATE else value
    return fields


def _plain(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(c.isspace() for c in text) else text
