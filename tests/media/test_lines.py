import asyncio
from collections.abc import Callable

from gateway.core.voice_line import CallerSound, LineChange, LineEvent, LineState
from gateway.media.frames import LaneFormat, LaneSound
from gateway.media.worker.judge import Judge
from gateway.media.worker.lane import Lane
from gateway.media.worker.lines import Lines

FAILED = LineChange(LineState.CLOSED, "the line failed")


class BrokenLane(Lane):
    """A defect: it fails when it is served, and perhaps when it is to end."""

    can_end = True

    def advance(self, now_s: float) -> None:
        raise RuntimeError("a defect")

    def close(self, reason: str) -> None:
        if not self.can_end:
            raise RuntimeError("another defect")
        super().close(reason)


class BrokenToTheEnd(BrokenLane):
    can_end = False


class Site:
    """Lines with real lanes, and what they told."""

    def __init__(self) -> None:
        self.events: list[tuple[int, LineEvent]] = []
        self.sounds: list[LaneSound] = []
        self.lines = Lines(Judge(max_num_lines=3), self.tell)
        self._news = asyncio.Event()

    def tell(self, number: int, event: LineEvent) -> None:
        self.events.append((number, event))
        if isinstance(event, LineChange) and event.state is LineState.CLOSED:
            self.lines.remove(number)
        self._news.set()

    def add(self, number: int, kind: type[Lane]) -> Lane:
        lane = kind(
            number,
            LaneFormat.PCM,
            is_paced=True,
            deliver=self.sounds.append,
            tell=lambda event: self.tell(number, event),
        )
        self.lines.add(number, lane)
        return lane

    @property
    def failed(self) -> list[int]:
        return sorted(number for number, event in self.events if event == FAILED)

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._news.clear()
            await self._news.wait()


def test_a_line_that_fails_ends_alone() -> None:
    async def scenario() -> None:
        site = Site()
        site.add(1, BrokenLane)
        site.add(2, BrokenToTheEnd)
        well = site.add(3, Lane)
        async with asyncio.timeout(20.0):
            assert isinstance(well, Lane)
            well.feed(bytes(48_000))
            await site.until(lambda: site.failed == [1, 2])
            well.feed(bytes(48_000))
            told = len(site.events)
            await site.until(lambda: len(site.events) > told)
        assert isinstance(site.events[-1][1], CallerSound)
        assert len(site.lines) == 1
        site.lines.close("done")
        assert site.events[-1] == (3, LineChange(LineState.CLOSED, "done"))

    asyncio.run(scenario())
