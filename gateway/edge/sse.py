"""Server-sent events, as far as the OpenAI API uses them: `data` lines and nothing else.

The format is WHATWG HTML section 9.2; JSON never contains a raw line break, so one line is enough.
"""

from __future__ import annotations

from typing import Final

SSE_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx in front must pass every event on at once
)

DONE: Final = b"data: [DONE]\n\n"
"""How a complete stream ends; one that broke off ends without it."""


def sse_event(json: bytes) -> bytes:
    """One event that carries a JSON document."""
    return b"data: %b\n\n" % json
