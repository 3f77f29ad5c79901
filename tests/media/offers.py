"""Offers as clients write them, their keys and names replaced."""

from __future__ import annotations

_CERTIFICATE = ":".join(["AB"] * 32)


def _lines(*lines: str) -> str:
    return "\r\n".join(lines) + "\r\n"


_CHROME_TRANSPORT = (
    "a=ice-ufrag:c3We",
    "a=ice-pwd:TL8GNnP4gak231NkkXOkasHJ",
    "a=ice-options:trickle",
    f"a=fingerprint:sha-256 {_CERTIFICATE}",
    "a=setup:actpass",
)

CHROME = _lines(
    "v=0",
    "o=- 4044440461454137656 2 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0 1",
    "a=extmap-allow-mixed",
    "a=msid-semantic: WMS e57033b7-e4a8-45d8-b70a-8867108a7729",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126",
    "c=IN IP4 0.0.0.0",
    "a=rtcp:9 IN IP4 0.0.0.0",
    *_CHROME_TRANSPORT,
    "a=mid:0",
    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
    "a=sendrecv",
    "a=msid:e57033b7-e4a8-45d8-b70a-8867108a7729 4aee3e8d-cfc4-45c9-9c34-2692743d4892",
    "a=rtcp-mux",
    "a=rtcp-rsize",
    "a=rtpmap:111 opus/48000/2",
    "a=rtcp-fb:111 transport-cc",
    "a=fmtp:111 minptime=10;useinbandfec=1",
    "a=rtpmap:63 red/48000/2",
    "a=fmtp:63 111/111",
    "a=rtpmap:9 G722/8000",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:13 CN/8000",
    "a=rtpmap:110 telephone-event/48000",
    "a=rtpmap:126 telephone-event/8000",
    "a=ssrc:3455009556 cname:b6frH06JnJUvRadA",
    "a=ssrc:3455009556 msid:e57033b7-e4a8-45d8-b70a-8867108a7729 4aee3e8d",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    *_CHROME_TRANSPORT,
    "a=mid:1",
    "a=sctp-port:5000",
    "a=max-message-size:262144",
)
"""Chrome 156: microphone and `oai-events`, posted before any candidate was gathered."""

FIREFOX = _lines(
    "v=0",
    "o=mozilla...THIS_IS_SDPARTA-99.0 7157391436012054436 0 IN IP4 0.0.0.0",
    "s=-",
    "t=0 0",
    f"a=fingerprint:sha-256 {_CERTIFICATE}",
    "a=group:BUNDLE 0 1",
    "a=ice-options:trickle",
    "a=msid-semantic:WMS *",
    "m=audio 51234 UDP/TLS/RTP/SAVPF 109 9 0 8 101",
    "c=IN IP4 192.0.2.7",
    "a=candidate:0 1 UDP 2122252543 192.0.2.7 51234 typ host",
    "a=candidate:1 1 TCP 2105524479 192.0.2.7 9 typ host tcptype active",
    "a=sendrecv",
    "a=end-of-candidates",
    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
    "a=extmap:2/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level",
    "a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1",
    "a=fmtp:101 0-15",
    "a=ice-pwd:2b5d6c0e8a2a4f5e9d0c1b3a4f5e6d7c",
    "a=ice-ufrag:4b1fe7d2",
    "a=mid:0",
    "a=msid:{stream} {track}",
    "a=rtcp-mux",
    "a=rtpmap:109 opus/48000/2",
    "a=rtpmap:9 G722/8000/1",
    "a=rtpmap:0 PCMU/8000",
    "a=rtpmap:8 PCMA/8000",
    "a=rtpmap:101 telephone-event/8000/1",
    "a=setup:actpass",
    "a=ssrc:1234567 cname:{some-cname}",
    "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
    "c=IN IP4 0.0.0.0",
    "a=bundle-only",
    "a=sendrecv",
    "a=mid:1",
    "a=sctp-port:5000",
    "a=max-message-size:1073741823",
)
"""Firefox: the fingerprint above the sections, the channel's section bundle-only with port 0."""

PHONE = _lines(
    "v=0",
    "o=- 1 1 IN IP4 192.0.2.9",
    "s=-",
    "t=0 0",
    "a=ice-ufrag:abcd",
    "a=ice-pwd:0123456789012345678901",
    f"a=fingerprint:SHA-256 {_CERTIFICATE.lower()}",
    "a=setup:active",
    "m=video 5004 UDP/TLS/RTP/SAVPF 96",
    "a=rtpmap:96 VP8/90000",
    "m=audio 5002 UDP/TLS/RTP/SAVPF 0 8",
    "a=rtcp-mux",
    "a=sendonly",
    "a=ptime:40",
)
"""A small device: G.711 by number only, video that we do not take, no names, no bundle."""
