"""A lean WebRTC client: it offers, checks, shakes hands and then sends RTP packets as given.

No codec, no jitter buffer, no task of its own: one process can be many callers, and a test decides
on every datagram.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket
import struct
from typing import TYPE_CHECKING, Final
from zlib import crc32

from gateway.media.worker import stun
from gateway.media.worker.data_channel import EventChannel
from gateway.media.worker.ice import Credentials
from gateway.media.worker.secure import Identity, LinkState, SecureLink

if TYPE_CHECKING:
    from collections.abc import Callable

PAYLOAD_TYPE: Final = 111
SSRC: Final = 77
_CLOCK_PER_PACKET: Final = 960
_USERNAME, _PRIORITY, _USE_CANDIDATE, _CONTROLLING = 0x0006, 0x0024, 0x0025, 0x802A
_INTEGRITY, _FINGERPRINT = 0x0008, 0x8028


class VoicePeer:
    """One client and its socket. `answer` is the gateway's: set it before anything is sent."""

    def __init__(
        self,
        identity: Identity,
        *,
        has_channel: bool = False,
        is_passive: bool = False,
        host: str = "127.0.0.1",
    ) -> None:
        self.identity = identity
        self.ice = Credentials.fresh()
        self.answer = ""
        self.num_checks_answered = 0
        self.packets: list[bytes] = []
        self.reports: list[bytes] = []
        self.messages: list[str] = []
        self.channel: EventChannel | None = None
        self.link = SecureLink(identity, (), is_server=is_passive)
        self._has_channel = has_channel
        self._is_passive = is_passive
        self._host = host
        self._loop = asyncio.get_running_loop()
        self.sock = self._open_socket()

    def offer(self) -> str:
        """A session description as a browser writes it, with no candidate."""
        transport = (
            f"a=ice-ufrag:{self.ice.ufrag}\r\na=ice-pwd:{self.ice.pwd}\r\n"
            f"a=fingerprint:{self.identity.fingerprint}\r\n"
            f"a=setup:{'passive' if self._is_passive else 'actpass'}\r\n"
        )
        text = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
            f"a=group:BUNDLE {'0 1' if self._has_channel else '0'}\r\n"
            f"m=audio 9 UDP/TLS/RTP/SAVPF {PAYLOAD_TYPE} 110\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n"
            f"{transport}a=sendrecv\r\na=rtcp-mux\r\na=rtpmap:{PAYLOAD_TYPE} opus/48000/2\r\n"
            f"a=rtpmap:110 telephone-event/48000\r\na=ssrc:{SSRC} cname:peer\r\n"
        )
        if self._has_channel:
            text += (
                "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n"
                f"a=mid:1\r\n{transport}a=sctp-port:5000\r\na=max-message-size:262144\r\n"
            )
        return text

    def check(self, *, password: str = "", nominate: bool = True) -> bytes:
        """A STUN check for the call, signed with the answer's password or another one."""
        name = f"{attribute(self.answer, 'ice-ufrag')}:{self.ice.ufrag}".encode()
        body = _attribute(_USERNAME, name) + _attribute(_PRIORITY, bytes(4))
        body += _attribute(_CONTROLLING, bytes(8))
        if nominate:
            body += _attribute(_USE_CANDIDATE, b"")
        head = b"\x21\x12\xa4\x42" + secrets.token_bytes(12)
        key = (password or attribute(self.answer, "ice-pwd")).encode()
        signed = struct.pack("!HH", 1, len(body) + 24) + head + body
        body += _attribute(_INTEGRITY, hmac.digest(key, signed, "sha1"))
        message = struct.pack("!HH", 1, len(body) + 8) + head + body
        return message + _attribute(_FINGERPRINT, struct.pack("!I", crc32(message) ^ 0x5354554E))

    async def connect(self, answer: str) -> None:
        """Check, shake hands, and ask for the association of channels if there is to be one."""
        self.answer = answer
        algorithm, value = attribute(answer, "fingerprint").split()
        self.link = SecureLink(self.identity, ((algorithm, value),), is_server=self._is_passive)
        self.send(self.check())
        await self.until(lambda: self.num_checks_answered > 0)
        self.link.start()
        self.flush()
        await self.until(lambda: self.link.state is not LinkState.HANDSHAKE)
        if self._has_channel and self.link.state is LinkState.OPEN:
            self.channel = EventChannel(
                is_server=self._is_passive,
                port=5000,
                max_sent_bytes=0,
                send=self._send_record,
                on_message=self.messages.append,
                on_failure=self._channel_failed,
            )
            self.channel.start()

    async def come_back(self, answer: str) -> None:
        """Check where an answer to another offer says; the link goes on."""
        self.answer = answer
        num_before = self.num_checks_answered
        self.send(self.check())
        await self.until(lambda: self.num_checks_answered > num_before)

    def say(self, sequence: int, payload: bytes) -> bytes:
        """Send an RTP packet; returns it as it was before encryption."""
        timestamp = sequence * _CLOCK_PER_PACKET
        packet = struct.pack("!BBHII", 0x80, PAYLOAD_TYPE, sequence, timestamp, SSRC) + payload
        self.send(self.link.protect(packet))
        return packet

    def send(self, datagram: bytes) -> None:
        """Send a datagram to where the answer says."""
        host, port = attribute(self.answer, "candidate").split()[4:6]
        self.sock.sendto(datagram, (host, int(port)))

    def flush(self) -> None:
        """Send what the link has to send."""
        for datagram in self.link.to_send():
            self.send(datagram)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Take in what comes, until something is so."""
        while not is_so():
            await self.next()

    async def next(self) -> None:
        """Take in the next datagram."""
        self.take(await self._loop.sock_recv(self.sock, 4096))

    def move(self) -> None:
        """Go on from another port, as behind a NAT that has forgotten."""
        self.sock.close()
        self.sock = self._open_socket()

    def close(self) -> None:
        """Be gone, with no goodbye of the link's."""
        if self.channel is not None:
            self.channel.close()
        self.sock.close()

    def take(self, datagram: bytes) -> None:
        """Take in a datagram that has come."""
        kind = datagram[0]
        request = stun.read_request(datagram) if kind < 4 else None
        if request is not None:  # of a gateway that checks on its side too
            self._answer_check(request)
        elif kind < 4:
            self.num_checks_answered += 1
        elif kind >= 128 and 192 <= datagram[1] < 224:
            self.reports.append(self.link.unprotect_rtcp(datagram) or b"")
        elif kind >= 128:
            self.packets.append(self.link.unprotect(datagram) or b"")
        else:
            data = self.link.receive(datagram)
            self.flush()
            for packet in data:
                if self.channel is not None:
                    self.channel.receive(packet)

    def _answer_check(self, request: stun.BindingRequest) -> None:
        host, port = attribute(self.answer, "candidate").split()[4:6]
        self.send(stun.success(request, (host, int(port)), self.ice.pwd.encode()))

    def _channel_failed(self, failure: str) -> None:
        raise RuntimeError(f"the gateway broke the event channel: {failure}")

    def _send_record(self, data: bytes) -> None:
        self.link.send(data)
        self.flush()

    def _open_socket(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((self._host, 0))
        return sock


def attribute(sdp: str, name: str) -> str:
    """The first value of an attribute of a session description."""
    return sdp.split(f"\r\na={name}:", 1)[1].split("\r\n", 1)[0]


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)
