"""A WebRTC caller as lean as one can be: checks, handshake, then packets that are ready.

The site's own DTLS and SRTP are used from the other side; what is measured is the site's.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

from aioice import stun

from gateway.media.worker.ice import Credentials
from gateway.media.worker.secure import Identity, LinkState, SecureLink
from loadtests.kernel_time import receive, stamp_arrivals

if TYPE_CHECKING:
    from collections.abc import Callable

PAYLOAD_TYPE: Final = 111
_CHECK_EVERY_S = 5.0
_MAX_READS = 64
_RTCP_TYPES = range(192, 224)


class WebRtcCaller:
    """One call. `take` gets its RTP packets, decrypted, with the kernel's instant of arrival.

    Instants of arrival are CLOCK_REALTIME, in ns.
    """

    def __init__(self, identity: Identity, take: Callable[[bytes, int], None]) -> None:
        self._identity = identity
        self._take = take
        self._ours = Credentials.fresh()
        self._theirs: Credentials
        self._link: SecureLink
        self._opened = asyncio.Event()
        self._checking: asyncio.TimerHandle | None = None
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setblocking(False)
        self._sock.bind(("127.0.0.1", 0))
        stamp_arrivals(self._sock)

    @property
    def offer(self) -> str:
        """What is offered: Opus both ways."""
        return "\r\n".join(
            (
                "v=0",
                "o=- 1 1 IN IP4 127.0.0.1",
                "s=-",
                "t=0 0",
                "a=group:BUNDLE 0",
                f"m=audio 9 UDP/TLS/RTP/SAVPF {PAYLOAD_TYPE}",
                "c=IN IP4 0.0.0.0",
                "a=mid:0",
                f"a=ice-ufrag:{self._ours.ufrag}",
                f"a=ice-pwd:{self._ours.pwd}",
                f"a=fingerprint:{self._identity.fingerprint}",
                "a=setup:active",
                "a=sendrecv",
                "a=rtcp-mux",
                f"a=rtpmap:{PAYLOAD_TYPE} opus/48000/2",
                "",
            )
        )

    async def connect(self, answer: str) -> None:
        """Connect to where the answer says; returns when packets can flow."""
        host, port = _attribute(answer, "candidate").split()[4:6]
        self._sock.connect((host, int(port)))
        self._theirs = Credentials(_attribute(answer, "ice-ufrag"), _attribute(answer, "ice-pwd"))
        name, digest = _attribute(answer, "fingerprint").split()
        self._link = SecureLink(self._identity, ((name.lower(), digest),), is_server=False)
        asyncio.get_running_loop().add_reader(self._sock, self._read)
        self._check()
        await self._opened.wait()

    def send(self, packet: bytes) -> None:
        """Send an RTP packet."""
        self._sock.send(self._link.protect(packet))

    def close(self) -> None:
        """Leave; the site notices."""
        if self._checking is not None:
            self._checking.cancel()
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()

    def _check(self) -> None:
        """Ask for consent, as often as a browser does."""
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        request.attributes["USERNAME"] = f"{self._theirs.ufrag}:{self._ours.ufrag}"
        request.attributes["PRIORITY"] = 1
        request.attributes["ICE-CONTROLLING"] = 1
        request.attributes["USE-CANDIDATE"] = None
        request.add_message_integrity(self._theirs.pwd.encode())
        self._sock.send(bytes(request))
        self._checking = asyncio.get_running_loop().call_later(_CHECK_EVERY_S, self._check)

    def _read(self) -> None:
        for _ in range(_MAX_READS):
            try:
                datagram, at_ns, _ = receive(self._sock)
            except BlockingIOError:
                return
            first = datagram[0]
            if first < 4:
                if not self._opened.is_set():
                    self._link.start()
            elif first < 64:
                self._link.receive(datagram)
            elif datagram[1] not in _RTCP_TYPES:
                packet = self._link.unprotect(datagram)
                if packet is not None:
                    self._take(packet, at_ns)
                continue
            for record in self._link.to_send():
                self._sock.send(record)
            if self._link.state is LinkState.OPEN:
                self._opened.set()


def _attribute(sdp: str, name: str) -> str:
    return sdp.split(f"\r\na={name}:", 1)[1].split("\r\n", 1)[0]
