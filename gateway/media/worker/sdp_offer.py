"""Reading a client's offer (RFC 8866, RFC 8829), strictly where we answer and blind elsewhere.

One audio section and one data channel section are taken, under one transport (BUNDLE, rtcp-mux).
Candidates are not read at all: an ICE-lite agent learns a client's addresses from its checks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.core.call_errors import InvalidOffer
from gateway.core.errors import quoted
from gateway.media.worker.audio_terms import Direction

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_OFFER_BYTES: Final = 32 * 1024
_MAX_NUM_SECTIONS: Final = 16
_DEFAULT_MESSAGE_BYTES: Final = 64 * 1024
"""RFC 8841, section 6.1: a client that states no limit takes this much."""

_TOKEN: Final = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,64}")
_ICE_UFRAG: Final = re.compile(r"[A-Za-z0-9+/]{4,256}")
_ICE_PWD: Final = re.compile(r"[A-Za-z0-9+/]{22,256}")
_FINGERPRINT: Final = re.compile(
    r"(sha-(?:256|384|512)) ([0-9A-F]{2}(?::[0-9A-F]{2}){31,63})", re.IGNORECASE
)
_RTP_MAP: Final = re.compile(r"(\d{1,3}) ([A-Za-z0-9.-]{1,32})/(\d{1,6})(?:/(\d{1,2}))?")
_MEDIA: Final = re.compile(r"([a-z]{1,16}) (\d{1,5})(?:/\d+)? ([A-Z/]{1,32}) ([!-~ ]{1,512})")
_AUDIO_TRANSPORTS: Final = frozenset(("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF"))
_DIRECTIONS: Final = frozenset(str(direction) for direction in Direction)
_LIKE_RTCP: Final = range(64, 96)
"""Payload types that look like RTCP where the two share a port (RFC 5761, section 4)."""


@dataclass(slots=True)
class Section:
    """One media section of an offer, or what stands before the first."""

    kind: str = ""
    port: int = 0
    transport: str = ""
    formats: tuple[str, ...] = ()
    attributes: list[tuple[str, str]] = field(default_factory=list)

    def first(self, name: str) -> str | None:
        """The first value of an attribute, "" if it has none; None if it is not there."""
        return next(self.all(name), None)

    def all(self, name: str) -> Iterator[str]:
        """All values of an attribute."""
        return (value for key, value in self.attributes if key == name)

    @property
    def mid(self) -> str | None:
        """The section's name."""
        return self.first("mid")

    @property
    def is_wanted(self) -> bool:
        """Whether the client wants it at all; a bundled one may have port 0."""
        return self.port != 0 or self.first("bundle-only") is not None


@dataclass(frozen=True, slots=True)
class OfferedCodec:
    """One payload type of the audio section."""

    payload_type: int
    name: str
    """In lower case."""
    clock_hz: int
    channels: int
    fmtp: dict[str, str]


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client offers, as far as it can be taken."""

    sections: tuple[Section, ...]
    audio: Section
    data: Section | None
    is_bundled: bool
    """The sections name each other as sharers of one transport."""
    ice_ufrag: str
    fingerprints: tuple[tuple[str, str], ...]
    """Hash name and hexadecimal bytes in upper case, of the client's certificate."""
    is_client_passive: bool
    """The client waits for our DTLS hello; else it sends its own."""
    codecs: tuple[OfferedCodec, ...]
    direction: Direction
    """As the client sees it."""
    ptime_ms: int | None
    ssrc: int | None
    max_message_bytes: int
    """Longest message the client takes on the data channel; 0 for any."""
    sctp_port: int


