"""Offers of real clients, their answers, and what cannot be answered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call_errors import InvalidOffer
from gateway.media.worker.audio_terms import AudioTerms, Codec, Direction
from gateway.media.worker.ice import Credentials
from gateway.media.worker.sdp_answer import Place, agree, compose_answer
from gateway.media.worker.sdp_offer import MAX_OFFER_BYTES, read_offer
from tests.media.offers import CHROME, FIREFOX, PHONE

PLACE = Place(
    advertised=("203.0.113.5", 20080),
    credentials=Credentials("ourname", "ourpassword"),
    fingerprint="sha-256 00:11",
    is_passive=True,
    session_id=7,
    version=1,
)


def answer(text: str) -> tuple[AudioTerms, list[str]]:
    offer = read_offer(text)
    terms = agree(offer)
    return terms, compose_answer(offer, terms, PLACE).split("\r\n")


def answer_if_any(text: str) -> list[str]:
    """The lines of the answer; none where the offer is refused."""
    try:
        return answer(text)[1]
    except InvalidOffer:
        return []


def test_chromes_offer() -> None:
    offer = read_offer(CHROME)
    assert offer.ice_ufrag == "c3We"
    assert offer.fingerprints == (("sha-256", ":".join(["AB"] * 32)),)
    assert offer.data is not None
    assert not offer.is_client_passive
    assert offer.max_message_bytes == 262144
    terms, lines = answer(CHROME)
    assert (terms.codec, terms.payload_type, terms.clock_hz) == (Codec.OPUS, 111, 48000)
    assert terms.telephone_events == {110: 48000, 126: 8000}
    assert terms.peer_fmtp == {"minptime": "10", "useinbandfec": "1"}
    assert terms.peer_ssrc == 3455009556
    assert terms.packet_s == 0.02
    assert terms.can_send
    assert terms.can_receive
    assert "a=ice-lite" in lines
    assert "a=group:BUNDLE 0 1" in lines
    assert "m=audio 20080 UDP/TLS/RTP/SAVPF 111 110 126" in lines
    assert "a=candidate:1 1 udp 2130706431 203.0.113.5 20080 typ host" in lines
    assert "a=end-of-candidates" in lines
    assert "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1;maxaveragebitrate=24000" in lines
    assert f"a=ssrc:{terms.ssrc} cname:{terms.cname}" in lines
    assert "m=application 20080 UDP/DTLS/SCTP webrtc-datachannel" in lines
    assert lines.count("a=setup:passive") == 2
    assert not any(line.startswith("a=extmap") for line in lines)


def test_firefoxes_offer() -> None:
    terms, lines = answer(FIREFOX)
    assert (terms.codec, terms.payload_type) == (Codec.OPUS, 109)
    assert terms.telephone_events == {101: 8000}
    assert terms.peer_fmtp["stereo"] == "1"
    assert "m=application 20080 UDP/DTLS/SCTP webrtc-datachannel" in lines


def test_a_small_devices_offer() -> None:
    terms, lines = answer(PHONE)
    assert (terms.codec, terms.payload_type, terms.clock_hz) == (Codec.PCMU, 0, 8000)
    assert terms.direction is Direction.RECVONLY
    assert not terms.can_send
    assert terms.packet_s == 0.04
    assert terms.peer_ssrc is None
    media = [line for line in lines if line.startswith("m=")]
    assert media == ["m=video 0 UDP/TLS/RTP/SAVPF 96", "m=audio 20080 UDP/TLS/RTP/SAVPF 0"]
    assert not any(line.startswith(("a=mid", "a=group", "a=msid:", "a=ssrc")) for line in lines)


@pytest.mark.parametrize("direction", ["sendrecv", "sendonly", "recvonly", "inactive"])
def test_directions_are_mirrored(direction: str) -> None:
    mirrored = {"sendonly": "recvonly", "recvonly": "sendonly"}.get(direction, direction)
    terms, lines = answer(CHROME.replace("a=sendrecv", f"a={direction}"))
    assert terms.direction == mirrored
    assert f"a={mirrored}" in lines


def test_a_second_audio_section_and_an_unbundled_channel_are_refused() -> None:
    audio = CHROME[CHROME.index("m=audio") : CHROME.index("m=application")]
    _, lines = answer(CHROME + audio.replace("a=mid:0", "a=mid:2"))
    assert "m=audio 0 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126" in lines
    _, lines = answer(CHROME.replace("BUNDLE 0 1", "BUNDLE 0"))
    assert "a=group:BUNDLE 0" in lines
    assert "m=application 0 UDP/DTLS/SCTP webrtc-datachannel" in lines


def test_thousands_of_candidates_are_not_looked_at() -> None:
    many = "".join(f"a=candidate:{n} 1 udp x x x typ x\r\n" for n in range(500))
    assert read_offer(CHROME + many) == read_offer(CHROME)


@pytest.mark.parametrize(
    ("old", "new", "param"),
    [
        ("v=0", "v=1", "v="),
        ("s=-\r\n", "s=-\r\nnonsense\r\n", "line 4"),
        ("m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 RTP/AVP", "m=audio"),
        ("m=audio 9 ", "m=audio 0 ", "m=audio"),
        ("m=audio 9", "m=audio nine", "m="),
        ("SAVPF 111 63", "SAVPF 111 x63", "m=audio"),
        ("opus/48000/2", "speex/16000", None),
        ("a=rtpmap:111 opus/48000/2", "a=rtpmap:111 opus", "a=rtpmap"),
        ("a=rtcp-mux\r\n", "", "a=rtcp-mux"),
        ("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n", "a=ice-lite"),
        ("a=mid:0", "a=mid:1", "a=mid"),
        ("a=mid:0", "a=mid:0 0", "a=mid"),
        ("a=ice-ufrag:c3We", "a=ice-ufrag:c3\u00e9e", "a=ice-ufrag"),
        ("a=ice-ufrag:c3We\r\n", "", "a=ice-ufrag"),
        ("a=ice-pwd:TL8GNnP4gak231NkkXOkasHJ", "a=ice-pwd:short", "a=ice-pwd"),
        ("fingerprint:sha-256", "fingerprint:md5", "a=fingerprint"),
        ("a=setup:actpass", "a=setup:holdconn", "a=setup"),
        ("a=sctp-port:5000", "a=sctp-port:70000", "a=sctp-port"),
        ("a=max-message-size:262144", "a=max-message-size:-1", "a=max-message-size"),
        ("a=ssrc:3455009556", "a=ssrc:99999999999", "a=ssrc"),
    ],
)
def test_what_cannot_be_answered_is_named(old: str, new: str, param: str | None) -> None:
    text = CHROME.replace(old, new)
    if param is None:
        assert answer(text)[0].codec is Codec.PCMU
        return
    with pytest.raises(InvalidOffer) as caught:
        read_offer(text)
    assert caught.value.param == param
    assert "\n" not in caught.value.message


def test_an_offer_without_a_common_codec_is_refused() -> None:
    with pytest.raises(InvalidOffer, match="Opus"):
        answer(CHROME.replace("SAVPF 111 63 9 0 8 13", "SAVPF 63 9 13"))


def test_a_payload_type_that_looks_like_rtcp_is_not_taken() -> None:
    text = CHROME.replace("111", "72")
    assert answer(text)[0].codec is Codec.PCMU


def test_huge_offers_are_refused_by_their_size() -> None:
    with pytest.raises(InvalidOffer, match=str(MAX_OFFER_BYTES)):
        read_offer(CHROME + "a=x\r\n" * 7000)
    with pytest.raises(InvalidOffer, match="sections"):
        read_offer(CHROME + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 16)


_LINES = CHROME.split("\r\n")


@given(
    st.lists(st.sampled_from(_LINES) | st.text(max_size=40), max_size=60),
    st.sampled_from(["\r\n", "\n", "\r"]),
)
def test_any_mixture_of_lines_is_answered_or_refused(lines: list[str], end: str) -> None:
    for text in (end.join(lines), "v=0" + end + end.join(lines), CHROME + end.join(lines)):
        answered = answer_if_any(text)
        assert all(line == "" or line[1] == "=" for line in answered)


@given(st.integers(0, len(CHROME) - 1), st.characters())
def test_any_changed_character_is_survived(at: int, character: str) -> None:
    answer_if_any(CHROME[:at] + character + CHROME[at + 1 :])
