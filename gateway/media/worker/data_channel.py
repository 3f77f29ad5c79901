"""The event channel of a call: SCTP over its DTLS link, held to limits (RFC 8831, RFC 8832).

aiortc has the protocol. It trusts who passed the handshake, so what it is given is looked at first
(`sctp_guard`) and what it keeps is counted afterwards.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

from aiortc import RTCDataChannel, RTCDataChannelParameters
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport

from gateway.media.worker.sctp_guard import is_acceptable
from gateway.media.worker.sdp_answer import MAX_MESSAGE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiortc import RTCDtlsTransport

MAX_UNREAD_BYTES: Final = 1 << 20
"""What may wait for a client that does not read, or has not opened its channel yet."""

_MAX_NUM_STREAMS: Final = 16
_WINDOW_BYTES: Final = MAX_MESSAGE_BYTES + (16 << 10)
"""What a client may have under way: the longest message, and a little so that it need not wait."""
_MAX_NUM_GAPS: Final = 300
"""Received chunks that wait for an earlier one. The window holds 240 full ones, and each more makes
every packet of the client dearer: 1 ms at 300."""
_FIRST_RETRY_S, _MIN_RETRY_S = 0.5, 0.4
"""Chromium's own (dcsctp); the lower must be above the 0.2 s that it may delay acknowledgements."""
_BROKEN: Final = (
    ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError,
    struct.error,
)  # fmt: skip
"""What aiortc raises on packets that break the protocol."""


class EventChannel:
    """The first ordered channel that the client opens; others are taken and not read.

    A client that breaks the protocol or the limits loses the channel, never the call: `on_failure`
    is told why. Nothing is said after `close`.
    """

    def __init__(
        self,
        *,
        is_server: bool,
        port: int,
        max_sent_bytes: int,
        send: Callable[[bytes], None],
        on_message: Callable[[str], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._port = port
        self._max_sent_bytes = max_sent_bytes
        self._on_message = on_message
        self._on_failure = on_failure
        self._channel: RTCDataChannel | None = None
        self._is_over = False
        self._received: deque[str] = deque()
        self._waiting: list[str] = []
        self._num_waiting_bytes = 0
        self._lower = _LowerLayer(send, is_server=is_server)
        self._sctp = _QuickSctp(cast("RTCDtlsTransport", self._lower), port)
        self._sctp._advertised_rwnd = _WINDOW_BYTES
        self._sctp.on("datachannel", self._opened)

    def start(self) -> None:
        """The link below is open: ask for the association."""
        caps = RTCSctpCapabilities(maxMessageSize=self._max_sent_bytes)
        _finish(self._sctp.start(caps, self._port))

    def open(self, label: str) -> None:
        """Open the channel oneself, as clients do."""
        channel = RTCDataChannel(self._sctp, RTCDataChannelParameters(label=label))
        channel.on("open", lambda: self._opened(channel))

    def receive(self, packet: bytes) -> None:
        """Take one SCTP packet in."""
        if self._is_over:
            return
        if not is_acceptable(packet):
            self._end("the client sent SCTP that is broken")
            return
        try:
            _finish(self._sctp._handle_data(packet))
        except _BROKEN as error:
            self._end(f"the client broke the SCTP protocol: {type(error).__name__}")
            return
        self._hold_to_limits()
        while self._received and not self._is_over:
            self._on_message(self._received.popleft())

    def send(self, text: str) -> None:
        """Send a message; it waits, within limits, until the client has opened its channel."""
        if self._is_over or self._sctp.state == "closed":
            return
        num_bytes = len(text.encode())
        if self._max_sent_bytes and num_bytes > self._max_sent_bytes:
            self._end(f"a message of {num_bytes} bytes is longer than the client takes")
        elif self._channel is not None and self._channel.readyState == "open":
            if self._channel.bufferedAmount + num_bytes > MAX_UNREAD_BYTES:
                self._end("the client does not read its events")
            else:
                self._channel.send(text)
        elif self._num_waiting_bytes + num_bytes > MAX_UNREAD_BYTES:
            self._end("the client has not opened its channel")
        else:
            self._num_waiting_bytes += num_bytes
            self._waiting.append(text)

    def close(self) -> None:
        """End the association; the client is told if the link is still open."""
        if not self._is_over:
            self._is_over = True
            self._waiting.clear()
            _finish(self._sctp.stop())
            self._lower.is_cut = True
            # aiortc's objects have each other; they shall not have the call as well.
            self._sctp.remove_all_listeners()
            if self._channel is not None:
                self._channel.remove_all_listeners()
                self._channel = None

    def _opened(self, channel: RTCDataChannel) -> None:
        if self._channel is not None or not channel.ordered:
            return
        self._channel = channel
        channel.on("message", self._heard)
        channel.on("close", self._closed)
        waiting, self._waiting, self._num_waiting_bytes = self._waiting, [], 0
        for text in waiting:
            channel.send(text)

    def _closed(self) -> None:
        """The client may open another one."""
        self._channel = None

    def _heard(self, message: str | bytes) -> None:
        # Handed on when the packet is done with, so that errors of who reads are not taken for
        # the client's.
        if isinstance(message, str):
            self._received.append(message)

    def _hold_to_limits(self) -> None:
        streams = self._sctp._inbound_streams
        if (
            len(streams) > _MAX_NUM_STREAMS
            or len(self._sctp._data_channels) > _MAX_NUM_STREAMS
            or len(self._sctp._sack_misordered) > _MAX_NUM_GAPS
        ):
            self._end("the client opens more streams, or leaves more gaps, than are kept")
            return
        for stream in streams.values():
            if sum(len(chunk.user_data) for chunk in stream.reassembly) > MAX_MESSAGE_BYTES:
                self._end(f"a message of the client is longer than {MAX_MESSAGE_BYTES} bytes")
                return

    def _end(self, failure: str) -> None:
        self.close()
        self._on_failure(failure)


class _QuickSctp(RTCSctpTransport):
    """SCTP that sends again as early as browsers do; aiortc waits 3 s at first, then at least 1."""

    def __init__(self, lower: RTCDtlsTransport, port: int) -> None:
        super().__init__(lower, port)
        self._rto = _FIRST_RETRY_S

    def _update_rto(self, R: float) -> None:
        super()._update_rto(R)
        if self._srtt is not None and self._rttvar is not None:
            self._rto = max(_MIN_RETRY_S, self._srtt + 4 * self._rttvar)


class _LowerLayer:
    """What SCTP needs of the link below it: aiortc's DTLS transport, seen from above."""

    state = "connected"

    def __init__(self, send: Callable[[bytes], None], *, is_server: bool) -> None:
        self.is_cut = False
        """What aiortc has left for the loop's next turn goes nowhere any more."""
        self._role = "server" if is_server else "client"
        self._send = send

    async def _send_data(self, data: bytes) -> None:
        if not self.is_cut:
            self._send(data)

    def _register_data_receiver(self, receiver: object) -> None:
        """The call hands packets over itself."""

    def _unregister_data_receiver(self, receiver: object) -> None:
        """As above."""


def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine of aiortc's SCTP to its end, at once.

    It waits for nothing but the layer below, and ours never lets it wait.
    """
    try:
        work.send(None)
    except StopIteration:
        return
    work.close()
    raise RuntimeError("SCTP waits for something that is not the link below it")