def read_offer(text: str) -> Offer:
    """The offer in a session description.

    Raises `InvalidOffer`, which names the attribute, for what is broken, too large or cannot be
    answered: no audio, no rtcp-mux, no ICE credentials, no fingerprint that we know.
    """
    session, sections = _sections(text)
    if not text.startswith("v=0"):
        raise InvalidOffer("the offer does not begin with v=0", param="v=")
    audio = next((s for s in sections if _is_audio(s)), None)
    if audio is None:
        raise InvalidOffer("the offer has no audio section over DTLS-SRTP", param="m=audio")
    if audio.first("rtcp-mux") is None:
        raise InvalidOffer("RTP and RTCP must share a port", param="a=rtcp-mux")
    if session.first("ice-lite") is not None:
        raise InvalidOffer("two ICE-lite agents never check and so never meet", param="a=ice-lite")
    bundled = _bundled_with(audio, session)
    data = next((s for s in sections if _is_data(s) and s.mid in bundled), None)
    return Offer(
        sections=sections,
        audio=audio,
        data=data,
        is_bundled=bool(bundled),
        ice_ufrag=_ice_ufrag(audio, session),
        fingerprints=_fingerprints(audio, session),
        is_client_passive=_is_client_passive(audio, session),
        codecs=tuple(_codecs(audio)),
        direction=_direction(audio, session),
        ptime_ms=_number(audio, "ptime", 1, 1000),
        ssrc=_ssrc(audio),
        max_message_bytes=_limit(data),
        sctp_port=_number(data, "sctp-port", 1, 65535) or 5000 if data else 5000,
    )


def read_fragment(text: str) -> str | None:
    """The ICE name in a fragment that restarts ICE or trickles candidates (RFC 8840, RFC 9725).

    None where it has none and so brings candidates only, which are not needed. Raises
    `InvalidOffer` for a broken one.
    """
    session, sections = _sections(text)
    for section in (session, *sections):
        if section.first("ice-ufrag") is not None:
            return _ice_ufrag(section, session)
    return None


def _sections(text: str) -> tuple[Section, tuple[Section, ...]]:
    if len(text) > MAX_OFFER_BYTES or len(text.encode("utf-8", "replace")) > MAX_OFFER_BYTES:
        raise InvalidOffer(f"the offer is longer than {MAX_OFFER_BYTES} bytes", param="sdp")
    sections = [Section()]
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if line.startswith("m="):
            sections.append(_media(line))
        elif line.startswith("a="):
            name, _, value = line[2:].partition(":")
            if name != "candidate":
                sections[-1].attributes.append((name, value))
        elif line and line[1:2] != "=":
            raise InvalidOffer(f"line {number} is not SDP: {quoted(line)}", param=f"line {number}")
    if len(sections) > _MAX_NUM_SECTIONS + 1:
        raise InvalidOffer(f"more than {_MAX_NUM_SECTIONS} media sections", param="m=")
    _check_mids(sections[1:])
    return sections[0], tuple(sections[1:])


def _media(line: str) -> Section:
    match = _MEDIA.fullmatch(line[2:])
    if match is None:
        raise InvalidOffer(f"not a media line: {quoted(line)}", param="m=")
    kind, port, transport, formats = match.groups()
    return Section(kind, int(port), transport, tuple(formats.split()))


def _check_mids(sections: list[Section]) -> None:
    mids = [section.mid for section in sections if section.mid is not None]
    if any(_TOKEN.fullmatch(mid) is None for mid in mids) or len(set(mids)) != len(mids):
        raise InvalidOffer("names of sections must be tokens and differ", param="a=mid")


def _is_audio(section: Section) -> bool:
    return section.kind == "audio" and section.is_wanted and section.transport in _AUDIO_TRANSPORTS


def _is_data(section: Section) -> bool:
    return (
        section.kind == "application"
        and section.is_wanted
        and section.transport == "UDP/DTLS/SCTP"
        and section.formats == ("webrtc-datachannel",)
    )


def _bundled_with(audio: Section, session: Section) -> frozenset[str | None]:
    for group in session.all("group"):
        semantics, *mids = group.split()[: _MAX_NUM_SECTIONS + 1] or [""]
        if semantics == "BUNDLE" and audio.mid in mids:
            return frozenset(mids)
    return frozenset()


