"""A site's place on a Zenoh fabric in a process of its own: `python -m … NAME EPOCH LEASE_S
listen|connect ENDPOINT`. It ends when killed."""

from __future__ import annotations

import sys

import uvloop

from gateway.core.membership import SiteCard
from gateway.peers.fabric import Fabric
from gateway.peers.zenoh_fabric import ZenohFabric, ZenohPlace
from tests.peers.grid import MODEL


class NobodyLinks:
    """A `FabricObserver` without links."""

    def joined(self, member: object) -> None:
        pass

    def left(self, member: object) -> None:
        pass


def main(site: str, epoch: str, lease_s: str, way: str, endpoint: str) -> None:
    place = ZenohPlace(
        grid="test",
        lease_s=float(lease_s),
        listen=(endpoint,) if way == "listen" else (),
        connect=(endpoint,) if way == "connect" else (),
    )
    card = SiteCard(site, int(epoch), "127.0.0.1:1", models=(MODEL,), region="lab")
    fabric = Fabric(
        ZenohFabric(place), card, lambda: None, observer=NobodyLinks(), report_interval_s=0.2
    )
    uvloop.run(fabric.run())


if __name__ == "__main__":
    main(*sys.argv[1:])
