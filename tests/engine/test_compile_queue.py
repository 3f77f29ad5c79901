"""Which grammar is compiled next."""

from __future__ import annotations

from concurrent.futures import Future

from gateway.core.budget import TurnClass
from gateway.core.generation import Constraint, ConstraintKind
from gateway.engine.worker.compile_queue import CompileQueue

VOICE, AGENT, BATCH = TurnClass.VOICE, TurnClass.AGENT, TurnClass.BATCH


def _regex(text: str) -> Constraint:
    return Constraint(ConstraintKind.REGEX, text)


def _add(queue: CompileQueue[str], text: str, turn_class: TurnClass) -> Future[str]:
    waiter: Future[str] = Future()
    queue.add(_regex(text), turn_class, waiter)
    return waiter


def _order(queue: CompileQueue[str]) -> str:
    order = ""
    while (constraint := queue.begin_next()) is not None:
        order += constraint.text
    return order


def test_classes_take_turns() -> None:
    queue = CompileQueue[str]()
    for text in "abcd":
        _add(queue, text, AGENT)
    for text in "xy":
        _add(queue, text, BATCH)
    _add(queue, "v", VOICE)
    assert _order(queue) == "vaxbycd"


def test_a_grammar_is_begun_once_for_all_classes_and_at_the_first_ones_turn() -> None:
    queue = CompileQueue[str]()
    for text in "abc":
        _add(queue, text, AGENT)
    waiters = [_add(queue, "c", VOICE), _add(queue, "c", BATCH)]
    assert _order(queue) == "cab"
    assert queue.end(_regex("c"))[1:] == waiters
    assert queue.end(_regex("c")) == []


def test_what_all_have_given_up_is_passed_over_until_it_is_asked_for_again() -> None:
    queue = CompileQueue[str]()
    first, second = _add(queue, "a", AGENT), _add(queue, "a", AGENT)
    other = _add(queue, "b", AGENT)
    assert first.cancel()
    assert other.cancel()
    assert _order(queue) == "a"
    assert queue.end(_regex("a")) == [first, second]
    _add(queue, "b", AGENT)
    assert _order(queue) == "b"
