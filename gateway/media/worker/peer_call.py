"""One call's transport: its addresses, its DTLS link and its event channel, from offer to end.

    SETTING_UP ──handshake done──▶ UP ◀──something genuine comes── LOST
        │ nothing after `setup_s`   │ ──nothing for `lost_s`──────▶ │ for `grace_s`
        └───────────────────────────┴──────────▶ CLOSED ◀───────────┘

A new offer of the same client with another ICE name restarts ICE in any state but the last: the
link, its keys and the channel go on, wherever the client is now.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from gateway.core.call_errors import InvalidOffer
from gateway.media.worker import stun
from gateway.media.worker.data_channel import EventChannel
from gateway.media.worker.ice import CallAddresses, Credentials, Terms, Verdict
from gateway.media.worker.sdp_answer import Place, agree, compose_answer, compose_fragment
from gateway.media.worker.sdp_offer import Offer, read_fragment, read_offer
from gateway.media.worker.secure import Identity, LinkState, SecureLink

if TYPE_CHECKING:
    from gateway.media.worker.ice import Address

_log = logging.getLogger(__name__)


class PeerEvents(Protocol):
    """What a call tells whoever has its sound. Called on the event loop, never after `closed`."""

    def rtp(self, packet: bytes, arrived_s: float) -> None:
        """An RTP packet of the client, decrypted; `arrived_s` is a monotonic instant."""
        ...

    def rtcp(self, packet: bytes) -> None:
        """A compound RTCP packet of the client, decrypted."""
        ...

    def message(self, text: str) -> None:
        """A message on the event channel."""
        ...

    def connected(self) -> None:
        """Sound can flow; said again when a lost client is back."""
        ...

    def lost(self) -> None:
        """Nothing comes from the client any more; it may come back."""
        ...

    def closed(self, reason: str) -> None:
        """The call is over, for good; `reason` is one line, empty where nothing went wrong."""
        ...


class _Nobody:
    """Has the sound of a call that is over."""

    def rtp(self, packet: bytes, arrived_s: float) -> None: ...
    def rtcp(self, packet: bytes) -> None: ...
    def message(self, text: str) -> None: ...
    def connected(self) -> None: ...
    def lost(self) -> None: ...
    def closed(self, reason: str) -> None: ...


class Outlet(Protocol):
    """What a call needs of the port it shares with others."""

    def send(self, datagram: bytes, address: Address) -> None:
        """Send a datagram, or drop it where the network takes none."""
        ...

    def route(self, call: PeerCall) -> None:
        """The call's ICE names or addresses have changed."""
        ...

    def forget(self, call: PeerCall) -> None:
        """The call is over."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call waits for its client."""

    setup_s: float = 20.0
    """From the answer to the end of the handshake."""
    lost_s: float = 7.0
    """Without anything from the client: clients that are silent check every 4 to 6 s (RFC 7675)."""
    grace_s: float = 30.0
    """From the loss to the end of the call."""


class CallState(Enum):
    """Where a call stands; see the top of this file."""

    SETTING_UP = auto()
    UP = auto()
    LOST = auto()
    CLOSED = auto()


