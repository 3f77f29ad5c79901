"""Logs on disk: found again, bounded, and no worse for what disks and crashes do."""

from __future__ import annotations

import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.telemetry.segment_file import INDEX_SUFFIX, SegmentIndex, frames
from gateway.telemetry.segment_log import SUFFIX, LogBounds, SegmentLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Open = Callable[..., SegmentLog["Note"]]

S_NS = 1_000_000_000
T0_NS = 1_790_000_000 * S_NS


class Note(msgspec.Struct, frozen=True):
    at_ns: int
    name: str
    text: str = ""


class Clock:
    def __init__(self) -> None:
        self.now_ns = T0_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_log(tmp_path: Path, clock: Clock) -> Iterator[Open]:
    """Logs that write only when they are searched or closed."""
    logs: list[SegmentLog[Note]] = []

    def open_one(**bounds: float) -> SegmentLog[Note]:
        given = {"max_bytes": 1 << 20, "kept_s": 3600.0, "max_segment_bytes": 4096} | bounds
        log = SegmentLog(
            tmp_path / "log",
            Note,
            at_ns=lambda note: note.at_ns,
            keys=lambda note: (note.name,),
            bounds=LogBounds(
                int(given["max_bytes"]), given["kept_s"], int(given["max_segment_bytes"])
            ),
            wall_ns=clock,
            write_every_s=3600.0,
        )
        logs.append(log)
        return log

    yield open_one
    for log in logs:
        if log.is_alive:
            log.close()


def notes(first: int, num: int, *, text: str = "") -> list[Note]:
    """One a second."""
    return [Note(T0_NS + n * S_NS, f"n{n}", text) for n in range(first, first + num)]


def write(log: SegmentLog[Note], given: list[Note]) -> None:
    for note in given:
        log.append(note)
    log.search(key="nobody", limit=1)


def segments(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "log").glob(f"*{SUFFIX}"))


def test_a_record_is_found_by_key_and_by_time(open_log: Open) -> None:
    log, given = open_log(), notes(0, 300, text="x" * 40)
    for begin in range(0, 300, 30):
        write(log, given[begin : begin + 30])
    for number in (0, 150, 299):
        assert log.search(key=f"n{number}", limit=5) == [given[number]]
    found = log.search(since_ns=T0_NS + 100 * S_NS, until_ns=T0_NS + 120 * S_NS, limit=1000)
    assert found == given[100:121][::-1]
    assert log.search(limit=3) == given[:-4:-1]
    assert log.search(takes=lambda note: note.name.endswith("7"), limit=2) == [
        given[297],
        given[287],
    ]


def test_what_was_written_is_there_after_a_restart(open_log: Open, tmp_path: Path) -> None:
    given = notes(0, 100)
    for begin in range(0, 100, 20):
        log = open_log()
        for note in given[begin : begin + 20]:
            log.append(note)
        log.close()
    assert len(segments(tmp_path)) == 5
    log = open_log()
    assert log.search(limit=200) == given[::-1]
    assert log.search(key="n33", limit=1) == [given[33]]


@pytest.mark.parametrize("damage", ["torn", "no index", "bad index", "old index", "flipped"])
def test_damage_costs_what_is_damaged_and_no_more(
    open_log: Open, tmp_path: Path, damage: str
) -> None:
    given = notes(0, 50)
    log = open_log()
    write(log, given)
    log.close()
    (segment,) = segments(tmp_path)
    index, whole = segment.with_suffix(INDEX_SUFFIX), segment.read_bytes()
    lost: list[Note] = []
    match damage:
        case "torn":
            segment.write_bytes(whole[:-3])
            lost = given[-1:]
        case "no index":
            index.unlink()
        case "bad index":
            index.write_bytes(b"nonsense" * 9)
        case "old index":
            stale = SegmentIndex()
            stale.add(("n1",), T0_NS, 1)
            stale.save(segment, 17)
        case "flipped":
            offset = list(frames(whole))[40][0]
            segment.write_bytes(whole[: offset + 9] + b"\xff" + whole[offset + 10 :])
            index.unlink()
            lost = given[40:]
    log = open_log()
    kept = given[: len(given) - len(lost)]
    assert log.search(limit=100) == kept[::-1]
    assert log.search(key="n30", limit=1) == [given[30]]
    assert [log.search(key=note.name, limit=1) for note in lost] == [[] for _ in lost]
    write(log, notes(60, 1))
    assert log.search(limit=1) == notes(60, 1)


