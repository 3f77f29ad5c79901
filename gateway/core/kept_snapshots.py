"""The snapshots of other sites' sessions that a site keeps, so many and so large a peer."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from gateway.core.session_snapshot import SealedSnapshot

MAX_NUM_KEPT: Final = 4096
MAX_KEPT_BYTES: Final = 64 << 20
"""Of one peer."""
LIFETIME_S: Final = 900.0
"""For so long after it came a snapshot is kept, by the clock of whoever keeps it."""
_ENTRY_BYTES: Final = 512
"""What one takes besides its content."""


class _Kept(NamedTuple):
    sealed: SealedSnapshot
    until_s: float


class KeptSnapshots:
    """The newest snapshot of each session. When a peer has too many, its oldest are dropped.

    All times are of the keeper's monotonic clock: those of two sites need not agree. Signatures
    are the caller's to check.
    """

    def __init__(
        self,
        *,
        max_num: int = MAX_NUM_KEPT,
        max_bytes: int = MAX_KEPT_BYTES,
        lifetime_s: float = LIFETIME_S,
    ) -> None:
        self._max_num = max_num
        self._max_bytes = max_bytes
        self._lifetime_s = lifetime_s
        self._by_peer: dict[str, OrderedDict[str, _Kept]] = {}
        self._num_bytes: dict[str, int] = {}
        self._peer_of: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._peer_of)

    def keep(self, peer: str, sealed: SealedSnapshot, now_s: float) -> SealedSnapshot | None:
        """Keep it for `peer`, unless a newer one is here: then that one is returned."""
        self._drop_expired(now_s)
        known = self.get(sealed.session, now_s)
        if known is not None and known.version > sealed.version:
            return known
        self._drop(sealed.session)
        kept = _Kept(sealed, now_s + self._lifetime_s)
        self._by_peer.setdefault(peer, OrderedDict())[sealed.session] = kept
        self._num_bytes[peer] = self._num_bytes.get(peer, 0) + _size_bytes(sealed)
        self._peer_of[sealed.session] = peer
        self._make_room(peer)
        return None

    def get(self, session: str, now_s: float) -> SealedSnapshot | None:
        """The newest of a session, if one is here that has not expired."""
        peer = self._peer_of.get(session)
        if peer is None:
            return None
        sealed, until_s = self._by_peer[peer][session]
        return sealed if until_s > now_s else None

    def _make_room(self, peer: str) -> None:
        kept = self._by_peer[peer]
        while kept and (len(kept) > self._max_num or self._num_bytes[peer] > self._max_bytes):
            self._drop(next(iter(kept)))

    def _drop_expired(self, now_s: float) -> None:
        """From the oldest on, up to the first of each peer that has not expired."""
        for kept in list(self._by_peer.values()):
            while kept and (oldest := next(iter(kept.values()))).until_s <= now_s:
                self._drop(oldest.sealed.session)

    def _drop(self, session: str) -> None:
        peer = self._peer_of.pop(session, None)
        if peer is None:
            return
        kept = self._by_peer[peer]
        self._num_bytes[peer] -= _size_bytes(kept.pop(session).sealed)
        if not kept:
            del self._by_peer[peer], self._num_bytes[peer]


def _size_bytes(sealed: SealedSnapshot) -> int:
    return len(sealed.content) + _ENTRY_BYTES
