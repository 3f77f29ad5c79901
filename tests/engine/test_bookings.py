"""Bookings: what is counted from a submission to the report that covers it."""

from __future__ import annotations

from gateway.core.budget import TurnClass
from gateway.core.generation import NO_BACKLOG, Backlog, GenerationRequest
from gateway.engine.bookings import Bookings


def _request(turn_class: TurnClass, prompt_tokens: int) -> GenerationRequest:
    return GenerationRequest("r", (1,) * prompt_tokens, 5, turn_class=turn_class)


def test_bookings_last_until_a_report_covers_them() -> None:
    bookings = Bookings()
    bookings.book(1, _request(TurnClass.VOICE, 10))
    bookings.book(2, _request(TurnClass.BATCH, 20))
    bookings.book(3, _request(TurnClass.BATCH, 30))
    assert bookings.backlog == (Backlog(1, 10), Backlog(), Backlog(2, 50))
    bookings.settle(2)
    assert bookings.backlog == (Backlog(), Backlog(), Backlog(1, 30))
    bookings.settle(2)
    bookings.settle(3)
    assert bookings.backlog == NO_BACKLOG


def test_what_is_cancelled_before_there_is_an_engine_counts_no_more() -> None:
    bookings = Bookings()
    bookings.book(1, _request(TurnClass.AGENT, 10))
    bookings.book(2, _request(TurnClass.AGENT, 20))
    bookings.cancel(1)
    bookings.cancel(1)
    assert bookings.backlog == (Backlog(), Backlog(1, 20), Backlog())


def test_what_another_thread_has_read_does_not_change() -> None:
    bookings = Bookings()
    seen = bookings.backlog
    bookings.book(1, _request(TurnClass.VOICE, 10))
    assert seen == NO_BACKLOG
    assert bookings.backlog != seen
