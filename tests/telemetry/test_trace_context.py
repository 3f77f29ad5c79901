"""W3C trace context: the specification's valid and invalid headers, and ids that can be derived."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.trace_context import TraceContext, TurnTrace

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"


def test_a_header_is_read() -> None:
    context = TraceContext.parse(HEADER)

    assert context == TraceContext(int(TRACE, 16), int(SPAN, 16), sampled=True)
    assert context.trace_hex == TRACE
    assert context.traceparent == HEADER


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-adds", True),
    ],
)
def test_the_sampled_flag_is_one_bit_and_later_versions_are_read_too(
    header: str, sampled: bool
) -> None:
    context = TraceContext.parse(header)

    assert context is not None
    assert context.sampled is sampled
    assert context.trace_hex == TRACE


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01 ",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN[:-1]}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"cc-{TRACE}-{SPAN}-01.what",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{'١' * 32}-{SPAN}-01",
    ],
)
def test_a_malformed_header_is_ignored(header: str) -> None:
    assert TraceContext.parse(header) is None


@given(st.text(max_size=70))
def test_no_text_makes_it_fail(header: str) -> None:
    context = TraceContext.parse(header)
    assert context is None or TraceContext.parse(context.traceparent) is not None


def test_a_turn_continues_the_callers_trace() -> None:
    trace = TurnTrace.of("turn-1", 100.25, HEADER)

    assert trace.caller == TraceContext.parse(HEADER)
    assert trace.root.trace_hex == TRACE
    assert trace.root.sampled
    assert trace.root.span_id != int(SPAN, 16)
    assert TurnTrace.of("turn-1", 100.25, HEADER) == trace


@pytest.mark.parametrize("traceparent", ["", "nonsense"])
def test_a_turn_without_a_caller_has_ids_of_its_own(traceparent: str) -> None:
    trace = TurnTrace.of("turn-1", 100.25, traceparent)

    assert trace.caller is None
    assert not trace.root.sampled
    assert TraceContext.parse(trace.root.traceparent) == trace.root
    assert TurnTrace.of("turn-1", 100.25, traceparent) == trace


def test_turns_with_the_same_id_are_different_traces() -> None:
    first, second = TurnTrace.of("turn-1", 100.25), TurnTrace.of("turn-1", 100.5)

    assert first.root.trace_id != second.root.trace_id
    assert TurnTrace.of("turn-2", 100.25).root.trace_id != first.root.trace_id