def test_the_oldest_go_when_there_is_too_much(open_log: Open, tmp_path: Path) -> None:
    log = open_log(max_bytes=20_000, max_segment_bytes=4000)
    given = notes(0, 400, text="x" * 100)
    for begin in range(0, 400, 10):
        write(log, given[begin : begin + 10])
    num_bytes = sum(path.stat().st_size for path in (tmp_path / "log").iterdir())
    assert 10_000 < num_bytes < 22_000
    found = log.search(limit=1000)
    assert found == given[-len(found) :][::-1]
    assert log.search(key="n0", limit=1) == []


def test_the_oldest_go_when_their_time_is_over(
    open_log: Open, clock: Clock, tmp_path: Path
) -> None:
    log = open_log(kept_s=7200.0)
    write(log, notes(0, 5))
    clock.now_ns += 3700 * S_NS  # an hour closes the segment, full or not
    write(log, notes(3700, 5))
    assert len(log.search(limit=100)) == 10
    clock.now_ns += 3700 * S_NS
    assert log.search(limit=100) == notes(3700, 5)[::-1]
    assert len(segments(tmp_path)) == 1


@contextmanager
def full_disk(limit_bytes: int) -> Iterator[None]:
    """No file may grow beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_directory_that_another_keeps_records_in_is_named(
    open_log: Open, caplog: pytest.LogCaptureFixture
) -> None:
    owner, late = open_log(), open_log()
    write(owner, notes(0, 1))
    write(late, notes(1, 1))
    assert late.num_dropped == 1
    assert "another process keeps its records there" in caplog.text
    write(owner, notes(2, 1))
    assert owner.num_dropped == 0


def test_a_full_disk_loses_what_comes_meanwhile_and_nothing_else(
    open_log: Open, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    log = open_log(max_segment_bytes=1 << 20)
    write(log, notes(0, 20))
    with full_disk(800):
        write(log, notes(20, 30))
        assert log.num_dropped == 30
        assert len(caplog.records) == 1
        assert "records are not kept" in caplog.text
        write(log, notes(50, 10))
        assert log.num_dropped == 40
    clock.now_ns += 10 * S_NS
    write(log, notes(60, 5))
    assert log.num_dropped == 40
    assert log.search(limit=100) == [*notes(60, 5)[::-1], *notes(0, 20)[::-1]]
    assert len(caplog.records) == 1


def test_a_directory_that_cannot_be_made_is_tried_again(
    open_log: Open, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "log").write_text("a file is in the way")
    log = open_log()
    write(log, notes(0, 3))
    assert log.num_dropped == 3
    (tmp_path / "log").unlink()
    clock.now_ns += 10 * S_NS
    write(log, notes(3, 3))
    assert log.search(limit=10) == notes(3, 3)[::-1]


def test_a_directory_has_one_owner(open_log: Open) -> None:
    first, second = open_log(), open_log()
    write(first, notes(0, 3))
    write(second, notes(3, 3))
    assert second.num_dropped == 3
    assert first.search(limit=10) == notes(0, 3)[::-1]


def test_more_than_a_writer_can_take_is_let_go(open_log: Open) -> None:
    log = open_log(max_segment_bytes=8 << 20)
    for note in notes(0, 17_000):
        log.append(note)
    assert log.num_dropped == 17_000 - 16_384
    assert len(log.search(limit=20_000)) == 16_384
