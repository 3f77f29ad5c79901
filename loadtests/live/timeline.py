"""The faults of a scenario, done to real sites and links when they are due."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any

from loadtests.sim.faults import CapacityCut, Drain, Freeze, Kill, Partition, SlowDown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtests.links.network import EmulatedNetwork
    from loadtests.live.ground import Ground
    from loadtests.live.sites import LiveSite
    from loadtests.sim.faults import AnyFault


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that is done at an instant of the run."""

    at_s: float
    what: str
    do: Callable[[], None]
    lane: str = ""
    """Deeds of one lane wait for each other: a site starts before it is killed again."""


@dataclass(slots=True)
class Timeline:
    """Deeds under way, each lane in a thread of its own, which lasts until `end`: sites that it
    starts again end with it.
    """

    deeds: list[Deed]
    done: list[dict[str, Any]] = field(default_factory=list)
    """What was done, when it was due, when it began and how long it took."""
    error: Exception | None = None
    """Why something was not done."""
    _over: threading.Event = field(default_factory=threading.Event)
    _clock: threading.Thread | None = None
    _lanes: dict[str, ThreadPoolExecutor] = field(default_factory=dict)
    _begun: list[Future[None]] = field(default_factory=list)

    def begin(self, start_s: float) -> None:
        """Count from this monotonic instant."""
        self._clock = threading.Thread(target=self._run, args=(start_s,), name="faults")
        self._clock.start()

    def stop(self) -> None:
        """Begin nothing more, and wait for what is being done."""
        self._over.set()
        if self._clock is not None:
            self._clock.join()
        wait([deed for deed in self._begun if not deed.cancel()])

    def end(self) -> None:
        """Let the threads go."""
        self.stop()
        for lane in self._lanes.values():
            lane.shutdown()

    def _run(self, start_s: float) -> None:
        for deed in self.deeds:
            if self._over.wait(max(0.0, start_s + deed.at_s - time.monotonic())):
                return
            if deed.lane not in self._lanes:
                self._lanes[deed.lane] = ThreadPoolExecutor(1, thread_name_prefix="faults")
            self._begun.append(self._lanes[deed.lane].submit(self._do, deed, start_s))

    def _do(self, deed: Deed, start_s: float) -> None:
        began_s = time.monotonic()
        try:
            deed.do()
        except Exception as error:  # noqa: BLE001 (the run ends and says so)
            self.error = error
            self._over.set()
            return
        self.done.append(
            {
                "what": deed.what,
                "due_s": round(deed.at_s, 3),
                "began_s": round(began_s - start_s, 3),
                "took_s": round(time.monotonic() - began_s, 3),
            }
        )


def deeds(
    faults: Sequence[AnyFault], ground: Ground, sites: Sequence[LiveSite], network: EmulatedNetwork
) -> list[Deed]:
    """What each fault does when it begins, and when it is mended, in the order of time."""
    found = []
    for fault in faults:
        what, begin, mend = _calls(fault, ground, sites, network)
        lane = "links" if isinstance(fault, Partition) else sites[fault.site].spot.name
        found.append(Deed(fault.at_s, what, begin, lane))
        if isfinite(fault.until_s):
            found.append(Deed(fault.until_s, f"{what}: over", mend, lane))
    # Of one instant, mends come first: they must not mend what begins there.
    return sorted(found, key=lambda deed: (deed.at_s, not deed.what.endswith("over")))


def _calls(
    fault: AnyFault, ground: Ground, sites: Sequence[LiveSite], network: EmulatedNetwork
) -> tuple[str, Callable[[], None], Callable[[], None]]:
    if isinstance(fault, Partition):
        apart = ground.within(fault.sites)
        what = f"partition around {', '.join(apart)}"
        return what, lambda: network.split(apart), lambda: network.split(())
    site = sites[fault.site]
    name = site.spot.name
    match fault:
        case Kill():
            return f"kill {name}", site.kill, site.start
        case Freeze():
            return f"freeze {name}", site.freeze, site.thaw
        case Drain():
            return f"drain {name}", site.drain, _restarted(site)
        case SlowDown(factor=factor):
            return (
                f"slow {name} down {factor:g} times",
                lambda: site.slow_down(factor),
                lambda: site.slow_down(1.0),
            )
        case CapacityCut(ratio=ratio):
            return (
                f"cut {name} to {ratio:g} of its speed",
                lambda: site.cut_capacity(ratio),
                lambda: site.cut_capacity(1.0),
            )


def _restarted(site: LiveSite) -> Callable[[], None]:
    def restart() -> None:
        site.end()
        site.start()

    return restart
