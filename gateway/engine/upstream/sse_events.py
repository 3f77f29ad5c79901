"""The events of a server-sent event stream, out of bytes as they come.

WHATWG HTML section 9.2, as far as chat completions use it: `data` counts, comments (by which
servers keep a connection alive) and all other fields do not. A line ends with LF or CRLF.
"""

from __future__ import annotations

from gateway.core.errors import UpstreamError

_MAX_EVENT_BYTES = 1 << 20


class SseEvents:
    """Splits one stream. Feed what comes, then `finish`."""

    def __init__(self) -> None:
        self._line: list[bytes] = []
        """The parts of a line that has not ended."""
        self._data: list[bytes] = []
        self._num_bytes = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of the events that these bytes complete. Raises UpstreamError."""
        lines = piece.split(b"\n")
        events: list[bytes] = []
        for rest in lines[:-1]:
            self._line.append(rest)
            self._end_line(events)
        self._line.append(lines[-1])
        self._num_bytes += len(lines[-1])
        if self._num_bytes > _MAX_EVENT_BYTES:
            raise UpstreamError(f"the server sent an event of more than {_MAX_EVENT_BYTES} bytes")
        return events

    def finish(self) -> list[bytes]:
        """The data of an event that the stream's end completes."""
        events: list[bytes] = []
        self._end_line(events)
        self._end_event(events)
        return events

    def _end_line(self, events: list[bytes]) -> None:
        line = b"".join(self._line).removesuffix(b"\r")
        self._line.clear()
        if not line:
            self._end_event(events)
        elif line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
            self._num_bytes += len(line)

    def _end_event(self, events: list[bytes]) -> None:
        if self._data:
            events.append(b"\n".join(self._data))
            self._data.clear()
        self._num_bytes = 0
