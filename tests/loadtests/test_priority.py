"""How the parts of a test bed get the processor."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from loadtests.priority import LINKS, hurry

if TYPE_CHECKING:
    import pytest


def test_a_priority_is_really_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []

    def set_scheduler(pid: int, policy: int, param: os.sched_param) -> None:
        asked.append((pid, policy, param.sched_priority))

    monkeypatch.setattr("os.sched_setscheduler", set_scheduler)
    assert hurry(LINKS) == hurry(LINKS, children_too=True) == "SCHED_FIFO"
    alone = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    assert asked == [(0, alone, LINKS), (0, os.SCHED_FIFO, LINKS)]


def test_without_the_right_it_says_what_it_got(monkeypatch: pytest.MonkeyPatch) -> None:
    nice: list[int] = []

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("os.sched_setscheduler", refuse)
    monkeypatch.setattr("os.setpriority", lambda which, who, value: nice.append(value))
    assert hurry(LINKS) == "nice -20"
    assert nice == [-20]
    monkeypatch.setattr("os.setpriority", refuse)
    assert hurry(LINKS) == "normal priority"
