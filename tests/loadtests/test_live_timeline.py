"""Faults of a live run: when they are done, and what a slower profile is."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from gateway.engine.step_profiles import FollowedProfile, profile_path, read_profile
from loadtests.live.sites import slowed
from loadtests.live.timeline import Deed, Timeline
from loadtests.local_site import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_deeds_are_done_when_due_and_noted() -> None:
    done: list[str] = []
    begun = threading.Event()
    timeline = Timeline(
        [
            Deed(0.0, "first", lambda: done.append("first")),
            Deed(0.05, "second", begun.set),
            Deed(60.0, "never", lambda: done.append("never")),
        ]
    )
    timeline.begin(time.monotonic())
    assert begun.wait(10)
    timeline.end()
    assert done == ["first"]
    assert [deed["what"] for deed in timeline.done] == ["first", "second"]
    assert timeline.done[1]["began_s"] >= 0.05


def test_what_takes_long_delays_its_own_lane_alone() -> None:
    started, let_go = threading.Event(), threading.Event()
    order: list[str] = []

    def start_again() -> None:
        started.set()
        assert let_go.wait(10)
        order.append("started")

    timeline = Timeline(
        [
            Deed(0.0, "start edge-1", start_again, "edge-1"),
            Deed(0.0, "kill edge-1", lambda: order.append("killed"), "edge-1"),
            Deed(0.0, "freeze edge-2", lambda: order.append("frozen"), "edge-2"),
        ]
    )
    timeline.begin(time.monotonic())
    assert started.wait(10)
    wait_until(lambda: order == ["frozen"], "the other lane goes on")
    let_go.set()
    wait_until(lambda: len(order) == 3, "the lane goes on")
    timeline.end()
    assert order == ["frozen", "started", "killed"]


def test_a_deed_that_fails_ends_the_timeline_and_is_told() -> None:
    def fail() -> None:
        raise OSError("no such site")

    timeline = Timeline([Deed(0.0, "fails", fail), Deed(0.0, "never", lambda: None)])
    timeline.begin(time.monotonic())
    wait_until(lambda: timeline.error is not None, "the deed failed")
    timeline.stop()
    timeline.end()
    assert str(timeline.error) == "no such site"
    assert timeline.done == []


def test_a_timeline_that_never_began_ends() -> None:
    timeline = Timeline([])
    timeline.stop()
    timeline.end()


def test_an_accelerator_that_is_followed_becomes_slower(tmp_path: Path) -> None:
    shipped = profile_path("edge-accelerator-3b")
    path = tmp_path / "edge-accelerator-3b.toml"
    path.write_text(shipped.read_text())
    now_s = 0.0
    followed = FollowedProfile(str(path), lambda: now_s)
    before = followed.times()
    assert before == read_profile(shipped)
    draft = tmp_path / "draft"
    draft.write_text(slowed(shipped.read_text(), 5.0))
    draft.replace(path)
    assert followed.times() is before  # not looked at yet
    now_s = 1.0
    after = followed.times()
    for rows, context in ((1, 0), (8, 1000)):
        assert after.decode_s(rows, context) == pytest.approx(5 * before.decode_s(rows, context))
    assert after.prefill_s(64, 128) == pytest.approx(5 * before.prefill_s(64, 128))
