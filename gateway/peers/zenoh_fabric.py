"""The fabric on Eclipse Zenoh, inside this process.

A site that listens is a router of the fabric, any other a client of one of those it connects to.
A site is a liveliness token, which Zenoh withdraws when the connection breaks (a killed process:
at once) or nothing was heard for the lease. What Zenoh brings arrives on threads of its own and is
handed to the loop; nothing is undeclared or closed from there.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import re
from typing import TYPE_CHECKING

import msgspec
import zenoh

from gateway.core.errors import SetupError
from gateway.runtime.handover import Handover
from gateway.wire.site_report import MAX_PAYLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.peers.fabric import FabricListener

_logger = logging.getLogger(__name__)

_VERSION = "v1"
_CONNECT_LIMIT_S = 1.0
_FIRST_BACKOFF_S, _MAX_BACKOFF_S = 0.1, 2.0
_KEEP_ALIVES_PER_LEASE = 4
_MAX_NUM_WAITING = 2048
"""Sites whose newest word waits for the loop; a grid of that many all speak within a second."""
_MAX_NUM_TOPICS = 64
_COUNT_INTERVAL_S = 1.0
_REMOTE = zenoh.Locality.REMOTE
_SITE = re.compile(r"sites/([a-z0-9][a-z0-9-]{0,62})/(0|[1-9]\d{0,15})/(?:there|report)\Z")
_TOPIC = re.compile(r"signals/([a-z0-9-]{1,64})\Z")


class ZenohTls(msgspec.Struct, frozen=True):
    """PEM files: the site's certificate chain and key, and who signs those of all sites."""

    chain: str
    private_key: str
    authority: str


class ZenohPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a site meets the fabric. Endpoints are `tcp/HOST:PORT` or `tls/HOST:PORT`."""

    grid: str
    """Grids with different names do not see each other on the same routers."""
    listen: tuple[str, ...] = ()
    connect: tuple[str, ...] = ()
    lease_s: float = 1.0
    """Whoever hears nothing of this site for so long takes it for gone."""
    finds_others: bool = False
    """Look for routers by multicast."""
    tls: ZenohTls | None = None


class ZenohFabric:
    """A `FabricEngine`."""

    def __init__(self, place: ZenohPlace) -> None:
        self._place = place
        self._root = f"firsthop/{_VERSION}/{place.grid}/"
        self._own_report = ""
        self._session: zenoh.Session | None = None
        self._held: tuple[object, ...] = ()

    async def run(self, site: str, epoch: int, listener: FabricListener) -> None:
        """See `FabricEngine`."""
        own = f"{self._root}sites/{site}/{epoch}"
        self._own_report = f"{own}/report"
        while True:
            session = await self._open_at_last()
            try:
                await self._stay(session, own, _Inlet(self._root, listener))
            except zenoh.ZError as error:
                _logger.warning("the fabric refuses this site: %s", _first_line(error))
                await asyncio.sleep(_MAX_BACKOFF_S)

    async def _stay(self, session: zenoh.Session, own: str, inlet: _Inlet) -> None:
        try:
            self._held = self._declare(session, own, inlet)
            self._session = session
            await inlet.count_dropped()
        finally:
            self._session, self._held = None, ()
            inlet.close()
            await asyncio.to_thread(_close, session)

    def publish(self, payload: bytes) -> None:
        """See `FabricEngine`."""
        self._put(self._own_report, payload)

    def signal(self, topic: str) -> None:
        """See `FabricEngine`."""
        self._put(f"{self._root}signals/{topic}", b"")

    def _declare(self, session: zenoh.Session, own: str, inlet: _Inlet) -> tuple[object, ...]:
        """What is to be heard, and that we are there: for as long as it is held."""
        return (
            session.liveliness().declare_subscriber(
                f"{self._root}sites/*/*/there", inlet.take_token, history=True
            ),
            session.declare_subscriber(
                f"{self._root}sites/*/*/report", inlet.take_report, allowed_origin=_REMOTE
            ),
            session.declare_subscriber(
                f"{self._root}signals/*", inlet.take_signal, allowed_origin=_REMOTE
            ),
            session.liveliness().declare_token(f"{own}/there"),
        )

    def _put(self, key: str, payload: bytes) -> None:
        if self._session is None:
            return
        try:
            self._session.put(key, payload, congestion_control=zenoh.CongestionControl.DROP)
        except zenoh.ZError as error:
            _logger.warning("the fabric took nothing: %s", _first_line(error))

    async def _open_at_last(self) -> zenoh.Session:
        """A client must reach a router once; from then on Zenoh reconnects by itself."""
        config, backoff_s, last_reason = self._config(), _FIRST_BACKOFF_S, ""
        while True:
            try:
                return await _open(config)
            except zenoh.ZError as error:
                reason = _first_line(error)
            if self._place.listen:
                raise SetupError(f"fabric.listen: {reason}")
            if reason != last_reason:
                _logger.warning("no fabric yet, the site goes on alone: %s", reason)
                last_reason = reason
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.0))
            backoff_s = min(2 * backoff_s, _MAX_BACKOFF_S)

    def _config(self) -> zenoh.Config:
        """Raises SetupError for endpoints that Zenoh does not take."""
        place = self._place
        settings: dict[str, object] = {
            "mode": "router" if place.listen else "client",
            "listen/endpoints": place.listen,
            "connect/endpoints": place.connect,
            # A router serves while it tries others for ever; a client's tries are ours.
            "connect/timeout_ms": -1 if place.listen else round(_CONNECT_LIMIT_S * 1e3),
            "connect/exit_on_failure": not place.listen,
            "scouting/multicast/enabled": place.finds_others,
            "scouting/gossip/enabled": False,
            "transport/shared_memory/enabled": False,
            "transport/link/protocols": ["tcp", "tls"],
            "transport/link/tx/lease": round(place.lease_s * 1e3),
            "transport/link/tx/keep_alive": _KEEP_ALIVES_PER_LEASE,
            # Larger messages than any of ours are dropped where they come in.
            "transport/link/rx/max_message_size": 16 * MAX_PAYLOAD_BYTES,
        }
        if place.tls is not None:
            settings |= _tls_settings(place.tls)
        config = zenoh.Config()
        try:
            for key, value in settings.items():
                config.insert_json5(key, json.dumps(value))
        except zenoh.ZError as error:
            raise SetupError(f"[fabric]: {_first_line(error)}") from error
        return config


class _Inlet:
    """What comes on Zenoh's threads, on its way to the listener."""

    def __init__(self, root: str, listener: FabricListener) -> None:
        loop = asyncio.get_running_loop()
        self._root = root
        self._listener = listener
        self._tokens = Handover(loop, self._tell_token, max_num_keys=_MAX_NUM_WAITING)
        self._reports = Handover(loop, self._tell_report, max_num_keys=_MAX_NUM_WAITING)
        self._topics = Handover(loop, self._tell_topic, max_num_keys=_MAX_NUM_TOPICS)

    # On Zenoh's threads. A key expression is text of whoever sent it.

    def take_token(self, sample: zenoh.Sample) -> None:
        """A site is there, or gone."""
        self._tokens.put(str(sample.key_expr), sample.kind == zenoh.SampleKind.PUT)

    def take_report(self, sample: zenoh.Sample) -> None:
        """What a site says. Oversized payloads are cut: they are unreadable either way."""
        payload = sample.payload
        is_fit = len(payload) <= MAX_PAYLOAD_BYTES
        self._reports.put(str(sample.key_expr), payload.to_bytes() if is_fit else b"")

    def take_signal(self, sample: zenoh.Sample) -> None:
        """Something has changed."""
        self._topics.put(str(sample.key_expr), True)

    # On the loop.

    def close(self) -> None:
        """Nothing more is told."""
        for handover in (self._tokens, self._reports, self._topics):
            handover.close()

    async def count_dropped(self) -> None:
        """Until cancelled, tell what was too much at a time."""
        while True:
            await asyncio.sleep(_COUNT_INTERVAL_S)
            handovers = (self._tokens, self._reports, self._topics)
            if num := sum(handover.take_num_dropped() for handover in handovers):
                self._listener.unreadable(num)

    def _tell_token(self, key: str, is_there: bool) -> None:
        tell = self._listener.appeared if is_there else self._listener.vanished
        self._tell_of_site(key, tell)

    def _tell_report(self, key: str, payload: bytes) -> None:
        self._tell_of_site(key, lambda site, epoch: self._listener.said(site, epoch, payload))

    def _tell_of_site(self, key: str, tell: Callable[[str, int], None]) -> None:
        place = _SITE.match(key, len(self._root))
        if place is None:
            self._listener.unreadable(1)
        else:
            tell(place[1], int(place[2]))

    def _tell_topic(self, key: str, _: bool) -> None:
        topic = _TOPIC.match(key, len(self._root))
        if topic is None:
            self._listener.unreadable(1)
        else:
            self._listener.signalled(topic[1])


async def _open(config: zenoh.Config) -> zenoh.Session:
    """Without holding the loop up. Raises zenoh.ZError."""
    opening = asyncio.get_running_loop().run_in_executor(None, zenoh.open, config)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening])  # nothing stops it; it takes no longer than it may
        if opening.exception() is None:
            _close(opening.result())
        raise


def _close(session: zenoh.Session) -> None:
    close: Callable[[], None] = session.close  # its stub says nothing of what it returns
    close()


def _tls_settings(tls: ZenohTls) -> dict[str, object]:
    at = "transport/link/tls/"
    return {
        f"{at}root_ca_certificate": tls.authority,
        f"{at}enable_mtls": True,
        f"{at}listen_certificate": tls.chain,
        f"{at}listen_private_key": tls.private_key,
        f"{at}connect_certificate": tls.chain,
        f"{at}connect_private_key": tls.private_key,
        f"{at}close_link_on_expiration": True,
    }


def _first_line(error: Exception) -> str:
    """The cause, without the places in Zenoh's source."""
    return str(error).partition(" at /")[0].strip()
