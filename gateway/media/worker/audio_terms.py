"""What a call's two sides have agreed on about its sound."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Codec(StrEnum):
    """The codecs of a call, the preferred first; RFC 7874 asks every WebRTC client for all."""

    OPUS = "opus"
    PCMU = "pcmu"
    PCMA = "pcma"


class Direction(StrEnum):
    """Which way sound goes, as the side sees it that says so."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def mirrored(self) -> Direction:
        """The same, as the other side sees it."""
        match self:
            case Direction.SENDONLY:
                return Direction.RECVONLY
            case Direction.RECVONLY:
                return Direction.SENDONLY
            case _:
                return self


@dataclass(frozen=True, slots=True)
class AudioTerms:
    """One call's sound. Both ways use the same codec and payload type."""

    codec: Codec
    payload_type: int
    clock_hz: int
    """RTP timestamp units a second."""
    telephone_events: dict[int, int]
    """Payload types that carry key presses, with their clock rates."""
    peer_fmtp: dict[str, str]
    """What the client wants of what is sent to it, e.g. useinbandfec=1 or stereo=0."""
    packet_s: float
    """How much sound the client wants in a packet."""
    direction: Direction
    """As we see it."""
    ssrc: int
    """The synchronization source of what we send: the answer names it."""
    cname: str
    """The canonical name of our source in RTCP."""
    peer_ssrc: int | None
    """The client's source, where the offer says it."""

    @property
    def can_send(self) -> bool:
        """Whether the client wants to hear something."""
        return self.direction in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def can_receive(self) -> bool:
        """Whether the client says something."""
        return self.direction in (Direction.SENDRECV, Direction.RECVONLY)
