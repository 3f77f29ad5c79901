"""What goes wrong in a run, as data."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from loadtests.sim.grid import Grid


class Fault(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True
):
    """Something that begins at `at_s` and is mended at `until_s`. Raises ValueError otherwise."""

    at_s: float
    until_s: float = inf

    def __post_init__(self) -> None:
        """A fault must last."""
        if not 0.0 <= self.at_s < self.until_s:
            raise ValueError("a fault needs 0 <= `at_s` < `until_s`")


class Kill(Fault, frozen=True, tag="kill"):
    """The site's processes die; its generations are lost. It restarts empty."""

    site: int


class Freeze(Fault, frozen=True, tag="freeze"):
    """The site stands still: its connections stay open, nothing comes out of it. A kill ends it,
    since what starts again is not what stood still.
    """

    site: int


class SlowDown(Fault, frozen=True, tag="slow_down"):
    """Steps take `factor` times as long, and nobody told the site."""

    site: int
    factor: float

    def __post_init__(self) -> None:
        """Slower, not faster."""
        super().__post_init__()
        if not 1.0 <= self.factor <= 1000.0:
            raise ValueError("`factor` must be in 1..1000")


class CapacityCut(Fault, frozen=True, tag="capacity_cut"):
    """A power cap leaves the site `ratio` of its speed; the site knows at once."""

    site: int
    ratio: float

    def __post_init__(self) -> None:
        """Part of the speed, never all or nothing."""
        super().__post_init__()
        if not 0.01 <= self.ratio <= 1.0:
            raise ValueError("`ratio` must be in 0.01..1")


class Drain(Fault, frozen=True, tag="drain"):
    """The site finishes what it has and admits nothing."""

    site: int


class Partition(Fault, frozen=True, tag="partition"):
    """No message passes between `sites` and the others. One partition at a time."""

    sites: tuple[int, ...]


AnyFault = Kill | Freeze | SlowDown | CapacityCut | Drain | Partition


def schedule(faults: Iterable[AnyFault], grid: Grid) -> None:
    """Plan every fault and its mending. Raises ValueError as `check_apart` does."""
    faults = tuple(faults)
    check_apart(faults)
    calls = [(fault, *_calls(fault, grid)) for fault in faults]
    # Of one instant, mends come first: they must not mend what begins there.
    for fault, _, mend in calls:
        if fault.until_s != inf:
            grid.events.at(fault.until_s, mend)
    for fault, begin, _ in calls:
        grid.events.at(fault.at_s, begin)


def check_apart(faults: Iterable[AnyFault]) -> None:
    """Raises ValueError if two faults that undo each other would overlap: two of a kind at one
    site, a slow-down and a capacity cut at one site, or two partitions.
    """
    ends: dict[tuple[str, int], float] = {}
    for number, fault in sorted(enumerate(faults), key=lambda entry: entry[1].at_s):
        if isinstance(fault, Partition):
            place = ("partition", 0)
        elif isinstance(fault, SlowDown | CapacityCut):
            place = ("speed", fault.site)
        else:
            place = (type(fault).__name__.lower(), fault.site)
        if fault.at_s < ends.get(place, 0.0):
            raise ValueError(f"`faults.{number}`: two at once: {place[0]} at {fault.at_s:g} s")
        ends[place] = fault.until_s


def _calls(
    fault: AnyFault, grid: Grid
) -> tuple[Callable[[object], None], Callable[[object], None]]:
    """What happens when a fault begins and when it is mended."""
    match fault:
        case Kill(site=site):
            return lambda _: grid.kill(site), lambda _: grid.restart(site)
        case Freeze(site=site):
            return lambda _: grid.freeze(site), lambda _: grid.thaw(site)
        case SlowDown(site=site, factor=factor):
            return (
                lambda _: grid.slow_down(site, factor, is_known=False),
                lambda _: grid.slow_down(site, 1.0, is_known=False),
            )
        case CapacityCut(site=site, ratio=ratio):
            return (
                lambda _: grid.slow_down(site, 1.0 / ratio, is_known=True),
                lambda _: grid.slow_down(site, 1.0, is_known=True),
            )
        case Drain(site=site):
            return lambda _: grid.drain(site, True), lambda _: grid.drain(site, False)
        case Partition(sites=sites):
            return (
                lambda _: grid.links.split(dict.fromkeys(sites, 1)),
                lambda _: grid.links.split({}),
            )


def speed_path(
    faults: Iterable[AnyFault], site: int, *, longest_step_s: float = 0.0
) -> list[tuple[float, float, float]]:
    """When a site is slower than its profile: (from, until, share of its speed that is left).

    A step under way ends at the speed it began at, however long the site stands still meanwhile;
    none is longer than `longest_step_s`, so what slows a site down counts from there on.
    """
    own = [fault for fault in faults if not isinstance(fault, Partition) and fault.site == site]
    kills_s = [fault.at_s for fault in own if isinstance(fault, Kill)]
    freezes: list[tuple[float, float]] = []
    for fault in sorted(own, key=lambda fault: fault.at_s):
        if isinstance(fault, Freeze):
            ends = [at_s for at_s in kills_s if fault.at_s <= at_s < fault.until_s]
            freezes.append((fault.at_s, min([fault.until_s, *ends])))
    lost = [(from_s, until_s, 0.0) for from_s, until_s in freezes]
    for fault in own:
        share = _share_left(fault)
        if share < 1.0:
            from_s = _step_over_s(fault.at_s, longest_step_s, freezes)
            lost.append((from_s, fault.until_s, share))
    return [(from_s, until_s, share) for from_s, until_s, share in lost if from_s < until_s]


def _share_left(fault: AnyFault) -> float:
    """Of a site's speed, beside what freezes take."""
    match fault:
        case Kill():
            return 0.0
        case SlowDown(factor=factor):
            return 1.0 / factor
        case CapacityCut(ratio=ratio):
            return ratio
    return 1.0


def _step_over_s(now_s: float, step_s: float, freezes: Sequence[tuple[float, float]]) -> float:
    """When a step that begins now is over at the latest."""
    end_s = now_s + step_s
    for from_s, until_s in freezes:
        if from_s <= end_s and until_s > now_s:
            end_s += until_s - max(from_s, now_s)
    return end_s
