"""A lean WebRTC client of a port under test: every datagram it sends is the test's to choose."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

from aioice import stun
from aiortc import RTCDataChannel, RTCDataChannelParameters

from gateway.media.worker.data_channel import EventChannel
from gateway.media.worker.ice import Credentials
from gateway.media.worker.secure import Identity, LinkState, SecureLink

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gateway.media.worker.peer_call import PeerCall

MAX_WAIT_S = 20.0
_IDENTITY = Identity()


class Heard:
    """What a call told: `PeerEvents` that remembers, and can be waited on."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []
        self.reports: list[bytes] = []
        self.messages: list[str] = []
        self.states: list[str] = []
        self._news = asyncio.Event()

    def rtp(self, packet: bytes, arrived_s: float) -> None:
        self._note(self.packets, packet)

    def rtcp(self, packet: bytes) -> None:
        self._note(self.reports, packet)

    def message(self, text: str) -> None:
        self._note(self.messages, text)

    def connected(self) -> None:
        self._note(self.states, "connected")

    def lost(self) -> None:
        self._note(self.states, "lost")

    def closed(self, reason: str) -> None:
        self._note(self.states, f"closed: {reason}")

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._news.clear()
            await self._news.wait()

    def _note(self, where: list[object] | list[str] | list[bytes], what: object) -> None:
        where.append(what)  # type: ignore[arg-type]
        self._news.set()


class RawClient:
    """One client. `connect` does what a browser does; the rest does it step by step."""

    def __init__(
        self, *, has_channel: bool = False, is_passive: bool = False, host: str = "127.0.0.1"
    ) -> None:
        self.ice = Credentials.fresh()
        self.identity = _IDENTITY
        self.messages: list[str] = []
        self.packets: list[bytes] = []
        self.reports: list[bytes] = []
        self.answers: list[stun.Message] = []
        self.link: SecureLink
        self.channel: EventChannel | None = None
        self.has_channel = has_channel
        self.is_passive = is_passive
        self._host = host
        self._loop = asyncio.get_running_loop()
        self.sock = self._open_socket()

    def offer(self, *, codecs: str = "111", direction: str = "sendrecv", more: str = "") -> str:
        bundle = "0 1" if self.has_channel else "0"
        setup = "passive" if self.is_passive else "actpass"
        transport = (
            f"a=ice-ufrag:{self.ice.ufrag}\r\na=ice-pwd:{self.ice.pwd}\r\n"
            f"a=fingerprint:{self.identity.fingerprint}\r\na=setup:{setup}\r\n"
        )
        text = (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
            f"a=group:BUNDLE {bundle}\r\n"
            f"m=audio 9 UDP/TLS/RTP/SAVPF {codecs} 110\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\n"
            f"{transport}a={direction}\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"
            f"a=rtpmap:110 telephone-event/48000\r\na=ssrc:77 cname:raw\r\n{more}"
        )
        if self.has_channel:
            text += (
                "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n"
                f"a=mid:1\r\n{transport}a=sctp-port:5000\r\na=max-message-size:262144\r\n"
            )
        return text

    def check(self, call: PeerCall, *, password: str | None = None, nominate: bool = True) -> bytes:
        """A check for the call, as another implementation of STUN writes it."""
        ours = attribute(call.answer_sdp, "ice-ufrag")
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes["USERNAME"] = f"{ours}:{self.ice.ufrag}"
        message.attributes["PRIORITY"] = 1
        message.attributes["ICE-CONTROLLING"] = 1
        if nominate:
            message.attributes["USE-CANDIDATE"] = None
        key = password or attribute(call.answer_sdp, "ice-pwd")
        message.add_message_integrity(key.encode())
        return bytes(message)

    def send(self, datagram: bytes, call: PeerCall) -> None:
        """Send a datagram to where the answer says."""
        host, port = attribute(call.answer_sdp, "candidate").split()[4:6]
        self.sock.sendto(datagram, (host, int(port)))

    async def connect(self, call: PeerCall) -> None:
        """Check, shake hands, and open the channel if there is one."""
        self.begin_link()
        self.send(self.check(call), call)
        await self.until(lambda: bool(self.answers))
        self.link.start()
        self._flush(call)
        await self.until(lambda: self.link.state is not LinkState.HANDSHAKE, call)
        if self.has_channel and self.link.state is LinkState.OPEN:
            self._open_channel(call)

    def begin_link(self) -> None:
        """DTLS with whoever has the other certificate: the answer's fingerprint is not checked."""
        anybody = (("sha-256", ""),)
        self.link = SecureLink(self.identity, anybody, is_server=self.is_passive)
        self.link._is_the_offered_client = lambda: True  # type: ignore[method-assign]

    def say(
        self, call: PeerCall, sequence: int, payload: bytes = b"sound", ssrc: int = 77
    ) -> bytes:
        """Send an RTP packet of the audio; returns it as it was before encryption."""
        packet = struct.pack("!BBHII", 0x80, 111, sequence, sequence * 960, ssrc) + payload
        self.send(self.link.protect(packet), call)
        return packet

    def open_channel(self, label: str, *, ordered: bool = True) -> RTCDataChannel:
        """Open a data channel; what comes on it goes to `messages`."""
        assert self.channel is not None
        terms = RTCDataChannelParameters(label=label, ordered=ordered)
        channel = RTCDataChannel(self.channel._sctp, terms)
        channel.on("message", self.messages.append)
        return channel

    def move(self) -> None:
        """Go on from another port, as behind a NAT that has forgotten."""
        self.sock.close()
        self.sock = self._open_socket()

    async def until(self, is_so: Callable[[], bool], call: PeerCall | None = None) -> None:
        """Take in what comes, until something is so."""
        while not is_so():
            datagram, _ = await self._loop.sock_recvfrom(self.sock, 4096)
            self._take(datagram, call)

    def close(self) -> None:
        if self.channel is not None:
            self.channel.close()
        self.sock.close()

    def _take(self, datagram: bytes, call: PeerCall | None) -> None:
        kind = datagram[0]
        if kind < 4:
            self.answers.append(stun.parse_message(datagram))
        elif kind >= 128 and 192 <= datagram[1] < 224:
            self.reports.append(self.link.unprotect_rtcp(datagram) or b"")
        elif kind >= 128:
            self.packets.append(self.link.unprotect(datagram) or b"")
        elif call is not None:
            data = self.link.receive(datagram)
            self._flush(call)
            for packet in data:
                if self.channel is not None:
                    self.channel.receive(packet)

    def _open_channel(self, call: PeerCall) -> None:
        def send(data: bytes) -> None:
            self.link.send(data)
            self._flush(call)

        self.channel = EventChannel(
            is_server=self.is_passive,
            port=5000,
            max_sent_bytes=0,
            send=send,
            on_message=self.messages.append,
        )
        self.channel.start()

    def _flush(self, call: PeerCall) -> None:
        for datagram in self.link.to_send():
            self.send(datagram, call)

    def _open_socket(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((self._host, 0))
        return sock


def attribute(sdp: str, name: str) -> str:
    """The first value of an attribute."""
    return sdp.split(f"\r\na={name}:", 1)[1].split("\r\n", 1)[0]


def run(main: Coroutine[object, object, None]) -> None:
    """Run a test's scenario, which must come to its end."""

    async def bounded() -> None:
        async with asyncio.timeout(MAX_WAIT_S):
            await main

    asyncio.run(bounded())
