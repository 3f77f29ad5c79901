"""The configuration of what connects a site to other sites."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.core.routing import Rules

_ENDPOINT = r"^(tcp|tls)/(\[[0-9A-Fa-f:]+\]|[^\s:/]+):\d{1,5}\Z"


class Grid(msgspec.Struct, frozen=True):
    """The other sites."""

    peers: Annotated[
        tuple[
            Annotated[
                str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}=(\[[0-9A-Fa-f:]+\]|[^:=]+):\d+\Z")
            ],
            ...,
        ],
        Meta(description="Sites to hand turns to, each `NAME=HOST:PORT` of its peer port."),
    ] = ()
    key: Annotated[
        str,
        Meta(
            pattern=r"^([!-~]{32,256})?\Z",
            description="Secret of all sites of the grid, 32 characters or more: signs the "
            "sessions they keep for each other; empty: sessions end with their site.",
            extra={"secret": True},
        ),
    ] = ""


class Routing(msgspec.Struct, frozen=True):
    """What becomes of turns for which there is little room, and how dear this site is."""

    cost_ms: Annotated[
        float,
        Meta(
            ge=0,
            le=60_000,
            description="What this site costs (price, energy), as time: where a turn fits, other "
            "sites would rather wait so much longer than hand it to this one.",
            extra={"unit": "ms"},
        ),
    ] = 0.0
    overrun_ratio: Annotated[
        float,
        Meta(
            ge=1,
            le=10,
            description="A turn of class agent or batch that fits nowhere waits here if its "
            "estimate takes at most so many times what is left of its budget, and is shed when "
            "that is over; 1: it is shed at once.",
        ),
    ] = 1.0
    keep_messages: Annotated[
        int,
        Meta(
            ge=0,
            le=100_000,
            description="A conversation that cannot be answered in time anywhere is answered by "
            "its instructions and so many of its last messages, and says so; 0: it is shed.",
        ),
    ] = 0

    def rules(self) -> Rules:
        """The same as the core knows it."""
        return Rules(overrun_ratio=self.overrun_ratio)


class FabricPlace(msgspec.Struct, frozen=True):
    """Where sites find each other; without `listen`, `connect` and `scouting`, nowhere."""

    grid: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z",
            description="Only sites with the same grid's name see each other.",
        ),
    ] = "grid"
    listen: Annotated[
        tuple[Annotated[str, Meta(pattern=_ENDPOINT)], ...],
        Meta(
            description="This site is a router of the fabric, here: `tcp/127.0.0.1:7447`, or "
            "`tls/HOST:PORT` with the certificate of [tls], which names that host too, and "
            "`peer.authority`."
        ),
    ] = ()
    connect: Annotated[
        tuple[Annotated[str, Meta(pattern=_ENDPOINT)], ...],
        Meta(description="Routers to meet the other sites at: `tls/hub:7447`."),
    ] = ()
    scouting: Annotated[
        bool, Meta(description="Look for routers by multicast on the local network.")
    ] = False
    lease_ms: Annotated[
        int,
        Meta(
            ge=200,
            le=60_000,
            description="A site of which nothing was heard for so long is gone.",
            extra={"unit": "ms"},
        ),
    ] = 1000
    report_interval_ms: Annotated[
        int,
        Meta(
            ge=200,
            le=60_000,
            description="How often this site says there how busy it is.",
            extra={"unit": "ms"},
        ),
    ] = 1000
    peer_address: Annotated[
        str,
        Meta(
            pattern=r"^((\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5})?\Z",
            description="`HOST:PORT` at which other sites reach this site's peer port; empty: "
            "where it listens.",
        ),
    ] = ""
    max_num_neighbours: Annotated[
        int,
        Meta(
            ge=0,
            le=256,
            description="Links to sites that the fabric shows, the nearest first, a quarter of "
            "them in other regions; those of `grid.peers` come on top.",
        ),
    ] = 8

    @property
    def enabled(self) -> bool:
        """Whether the site is on a fabric."""
        return bool(self.listen or self.connect or self.scouting)
