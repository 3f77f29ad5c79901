"""A session written down so that another site can go on with it, and who may believe that.

All sites of a grid have one secret, the grid key. What is signed with it may travel through any
of them, and no client can make it up. Signatures are HMAC-SHA256 (RFC 2104) with a word for each
purpose in front, so that none can stand for another.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

# msgspec resolves field types when a codec is built, so these exist at run time.
from gateway.core.dialogue import DialogueState
from gateway.core.errors import InvalidRequest
from gateway.core.hops import SiteName
from gateway.core.session_errors import SessionNotFound
from gateway.core.turn_terms import TurnTerms

MAX_CONTENT_BYTES: Final = 256 << 10
"""A conversation of 60,000 tokens. A longer one ends with its site."""
_TOKEN_PREFIX: Final = "fhs_"
_MAC_BYTES: Final = 32
_COUNT: Final = Meta(ge=0, le=(1 << 53) - 1)

CANCELLED: Final = "cancelled"
"""How a leg ended that the client wanted no more of."""

SessionId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]


class SessionSnapshot(msgspec.Struct, frozen=True, array_like=True, tag="turns"):
    """All that a site must know to go on with a session of turns.

    What waits for a confirmation is a question in the dialogue and a held call in the account.
    """

    session: SessionId
    tenant: str
    terms: TurnTerms
    dialogue: DialogueState
    num_turns: int = 0
    turn_id: str = ""
    """The last turn."""
    finish: str = ""
    """How its last leg ended, a `TurnFinish` or `CANCELLED`; empty: it failed, or is open."""
    seed: int = 0
    """An open leg is drawn with it."""
    latency_budget_s: float | None = None
    """The open leg's; None: the session's."""


class RealtimeSnapshot(msgspec.Struct, frozen=True, array_like=True, tag="realtime"):
    """A Realtime session, whose items and settings are that protocol's and not read here."""

    session: SessionId
    tenant: str
    content: bytes


Snapshot: TypeAlias = SessionSnapshot | RealtimeSnapshot


class Version(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Which of two snapshots of a session holds: the greater one."""

    epoch: Annotated[int, _COUNT]
    """Grows each time the session changes sites; 1 at the first."""
    owner: SiteName
    """Where the session runs; only tells apart sites that took it over at the same time."""
    seq: Annotated[int, _COUNT]
    """Grows with each snapshot of that owner."""


class SealedSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot as it travels. Empty `content`: the session has become too long to be kept."""

    session: SessionId
    version: Version
    content: Annotated[bytes, Meta(max_length=MAX_CONTENT_BYTES)]
    signature: Annotated[bytes, Meta(max_length=_MAC_BYTES)]

    @property
    def is_too_long(self) -> bool:
        """Whether there is nothing to go on from, and nothing older is to be gone on from."""
        return not self.content


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Snapshot] = msgspec.msgpack.Decoder(Snapshot)


class GridKey:
    """Signs and checks for one grid."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def token(self, session: str) -> str:
        """What a client shows to go on with the session."""
        return f"{_TOKEN_PREFIX}{session}{self._mac(b'token', session.encode()).hex()}"

    def session_of(self, token: str) -> str:
        """The session of a token. Raises SessionNotFound for what no site of this grid gave out."""
        session = token.removeprefix(_TOKEN_PREFIX)[:32]
        if not hmac.compare_digest(self.token(session).encode(), token.encode()):
            raise SessionNotFound
        return session

    def named_session(self, *parts: bytes) -> str:
        """The session that whoever says the same again means; only this grid can tell which."""
        return self._mac(b"named", _encoder.encode(parts)).hex()[:32]

    def seal(self, snapshot: Snapshot, version: Version) -> SealedSnapshot:
        """Sign a snapshot, without its content if that is over the limit."""
        content = _encoder.encode(snapshot)
        if len(content) > MAX_CONTENT_BYTES:
            content = b""
        parts = (snapshot.session, version, content)
        return SealedSnapshot(*parts, self._mac(b"snapshot", _encoder.encode(parts)))

    def is_valid(self, sealed: SealedSnapshot) -> bool:
        """Whether a site of this grid sealed it."""
        parts = (sealed.session, sealed.version, sealed.content)
        mac = self._mac(b"snapshot", _encoder.encode(parts))
        return hmac.compare_digest(mac, sealed.signature)

    def open(self, sealed: SealedSnapshot) -> Snapshot:
        """What is in a valid one. Raises SessionNotFound when it is too long or unreadable."""
        try:
            snapshot: Snapshot = _decoder.decode(sealed.content)
        except (msgspec.DecodeError, InvalidRequest):
            raise SessionNotFound from None
        return snapshot

    def _mac(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.digest(self._secret, purpose + b"\0" + data, hashlib.sha256)
