"""W3C trace context (https://www.w3.org/TR/trace-context/): read, derived, passed on."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from struct import Struct

import msgspec

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01
_START = Struct("<d")
_MAX_NUM_KEPT = 1024
"""A turn asks for its trace several times."""


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """Whose child a piece of work is."""

    trace_id: int
    """128 bits, not 0."""
    span_id: int
    """64 bits, not 0: the parent of what follows."""
    sampled: bool

    @classmethod
    def parse(cls, traceparent: str) -> TraceContext | None:
        """The context of a `traceparent` header; None when it is malformed and so to be ignored.

        Versions above 00 are read as far as version 00 goes, as the specification asks (section
        3.2.4); `ff` and all-zero ids are invalid.
        """
        match = _TRACEPARENT.fullmatch(traceparent)
        if match is None:
            return None
        version, trace_id, span_id, flags, more = match.groups()
        if version == "ff" or (version == "00" and more is not None):
            return None
        context = cls(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & _SAMPLED))
        return context if context.trace_id and context.span_id else None

    @property
    def traceparent(self) -> str:
        """The header value, version 00."""
        return f"00-{self.trace_hex}-{self.span_id:016x}-{int(self.sampled):02x}"

    @property
    def trace_hex(self) -> str:
        """The trace id as logs, responses and trace viewers write it."""
        return f"{self.trace_id:032x}"


class TurnTrace(msgspec.Struct, frozen=True, gc=False):
    """Where a turn stands among traces: its own root span and the caller's span above it.

    Spans are only built after a turn, if at all, but its ids are needed from its first moment on.
    They are therefore derived from what identifies the turn, and the same whenever they are asked
    for.
    """

    root: TraceContext
    """The turn's own span: `sampled` is the caller's wish."""
    caller: TraceContext | None

    @classmethod
    @lru_cache(_MAX_NUM_KEPT)
    def of(cls, request_id: str, started_s: float, traceparent: str = "") -> TurnTrace:
        """The trace of the turn that began at `started_s` on this host's monotonic clock."""
        caller = TraceContext.parse(traceparent) if traceparent else None
        seed = _START.pack(started_s) + f"{request_id}\n{traceparent}".encode()
        digest = blake2b(seed, digest_size=24, person=b"firsthop-turn").digest()
        own_id = int.from_bytes(digest[:16]) or 1
        root = TraceContext(
            trace_id=own_id if caller is None else caller.trace_id,
            span_id=int.from_bytes(digest[16:]) or 1,
            sampled=caller is not None and caller.sampled,
        )
        return cls(root, caller)


@lru_cache(_MAX_NUM_KEPT)
def session_context(tenant: str, session: str) -> TraceContext:
    """What the turns of a session are linked to: ids that are the same for all of them.

    Nothing is exported under these ids. A span as long as a session would not end before its turns
    are looked at.
    """
    seed = f"{tenant}\n{session}".encode()
    digest = blake2b(seed, digest_size=24, person=b"firsthop-session").digest()
    return TraceContext(
        int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:]) or 1, sampled=False
    )
