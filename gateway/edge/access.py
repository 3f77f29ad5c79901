"""The site's gatekeeper: keys, the classes they grant and the limits they carry.

Without a keys file everyone is the local tenant; configuration sees to it that such a site
listens on loopback only.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from gateway.config.keys_file import KeyEntry, read_keys, split_key
from gateway.core.errors import ClassNotAllowed, RateLimited, Unauthenticated
from gateway.core.limits import LimitMeter
from gateway.core.turn import Principal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.core.budget import TurnClass
    from gateway.edge.desk import Gatekeeper, Lease

_log = logging.getLogger(__name__)

_NO_KEY = "this site needs a key: send `Authorization: Bearer fh_…` (made by `firsthop key create`)"
_WRONG_KEY = "this site does not know this key"


class OpenGatekeeper:
    """Lets everyone in as the local tenant, without limits."""

    def authenticate(self, authorization: str | None) -> Principal:
        """The local tenant; a key that clients insist on sending is not looked at."""
        return Principal()

    def admit(self, principal: Principal, turn_class: TurnClass) -> Lease:
        """Always."""
        return _FreeLease()

    def reload(self) -> None:
        """There is nothing to read again."""


class KeyGatekeeper:
    """Lets in whoever has a key of the keys file, for its classes and within its limits."""

    def __init__(self, keys_file: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigError when the keys file cannot be used."""
        self._path = keys_file
        self._monotonic = monotonic
        self._keys: dict[str, KeyEntry] = {}
        self._meters: dict[str, LimitMeter] = {}
        self.reload()

    def reload(self) -> None:
        """Read the keys file again; what keys have used stays counted.

        Raises ConfigError when the file cannot be used; the keys read before then stay in force.
        """
        self._keys = read_keys(self._path)
        if not self._keys:
            _log.warning("%s holds no key: nobody is let in", self._path)
        now_s = self._monotonic()
        for key_id, entry in self._keys.items():
            if key_id in self._meters:
                self._meters[key_id].change(entry.limits, now_s)
            else:
                self._meters[key_id] = LimitMeter(entry.limits, now_s)
        for revoked in self._meters.keys() - self._keys.keys():
            del self._meters[revoked]

    def authenticate(self, authorization: str | None) -> Principal:
        """Whose key this is. Raises Unauthenticated."""
        scheme, _, key = (authorization or "").strip().partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Unauthenticated(_NO_KEY)
        parts = split_key(key.strip())
        entry = self._keys.get(parts[0]) if parts else None
        if parts is None or entry is None or not entry.matches(parts[1]):
            raise Unauthenticated(_WRONG_KEY)
        return Principal(entry.tenant, parts[0], entry.max_concurrent, entry.sites)

    def admit(self, principal: Principal, turn_class: TurnClass) -> Lease:
        """Take a place. Raises ClassNotAllowed, RateLimited, or Unauthenticated once revoked."""
        entry = self._keys.get(principal.key_id)
        if entry is None:
            raise Unauthenticated(_WRONG_KEY)
        if turn_class not in entry.classes:
            raise ClassNotAllowed(turn_class.value, tuple(c.value for c in entry.classes))
        meter = self._meters[principal.key_id]
        refusal = meter.admit(self._monotonic())
        if refusal is not None:
            raise RateLimited(
                limit=refusal.limit,
                allowed=refusal.allowed,
                retry_after_s=refusal.retry_after_s,
            )
        return _KeyLease(meter, self._monotonic)


class _FreeLease:
    """A place without limits."""

    def charge_tokens(self, num_tokens: int) -> None:
        """Nothing is counted."""

    def release(self) -> None:
        """Nothing was taken."""


class _KeyLease:
    """A place on a key's meter, given back once."""

    def __init__(self, meter: LimitMeter, monotonic: Callable[[], float]) -> None:
        self._meter = meter
        self._monotonic = monotonic

    def charge_tokens(self, num_tokens: int) -> None:
        """Count tokens against the key."""
        self._meter.charge_tokens(num_tokens, self._monotonic())

    def release(self) -> None:
        """Give the place back."""
        self._meter.release()


if TYPE_CHECKING:
    _open: type[Gatekeeper] = OpenGatekeeper
    _keyed: type[Gatekeeper] = KeyGatekeeper