class PeerCall:
    """A call that was accepted. Every instant passed in is monotonic, in seconds."""

    def __init__(
        self,
        offer: Offer,
        events: PeerEvents,
        outlet: Outlet,
        *,
        call_id: str,
        identity: Identity,
        advertised: tuple[str, int],
        patience: Patience,
        now_s: float,
    ) -> None:
        self.call_id = call_id
        self.audio = agree(offer)
        self.state = CallState.SETTING_UP
        self.num_taken = 0
        """Datagrams since the last sweep; the port counts them."""
        self._events = events
        self._outlet = outlet
        self._identity = identity
        self._advertised = advertised
        self._patience = patience
        self._fingerprints = offer.fingerprints
        self._audio_mid = offer.audio.mid
        self._is_server = not offer.is_client_passive
        self._session_id = secrets.randbits(62)
        self._version = 0
        self._since_s = now_s
        """When the call came into its state; what `setup_s` and `grace_s` count from."""
        self._heard_s = now_s
        self._retry: asyncio.TimerHandle | None = None
        self._link = SecureLink(identity, offer.fingerprints, is_server=self._is_server)
        self._addresses = CallAddresses(Terms(Credentials.fresh(), offer.ice_ufrag))
        self._channel: EventChannel | None = None
        self.answer_sdp = self._answer(offer)

    @property
    def names(self) -> tuple[str, ...]:
        """The ICE names under which checks for this call come."""
        terms = (self._addresses.current, self._addresses.previous)
        return tuple(t.ours.ufrag for t in terms if t is not None)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where the client has proved to be."""
        return tuple(self._addresses.checked_s)

    def send_rtp(self, packet: bytes) -> None:
        """Send an RTP packet; while there is no way to the client it goes nowhere."""
        address = self._addresses.nominated
        if address is not None and self._link.state is LinkState.OPEN:
            self._outlet.send(self._link.protect(packet), address)

    def send_rtcp(self, packet: bytes) -> None:
        """Send a compound RTCP packet; while there is no way to the client it goes nowhere."""
        address = self._addresses.nominated
        if address is not None and self._link.state is LinkState.OPEN:
            self._outlet.send(self._link.protect_rtcp(packet), address)

    def send_message(self, text: str) -> None:
        """Send a message on the event channel; an offer without one makes it go nowhere.

        It waits until the client has opened the channel. A client that does not read loses it.
        """
        if self._channel is not None and self.state is not CallState.CLOSED:
            self._channel.send(text)

    def restart(self, offer_sdp: str) -> str:
        """Take another offer of the same client, or a fragment of one (WHIP); returns the answer.

        Another ICE name in it restarts ICE. A fragment without one has no answer: "". Raises
        `InvalidOffer`, and the call goes on as it was, if it cannot be read, comes from another
        client or changes the codec.
        """
        if self.state is CallState.CLOSED:
            raise InvalidOffer("the call is over; place a new one")
        if not offer_sdp.startswith("v="):
            return self._take_fragment(offer_sdp)
        offer = read_offer(offer_sdp)
        if offer.fingerprints != self._fingerprints:
            raise InvalidOffer("another certificate is another call", param="a=fingerprint")
        if offer.is_client_passive == self._is_server:
            raise InvalidOffer("the DTLS roles of a call cannot change", param="a=setup")
        self.audio = agree(offer, self.audio)
        self._restart_ice(offer.ice_ufrag)
        self.answer_sdp = self._answer(offer)
        return self.answer_sdp

    def close(self, reason: str = "") -> None:
        """End the call and say goodbye. Nothing of it is left afterwards."""
        if self.state is CallState.CLOSED:
            return
        self.state = CallState.CLOSED
        self._disarm()
        if self._channel is not None:
            self._channel.close()
        self._link.close()
        self._flush()
        self._outlet.forget(self)
        # Who has the sound has the call too. Two that have each other wait for the collector, which
        # counts objects and not the 150 KiB of OpenSSL, libsrtp and libopus behind them.
        events, self._events, self._channel = self._events, _Nobody(), None
        events.closed(reason)

    def take_check(self, request: stun.BindingRequest, address: Address, now_s: float) -> Verdict:
        """Answer a check that names this call, if it is genuine."""
        terms = self._addresses.terms_of(request.username)
        if terms is None:
            return Verdict.FORGED
        verdict = self._addresses.judge(request, address, terms)
        password = terms.ours.pwd.encode()
        if verdict is Verdict.NOT_UNDERSTOOD:
            self._outlet.send(stun.unknown_attributes(request, password), address)
        elif verdict is Verdict.GENUINE:
            is_first = self._addresses.nominated is None
            self._addresses.admit(request, address, terms, now_s)
            self._outlet.route(self)
            self._outlet.send(stun.success(request, address[:2], password), address)
            if is_first and self._link.state is LinkState.HANDSHAKE:
                self._link.start()
                self._follow_link(now_s)
            self._hear(now_s)
        return verdict

    def take_dtls(self, datagram: bytes, now_s: float) -> None:
        """Take a DTLS datagram from one of the call's addresses."""
        data = self._link.receive(datagram)
        self._follow_link(now_s)
        if data:
            self._hear(now_s)
        for packet in data:
            if self._channel is not None and self.state is not CallState.CLOSED:
                self._channel.receive(packet)

    def take_rtp(self, datagram: bytes, now_s: float) -> bool:
        """Take an SRTP packet from one of the call's addresses; False if it is not the client's."""
        packet = self._link.unprotect(datagram)
        if packet is None:
            return False
        self._hear(now_s)
        if self.state is not CallState.CLOSED:
            self._events.rtp(packet, now_s)
        return True

    def take_rtcp(self, datagram: bytes, now_s: float) -> bool:
        """Take an SRTCP packet likewise."""
        packet = self._link.unprotect_rtcp(datagram)
        if packet is None:
            return False
        self._hear(now_s)
        if self.state is not CallState.CLOSED:
            self._events.rtcp(packet)
        return True

    def sweep(self, now_s: float) -> None:
        """Notice what has not happened: due about twice a second."""
        self.num_taken = 0
        num_addresses = len(self._addresses.checked_s)
        self._addresses.expire(now_s)
        if len(self._addresses.checked_s) != num_addresses:
            self._outlet.route(self)
        patience, in_state_s = self._patience, now_s - self._since_s
        if self.state is CallState.SETTING_UP and in_state_s > patience.setup_s:
            self.close(f"no connection came about within {patience.setup_s:g} s")
        elif self.state is CallState.LOST and in_state_s > patience.grace_s:
            self.close(f"the client was gone for {patience.grace_s:g} s")
        elif self.state is CallState.UP and (
            now_s - self._heard_s > patience.lost_s or not self._addresses.checked_s
        ):
            self._enter(CallState.LOST, now_s)
            self._events.lost()

    def _hear(self, now_s: float) -> None:
        self._heard_s = now_s
        if self.state is CallState.LOST and self._addresses.checked_s:
            self._enter(CallState.UP, now_s)
            self._events.connected()

    def _enter(self, state: CallState, now_s: float) -> None:
        self.state = state
        self._since_s = now_s

    def _answer(self, offer: Offer) -> str:
        if offer.data is not None and self._channel is None:
            self._channel = EventChannel(
                is_server=self._is_server,
                port=offer.sctp_port,
                max_sent_bytes=offer.max_message_bytes,
                send=self._send_record,
                on_message=self._events.message,
                on_failure=self._channel_failed,
            )
            if self._link.state is LinkState.OPEN:
                self._channel.start()
        return compose_answer(offer, self.audio, self._place())

    def _take_fragment(self, fragment: str) -> str:
        ufrag = read_fragment(fragment)
        if ufrag is None or not self._restart_ice(ufrag):
            return ""
        return compose_fragment(self._audio_mid, self._place())

    def _restart_ice(self, their_ufrag: str) -> bool:
        if their_ufrag == self._addresses.current.their_ufrag:
            return False
        self._addresses.restart(Terms(Credentials.fresh(), their_ufrag))
        self._outlet.route(self)
        return True

    def _place(self) -> Place:
        self._version += 1
        return Place(
            advertised=self._advertised,
            credentials=self._addresses.current.ours,
            fingerprint=self._identity.fingerprint,
            is_passive=self._is_server,
            session_id=self._session_id,
            version=self._version,
        )

    def _channel_failed(self, failure: str) -> None:
        _log.warning("call %s lost its event channel: %s", self.call_id, failure)

    def _send_record(self, data: bytes) -> None:
        self._link.send(data)
        self._flush()

    def _flush(self) -> None:
        address = self._addresses.nominated
        for datagram in self._link.to_send():
            if address is not None:
                self._outlet.send(datagram, address)

    def _follow_link(self, now_s: float) -> None:
        """Do what the link's state asks for after something went in."""
        self._settle()
        if self._link.state is LinkState.OPEN and self.state is CallState.SETTING_UP:
            self._enter(CallState.UP, now_s)
            if self._channel is not None:
                self._channel.start()
            self._events.connected()

    def _settle(self) -> None:
        """Send what the link has to send, end with it, or have it try again in time."""
        self._flush()
        self._disarm()
        if self._link.state is LinkState.CLOSED:
            self.close(self._link.failure)
        elif (timeout_s := self._link.timeout_s()) is not None:
            loop = asyncio.get_running_loop()
            self._retry = loop.call_later(timeout_s, self._try_again)

    def _try_again(self) -> None:
        self._link.try_again()
        self._settle()

    def _disarm(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
