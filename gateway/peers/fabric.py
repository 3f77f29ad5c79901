"""The fabric of a grid, and this site's place on it.

The fabric says which sites are there, carries what they say of themselves between their answers,
and tells that something has changed. It hands no turns on, and nobody gets any because of it alone:
they go over links, on which a site proves who it is. `FabricEngine` is all that a messaging library
must be able to do; tests/peers/fabric_conformance.py is what it must pass.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from gateway.core.load_report import LoadReport
from gateway.core.membership import Ignored, Member, Membership, SiteCard, SiteReport
from gateway.core.service_report import ServiceReport
from gateway.wire.site_report import PayloadError, decode_report, encode_report

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger(__name__)

_MIN_SPACING_S = 0.1
"""Between two reports, however much changes."""


class FabricListener(Protocol):
    """Is told, on the event loop, what comes over the fabric. Nothing here may wait or raise.

    All of it is a stranger's word, but for `appeared` and `vanished`, which are the engine's.
    """

    def appeared(self, site: str, epoch: int) -> None:
        """An incarnation of a site is there; one's own too."""
        ...

    def vanished(self, site: str, epoch: int) -> None:
        """It is gone, or the way to it is."""
        ...

    def said(self, site: str, epoch: int, payload: bytes) -> None:
        """The newest payload found at the place of that incarnation."""
        ...

    def signalled(self, topic: str) -> None:
        """Another site says that something of this name has changed."""
        ...

    def unreadable(self, num: int) -> None:
        """So much came that could not even be assigned to a site, or was too much at a time."""
        ...


class FabricEngine(Protocol):
    """A messaging library, as far as a site needs one. Called on the event loop."""

    async def run(self, site: str, epoch: int, listener: FabricListener) -> None:
        """Be there as this incarnation until cancelled.

        While the fabric cannot be reached it is tried again; everybody there, oneself included,
        vanishes meanwhile. Raises SetupError for what no trying mends.
        """
        ...

    def publish(self, payload: bytes) -> None:
        """Say this to all sites; dropped while the fabric is away."""
        ...

    def signal(self, topic: str) -> None:
        """Tell all other sites that something has changed; dropped while the fabric is away.

        A topic is 1 to 64 of `a-z0-9-`. Who must not miss a change looks for it now and then.
        """
        ...


class FabricObserver(Protocol):
    """Is told of other sites. Nothing here may wait or raise."""

    def joined(self, member: Member) -> None:
        """A site is there, for the first time or again."""
        ...

    def left(self, member: Member) -> None:
        """A site is gone, or was: it may have started again."""
        ...


class FabricFigures(msgspec.Struct, frozen=True):
    """What the fabric brings, at one moment."""

    is_joined: bool
    num_ignored: Mapping[Ignored, int]
    members: tuple[MemberFigures, ...]


class MemberFigures(msgspec.Struct, frozen=True):
    """What the fabric says of one site; ages are seconds."""

    site: str
    is_there: bool
    changed_age_s: float
    card: SiteCard | None
    load: LoadReport | None
    report_age_s: float | None
    """Since it arrived."""
    service: ServiceReport | None = None
    """Of the same age."""


class Fabric:
    """Says what this site is and keeps who else is there. `run` must run, in an owned task.

    `load` and `service` give the figures of the moment, or None while there are none.
    """

    def __init__(
        self,
        engine: FabricEngine,
        card: SiteCard,
        load: Callable[[], LoadReport | None],
        *,
        observer: FabricObserver,
        report_interval_s: float,
        service: Callable[[], ServiceReport | None] = lambda: None,
        on_signal: Mapping[str, Callable[[], None]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._card = card
        self._load = load
        self._observer = observer
        self._report_interval_s = report_interval_s
        self._service = service
        self._on_signal = on_signal or {}
        self._monotonic = monotonic
        self._seq = 0
        self._asked = asyncio.Event()
        self.membership = Membership(card.site, card.epoch)

    async def run(self) -> None:
        """Be on the fabric until cancelled. Raises SetupError."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._engine.run(self._card.site, self._card.epoch, self))
            tasks.create_task(self._report())

    def tell(self) -> None:
        """Something has changed that others should know at once: report now."""
        self._asked.set()

    def signal(self, topic: str) -> None:
        """See `FabricEngine.signal`."""
        self._engine.signal(topic)

    def figures(self) -> FabricFigures:
        """What is known now."""
        membership, now_s = self.membership, self._monotonic()
        return FabricFigures(
            membership.is_joined,
            dict(membership.ignored),
            tuple(_figures(member, now_s) for member in membership),
        )

    # What comes: see `FabricListener`.

    def appeared(self, site: str, epoch: int) -> None:
        """An incarnation is there."""
        was_joined = self.membership.is_joined
        member = self.membership.appeared(site, epoch, self._monotonic())
        if member is not None:
            self._observer.joined(member)
        elif self.membership.is_joined and not was_joined:
            _logger.info("on the fabric")
            self.tell()

    def vanished(self, site: str, epoch: int) -> None:
        """An incarnation is gone."""
        was_joined = self.membership.is_joined
        member = self.membership.vanished(site, epoch, self._monotonic())
        if member is not None:
            self._observer.left(member)
            if member.is_there:
                self._observer.joined(member)
        elif was_joined and not self.membership.is_joined:
            _logger.warning("the fabric is away; links go on without it")

    def said(self, site: str, epoch: int, payload: bytes) -> None:
        """A report, perhaps."""
        try:
            report = decode_report(payload)
        except PayloadError:
            self.unreadable(1)
        else:
            self.membership.reported(site, epoch, report, self._monotonic())

    def signalled(self, topic: str) -> None:
        """Something has changed elsewhere; topics that nobody here knows are no matter."""
        if (told := self._on_signal.get(topic)) is not None:
            told()

    def unreadable(self, num: int) -> None:
        """Count what was no report."""
        self.membership.ignored[Ignored.UNREADABLE] += num

    async def _report(self) -> None:
        while True:
            self._asked.clear()
            self._seq += 1
            report = SiteReport(self._card, self._seq, self._load(), self._service())
            self._engine.publish(encode_report(report))
            self.membership.forget(self._monotonic())
            await asyncio.sleep(_MIN_SPACING_S)
            try:
                async with asyncio.timeout(self._report_interval_s - _MIN_SPACING_S):
                    await self._asked.wait()
            except TimeoutError:
                continue  # nothing has changed; it is time all the same


def _figures(member: Member, now_s: float) -> MemberFigures:
    report = member.report
    return MemberFigures(
        site=member.site,
        is_there=member.is_there,
        changed_age_s=now_s - member.changed_s,
        card=None if report is None else report.card,
        load=None if report is None else report.load,
        report_age_s=None if report is None else now_s - member.reported_s,
        service=None if report is None else report.service,
    )
