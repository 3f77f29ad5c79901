"""Ephemeral keys: what a back end gives to a browser in place of its own.

A key stands for the one that made it, and for the session it was made with. It is kept in memory
only, and any number of sessions may begin with it until it expires.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.edge.realtime.caller import Caller

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX: Final = "ek_"
_MAX_KEPT: Final = 16_384
"""Beyond that the oldest goes first."""


class ClientSecret(msgspec.Struct, frozen=True):
    """What an ephemeral key stands for."""

    caller: Caller
    session: dict[str, Any]
    expires_s: float
    """Monotonic."""


class ClientSecrets:
    """The keys of one site."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._kept: OrderedDict[str, ClientSecret] = OrderedDict()

    def make(self, caller: Caller, session: dict[str, Any], *, lifetime_s: float) -> str:
        """A new key."""
        while len(self._kept) >= _MAX_KEPT:
            self._kept.popitem(last=False)
        key = PREFIX + secrets.token_hex(24)
        self._kept[key] = ClientSecret(caller, session, self._monotonic() + lifetime_s)
        return key

    def find(self, key: str) -> ClientSecret | None:
        """What the key stands for; None where it is unknown or has expired."""
        secret = self._kept.get(key)
        if secret is not None and secret.expires_s <= self._monotonic():
            del self._kept[key]
            return None
        return secret
