"""Answering an offer: one codec, one transport, everything else refused section by section."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from gateway.core.call_errors import InvalidOffer
from gateway.media.worker.audio_terms import AudioTerms, Codec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.media.worker.ice import Credentials
    from gateway.media.worker.sdp_offer import Offer, OfferedCodec, Section

MAX_MESSAGE_BYTES: Final = 256 * 1024
"""Longest message that is taken on the data channel."""

_PACKET_S: Final = 0.02
_PACKETS_MS: Final = (10, 20, 40, 60)
"""Packet lengths that Opus and G.711 can both have."""
_MAX_NUM_TELEPHONE_EVENTS: Final = 4
_SHAPES: Final = {Codec.OPUS: (48_000, 2), Codec.PCMU: (8_000, 1), Codec.PCMA: (8_000, 1)}
"""Clock rate and channels in the codec's map (RFC 7587, section 7; RFC 3551)."""
_OPUS_FMTP: Final = "minptime=10;useinbandfec=1;usedtx=1;maxaveragebitrate=24000"
"""What we want to hear: speech, mono, no packets in silence (Chrome: 5 a second instead of 50)."""
_STREAM: Final = "firsthop"


@dataclass(frozen=True, slots=True)
class Place:
    """Where and as whom we answer."""

    advertised: tuple[str, int]
    """IP address and port that clients send to."""
    credentials: Credentials
    fingerprint: str
    """Of our certificate, with its hash name."""
    is_passive: bool
    """We wait for the client's DTLS hello."""
    session_id: int
    version: int
    """Grows with each answer of the same call."""


def agree(offer: Offer, before: AudioTerms | None = None) -> AudioTerms:
    """What the call's sound will be; `before` is what an earlier offer of it came to.

    Raises `InvalidOffer` if there is no codec both sides have, or the call's codec would change.
    """
    codec, offered = _choice(offer)
    if before and (before.codec, before.payload_type) != (codec, offered.payload_type):
        raise InvalidOffer("the codec of a call cannot change", param="m=audio")
    events = [c for c in offer.codecs if c.name == "telephone-event"]
    return AudioTerms(
        codec=codec,
        payload_type=offered.payload_type,
        clock_hz=offered.clock_hz,
        telephone_events={c.payload_type: c.clock_hz for c in events[:_MAX_NUM_TELEPHONE_EVENTS]},
        peer_fmtp=offered.fmtp,
        packet_s=offer.ptime_ms / 1e3 if offer.ptime_ms in _PACKETS_MS else _PACKET_S,
        direction=offer.direction.mirrored,
        ssrc=before.ssrc if before else secrets.randbelow(2**32 - 1) + 1,
        cname=before.cname if before else secrets.token_urlsafe(12),
        peer_ssrc=offer.ssrc,
    )


def _choice(offer: Offer) -> tuple[Codec, OfferedCodec]:
    for codec in Codec:
        for offered in offer.codecs:
            if offered.name == codec and (offered.clock_hz, offered.channels) == _SHAPES[codec]:
                return codec, offered
    raise InvalidOffer("neither Opus nor PCMU nor PCMA is offered", param="m=audio")


def compose_answer(offer: Offer, terms: AudioTerms, place: Place) -> str:
    """The session description that answers the offer."""
    lines = [
        "v=0",
        f"o=- {place.session_id} {place.version} IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=ice-lite",
    ]
    taken = [s for s in offer.sections if s is offer.audio or s is offer.data]
    if offer.is_bundled:
        lines.append("a=group:BUNDLE " + " ".join(str(s.mid) for s in taken))
    lines.append("a=msid-semantic: WMS *")
    for section in offer.sections:
        if section is offer.audio:
            lines += _audio(offer, terms, place)
        elif section is offer.data:
            lines += _data(offer, section, place)
        else:
            lines += _refused(section)
    return "\r\n".join(lines) + "\r\n"


def compose_fragment(audio_mid: str | None, place: Place) -> str:
    """The fragment that answers one that restarts ICE (RFC 9725, section 4.3.2)."""
    lines = [
        "a=ice-lite",
        f"a=ice-ufrag:{place.credentials.ufrag}",
        f"a=ice-pwd:{place.credentials.pwd}",
        "m=audio 9 RTP/AVP 0",
        *([] if audio_mid is None else [f"a=mid:{audio_mid}"]),
        *_candidates(place),
    ]
    return "\r\n".join(lines) + "\r\n"


def _audio(offer: Offer, terms: AudioTerms, place: Place) -> Iterator[str]:
    formats = " ".join(str(pt) for pt in (terms.payload_type, *terms.telephone_events))
    yield f"m=audio {place.advertised[1]} {offer.audio.transport} {formats}"
    yield from _transport(offer.audio, place)
    yield from _candidates(place)
    yield "a=rtcp-mux"
    yield f"a={terms.direction}"
    clock_hz, channels = _SHAPES[terms.codec]
    name = terms.codec if terms.codec is Codec.OPUS else terms.codec.upper()
    shape = f"{clock_hz}/{channels}" if channels > 1 else f"{clock_hz}"
    yield f"a=rtpmap:{terms.payload_type} {name}/{shape}"
    if terms.codec is Codec.OPUS:
        yield f"a=fmtp:{terms.payload_type} {_OPUS_FMTP}"
    for payload_type, event_hz in terms.telephone_events.items():
        yield f"a=rtpmap:{payload_type} telephone-event/{event_hz}"
        yield f"a=fmtp:{payload_type} 0-15"
    yield f"a=ptime:{terms.packet_s * 1e3:.0f}"
    if terms.can_send:
        yield f"a=msid:{_STREAM} {_STREAM}-audio"
        yield f"a=ssrc:{terms.ssrc} cname:{terms.cname}"


def _data(offer: Offer, section: Section, place: Place) -> Iterator[str]:
    yield f"m=application {place.advertised[1]} {section.transport} webrtc-datachannel"
    yield from _transport(section, place)
    yield f"a=sctp-port:{offer.sctp_port}"
    yield f"a=max-message-size:{MAX_MESSAGE_BYTES}"


def _transport(section: Section, place: Place) -> Iterator[str]:
    host = place.advertised[0]
    yield f"c=IN IP{ip_address(host).version} {host}"
    if section.mid is not None:
        yield f"a=mid:{section.mid}"
    yield f"a=ice-ufrag:{place.credentials.ufrag}"
    yield f"a=ice-pwd:{place.credentials.pwd}"
    yield f"a=fingerprint:{place.fingerprint}"
    yield f"a=setup:{'passive' if place.is_passive else 'active'}"


def _candidates(place: Place) -> Iterator[str]:
    host, port = place.advertised
    yield f"a=candidate:1 1 udp 2130706431 {host} {port} typ host"
    yield "a=end-of-candidates"


def _refused(section: Section) -> Iterator[str]:
    yield f"m={section.kind} 0 {section.transport} {' '.join(section.formats)}"
    yield "c=IN IP4 0.0.0.0"
    if section.mid is not None:
        yield f"a=mid:{section.mid}"
    yield "a=inactive"
