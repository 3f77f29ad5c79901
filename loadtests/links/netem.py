"""The netem back end, as the lines that `tc -batch` takes.

Each site's egress has one HTB class per destination with a netem leaf that delays by half the
round-trip time. netem reorders jittered packets unless it also has a rate; then it queues them
(sch_netem), so a rate is always set. Its default limit of 1000 packets would drop silently.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import msgspec

from loadtests.links.delay_line import MAX_NUM_IN_FLIGHT, MAX_QUEUE_S

if TYPE_CHECKING:
    from loadtests.links.matrix import Link, LinkMatrix

_ANY_RATE_BIT_PER_S = 20e9
_PACKET_BYTES = 1500


def egress_lines(matrix: LinkMatrix, site: str, device: str) -> list[str]:
    """What to configure on `device` in the namespace of `site`, in order."""
    lines = [f"qdisc add dev {device} root handle 1: htb"]
    for one, other, link in matrix.links:
        if site not in (one, other):
            continue
        destination = other if site == one else one
        minor = f"{matrix.sites.index(destination) + 1:x}"
        lines += [
            f"class add dev {device} parent 1: classid 1:{minor} htb rate 40gbit quantum 60000",
            f"qdisc add dev {device} parent 1:{minor} {leaf(link)}",
            f"filter add dev {device} parent 1: protocol ip u32 "
            f"match ip dst {matrix.address(destination)}/32 flowid 1:{minor}",
        ]
    return lines


def split_lines(matrix: LinkMatrix, site: str, device: str, apart: tuple[str, ...]) -> list[str]:
    """What changes there when nothing passes any more between the sites of `apart` and the others;
    an empty `apart` mends it.
    """
    lines = []
    for one, other, link in matrix.links:
        if site not in (one, other):
            continue
        destination = other if site == one else one
        if (site in apart) is not (destination in apart):
            link = msgspec.structs.replace(link, loss_ratio=1.0)
        minor = f"{matrix.sites.index(destination) + 1:x}"
        lines.append(f"qdisc change dev {device} parent 1:{minor} {leaf(link)}")
    return lines


def leaf(link: Link) -> str:
    """The netem leaf of one direction."""
    words = [f"netem limit {_limit_packets(link)} delay {link.rtt_s / 2 * 1e6:.0f}us"]
    if link.jitter_s:
        words.append(f"{link.jitter_s * 1e6:.0f}us")
    if link.loss_ratio:
        words.append(f"loss {link.loss_ratio * 100:.4f}%")
    words.append(f"rate {link.rate_bit_per_s or _ANY_RATE_BIT_PER_S:.0f}bit")
    return " ".join(words)


def _limit_packets(link: Link) -> int:
    """Room for what is on its way and what may wait, counted in full packets."""
    if not link.rate_bit_per_s:
        return MAX_NUM_IN_FLIGHT
    held_s = link.rtt_s / 2 + link.jitter_s + MAX_QUEUE_S
    return max(100, ceil(held_s * link.rate_bit_per_s / 8 / _PACKET_BYTES))
