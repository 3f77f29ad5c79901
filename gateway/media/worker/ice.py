"""Who may speak for a call: the addresses that proved to know its password (ICE-lite, RFC 8445).

A lite agent sends no checks of its own. It answers the client's, and an address is the call's
from its first genuine check until `CONSENT_S` after its last. What is sent goes to the address the
client has nominated last, so a client that moves, or whose NAT does, takes the call along with it.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from gateway.media.worker.stun import BindingRequest

Address: TypeAlias = tuple[Any, ...]
"""A socket address as the socket gives it: (host, port) or (host, port, flow, scope)."""

CONSENT_S: Final = 30.0
"""RFC 7675, section 5.1: without a check for so long nothing more is sent."""
_MAX_NUM_ADDRESSES: Final = 8
"""A client checks from each of its own addresses; those it has used last are kept."""
_NUM_TRANSACTIONS: Final = 128
"""Checks that are remembered, so that nobody claims a call with a copy of one: some five minutes
of a settled client's."""
_UFRAG_BYTES: Final = 12
"""16 characters. Long enough that no answer is longer than its request, also over IPv6."""
_PWD_BYTES: Final = 24


class Credentials(NamedTuple):
    """One side's name and password for checks."""

    ufrag: str
    pwd: str

    @classmethod
    def fresh(cls) -> Credentials:
        """Nobody can guess them: 96 and 192 random bits."""
        return cls(_ice_chars(_UFRAG_BYTES), _ice_chars(_PWD_BYTES))


class Verdict(Enum):
    """What a check that named the call turned out to be."""

    FORGED = auto()
    """Not signed with the call's password, or not from the client the offer names."""
    COPIED = auto()
    """Genuine once, and sent again from another address."""
    NOT_UNDERSTOOD = auto()
    """Genuine, but it asks for something that we do not know."""
    GENUINE = auto()


@dataclass(frozen=True, slots=True)
class Terms:
    """Our credentials and the client's name: what one offer and its answer agreed on."""

    ours: Credentials
    their_ufrag: str

    @property
    def username(self) -> str:
        """How the client's checks name the two."""
        return f"{self.ours.ufrag}:{self.their_ufrag}"


class CallAddresses:
    """The addresses of one call. Instants are monotonic seconds, passed in."""

    def __init__(self, terms: Terms) -> None:
        self.current = terms
        self.previous: Terms | None = None
        """Still good after a restart, until the client has made a check with the new ones."""
        self.nominated: Address | None = None
        """Where to send; None before the first check."""
        self.checked_s: OrderedDict[Address, float] = OrderedDict()
        """When each address last made a genuine check, the latest last."""
        self._transactions: OrderedDict[bytes, Address] = OrderedDict()

    def restart(self, terms: Terms) -> None:
        """New credentials; the old ones stay until the new are used."""
        self.previous, self.current = self.current, terms

    def terms_of(self, username: str) -> Terms | None:
        """The terms that a check's name belongs to."""
        if username == self.current.username:
            return self.current
        if self.previous is not None and username == self.previous.username:
            return self.previous
        return None

    def judge(self, request: BindingRequest, address: Address, terms: Terms) -> Verdict:
        """Whether the check is what it says; one that is not leaves no trace."""
        if not request.is_signed_with(terms.ours.pwd.encode()):
            return Verdict.FORGED
        if self._transactions.setdefault(request.transaction, address) != address:
            return Verdict.COPIED
        if len(self._transactions) > _NUM_TRANSACTIONS:
            self._transactions.popitem(last=False)
        return Verdict.NOT_UNDERSTOOD if request.unknown else Verdict.GENUINE

    def admit(self, request: BindingRequest, address: Address, terms: Terms, now_s: float) -> None:
        """Count a genuine check: its address is the call's, and a nomination moves the call."""
        if terms is self.current:
            self.previous = None
        self.checked_s[address] = now_s
        self.checked_s.move_to_end(address)
        is_newer = terms is self.current
        if (request.is_nominating and is_newer) or self.nominated is None:
            self.nominated = address
        if len(self.checked_s) > _MAX_NUM_ADDRESSES:
            self._forget_oldest()

    def expire(self, now_s: float) -> None:
        """Drop what has made no check for `CONSENT_S`; nothing is sent there any more."""
        while self.checked_s:
            address, checked_s = next(iter(self.checked_s.items()))
            if now_s - checked_s <= CONSENT_S:
                return
            del self.checked_s[address]
            if address == self.nominated:
                self.nominated = next(reversed(self.checked_s), None)

    def _forget_oldest(self) -> None:
        oldest = next(address for address in self.checked_s if address != self.nominated)
        del self.checked_s[oldest]


def _ice_chars(num_bytes: int) -> str:
    """Random base64, whose alphabet is that of ICE (RFC 8839, section 5.4) but for two."""
    return secrets.token_urlsafe(num_bytes).replace("-", "+").replace("_", "/")