def _either(name: str, audio: Section, session: Section) -> str:
    value = audio.first(name)
    if value is None:
        value = session.first(name)
    if value is None:
        raise InvalidOffer("the audio section needs it, and it is missing", param=f"a={name}")
    return value.strip()


def _ice_ufrag(audio: Section, session: Section) -> str:
    ufrag = _either("ice-ufrag", audio, session)
    if _ICE_UFRAG.fullmatch(ufrag) is None:
        raise InvalidOffer("not 4 to 256 characters of ICE's alphabet", param="a=ice-ufrag")
    if _ICE_PWD.fullmatch(_either("ice-pwd", audio, session)) is None:
        raise InvalidOffer("not 22 to 256 characters of ICE's alphabet", param="a=ice-pwd")
    return ufrag


def _fingerprints(audio: Section, session: Section) -> tuple[tuple[str, str], ...]:
    given = list(audio.all("fingerprint")) or list(session.all("fingerprint"))
    matches = [_FINGERPRINT.fullmatch(value.strip()) for value in given[:8]]
    known = tuple((match[1].lower(), match[2].upper()) for match in matches if match is not None)
    if not known:
        raise InvalidOffer("no SHA-256, SHA-384 or SHA-512 fingerprint", param="a=fingerprint")
    return known


def _is_client_passive(audio: Section, session: Section) -> bool:
    setup = _either("setup", audio, session)
    if setup not in ("actpass", "active", "passive"):
        raise InvalidOffer("neither actpass nor active nor passive", param="a=setup")
    return setup == "passive"


def _codecs(audio: Section) -> Iterator[OfferedCodec]:
    maps = dict(_rtp_maps(audio))
    fmtp = dict(value.partition(" ")[::2] for value in audio.all("fmtp"))
    for number in audio.formats[:64]:
        if not re.fullmatch(r"\d{1,3}", number) or int(number) > 127:
            raise InvalidOffer(f"not a payload type: {quoted(number)}", param="m=audio")
        if number in maps and int(number) not in _LIKE_RTCP:
            name, clock_hz, channels = maps[number]
            parameters = _parameters(fmtp.get(number, ""))
            yield OfferedCodec(int(number), name, clock_hz, channels, parameters)


def _rtp_maps(audio: Section) -> Iterator[tuple[str, tuple[str, int, int]]]:
    # Payload types that need no map (RFC 3551, table 4).
    yield "0", ("pcmu", 8000, 1)
    yield "8", ("pcma", 8000, 1)
    for value in audio.all("rtpmap"):
        match = _RTP_MAP.fullmatch(value.strip())
        if match is None:
            raise InvalidOffer(f"cannot be read: {quoted(value)}", param="a=rtpmap")
        yield match[1], (match[2].lower(), int(match[3]), int(match[4] or 1))


def _parameters(text: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in text.split(";")[:32] if part.strip())
    return {key.lower(): value for key, _, value in pairs}


def _direction(audio: Section, session: Section) -> Direction:
    for section in (audio, session):
        for name, _ in section.attributes:
            if name in _DIRECTIONS:
                return Direction(name)
    return Direction.SENDRECV


def _number(section: Section, name: str, low: int, high: int) -> int | None:
    value = section.first(name)
    if value is None:
        return None
    if not re.fullmatch(r"\d{1,10}", value.strip()) or not low <= int(value) <= high:
        raise InvalidOffer(f"not a number from {low} to {high}", param=f"a={name}")
    return int(value)


def _limit(data: Section | None) -> int:
    limit = _number(data, "max-message-size", 0, 2**32) if data else None
    return _DEFAULT_MESSAGE_BYTES if limit is None else limit


def _ssrc(audio: Section) -> int | None:
    value = audio.first("ssrc")
    if value is None:
        return None
    number = value.partition(" ")[0]
    if not re.fullmatch(r"\d{1,10}", number) or int(number) >= 2**32:
        raise InvalidOffer("not a synchronization source", param="a=ssrc")
    return int(number)
