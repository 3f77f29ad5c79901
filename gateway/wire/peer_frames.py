"""The frames of a peer link, and how they lie in a `PeerFrame` message.

A frame is a MessagePack array whose first element names its kind; a message carries an array of
them. The caller of a link offers turns, the called site serves them. Every field has a limit here;
what limits depend on (a model's vocabulary, a link's turns) is checked by who receives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Generic, TypeVar

import msgspec
from google.protobuf.message import DecodeError
from msgspec import Meta

# msgspec resolves field types when a codec is built, so these exist at run time.
from gateway.core.errors import InvalidRequest
from gateway.core.generation import GenerationEnd, GenerationRequest, TokenFrame
from gateway.core.hops import (
    MAX_HOPS,
    MAX_NAME_CHARS,
    MAX_NUM_REGIONS,
    MAX_NUM_SITES,
    Hops,
    SiteName,
)
from gateway.core.load_report import MAX_NUM_MODELS, LoadReport, ModelKey
from gateway.core.service_report import ServiceReport
from gateway.core.session_snapshot import SealedSnapshot, SessionId
from gateway.core.stages import SiteStages
from gateway.wire.pb import peer_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

METHOD: Final = "/firsthop.v1.PeerService/Link"
PROTOCOL: Final = 3
"""Changes when a site could misread what one of the version before says."""
BEAT_INTERVAL_S: Final = 0.25
NUM_SILENT_BEATS: Final = 3
"""After so many without a word the other side counts as gone."""
WINDOW_TOKENS: Final = 256
"""Tokens of a turn that may be on their way unread."""
MAX_WINDOW_TOKENS: Final = 1 << 16
MAX_MESSAGE_BYTES: Final = 8 << 20
"""A prompt that fills the largest context the configuration allows."""
_MAX_BULK_BYTES: Final = 1 << 20
"""Of snapshots and requests in one message: more would hold up the tokens behind it."""
_TOKEN_BYTES, _FLOAT_BYTES = 5, 9
"""At most, in MessagePack."""

_DAY_MS: Final = 86_400_000.0
_Key = Annotated[int, Meta(ge=1, le=(1 << 53) - 1)]
_Tokens = Annotated[int, Meta(ge=1, le=MAX_WINDOW_TOKENS)]
_Path = Annotated[tuple[SiteName, ...], Meta(min_length=1, max_length=MAX_HOPS + 1)]
_Text = Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
_Frame = TypeVar("_Frame")


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """Both sides, first and once: who speaks."""

    protocol: int
    site: SiteName
    epoch: Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
    """Grows with each start of the site."""
    models: Annotated[tuple[ModelKey, ...], Meta(max_length=MAX_NUM_MODELS)]
    addresses: Annotated[tuple[_Text, ...], Meta(max_length=8)] = ()
    """Where clients reach the site, for those who look for an alternate."""
    region: _Text = ""
    """Where the site stands; empty: it does not say."""
    agents: _Text = ""
    """`host:port` of its agent port, likewise."""
    cost_ms: Annotated[float, Meta(ge=0.0, le=60_000.0)] = 0.0
    """What others would rather wait for than have it take a turn."""


class Beat(msgspec.Struct, frozen=True, array_like=True, tag="beat"):
    """The caller every `BEAT_INTERVAL_S`; the called site sends it back at once."""

    number: _Key


class Offer(msgspec.Struct, frozen=True, array_like=True, tag="offer"):
    """Caller: take this turn, under a key larger than all before on this link."""

    key: _Key
    request: GenerationRequest
    """Without a deadline, which means nothing on another clock."""
    remaining_ms: Annotated[float, Meta(ge=0.0, le=_DAY_MS)] | None
    """To the first token leaving the called site; None: the turn may wait."""
    hops: Hops
    model: ModelKey
    window_tokens: _Tokens
    traceparent: Annotated[str, Meta(max_length=64)] = ""
    is_last_resort: bool = False
    """The caller knows no place in which it fits for certain."""
    regions: Annotated[tuple[_Text, ...], Meta(max_length=MAX_NUM_REGIONS)] | None = None
    """Where it may be answered; None: anywhere."""
    sites: Annotated[tuple[SiteName, ...], Meta(max_length=MAX_NUM_SITES)] | None = None
    """By whom; None: by all."""


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag="cancel"):
    """Caller: nobody wants this any more. Unknown keys are ignored: the turn has just ended."""

    key: _Key


class Window(msgspec.Struct, frozen=True, array_like=True, tag="window"):
    """Caller: so many more tokens of the turn may come."""

    key: _Key
    tokens: _Tokens


class Accept(msgspec.Struct, frozen=True, array_like=True, tag="accept"):
    """Called site: the turn is admitted and booked; `path` leads to who generates."""

    key: _Key
    path: _Path


class Refuse(msgspec.Struct, frozen=True, array_like=True, tag="refuse"):
    """Called site: not here, or not any further here. The turn is over on this link."""

    key: _Key
    reason: _Text
    estimate_ms: Annotated[float, Meta(ge=0.0, le=_DAY_MS)] = 0.0
    stages: Annotated[tuple[SiteStages, ...], Meta(max_length=MAX_HOPS)] = ()
    """What it took until then."""


class Tokens(msgspec.Struct, frozen=True, array_like=True, tag="tokens"):
    """Called site: tokens of a turn. Sent only while its window has room for at least one."""

    key: _Key
    frame: TokenFrame


class End(msgspec.Struct, frozen=True, array_like=True, tag="end"):
    """Called site: the turn is over. `stages` says what it took at each site it went through."""

    key: _Key
    end: GenerationEnd
    stages: Annotated[tuple[SiteStages, ...], Meta(max_length=MAX_HOPS)] = ()


class Report(msgspec.Struct, frozen=True, array_like=True, tag="report"):
    """Called site, in every message that says more than tokens: its load at that moment."""

    load: LoadReport


class Service(msgspec.Struct, frozen=True, array_like=True, tag="service"):
    """Called site, about once a second: how it has served its own callers."""

    report: ServiceReport


class Drain(msgspec.Struct, frozen=True, array_like=True, tag="drain"):
    """Called site: it takes nothing new any more."""


class KeepSession(msgspec.Struct, frozen=True, array_like=True, tag="keep"):
    """Caller: keep this in case its owner, the caller, is lost, and end the session if it runs
    at the called site in an older version."""

    sealed: SealedSnapshot


class SessionTaken(msgspec.Struct, frozen=True, array_like=True, tag="taken"):
    """Called site: what it was to keep is older than this."""

    sealed: SealedSnapshot


class AskSession(msgspec.Struct, frozen=True, array_like=True, tag="ask"):
    """Caller: which is the newest snapshot of this session at the called site?"""

    key: _Key
    session: SessionId


class SessionFound(msgspec.Struct, frozen=True, array_like=True, tag="found"):
    """Called site: that one; None: it has none."""

    key: _Key
    sealed: SealedSnapshot | None


CallerFrame = Hello | Beat | Offer | Cancel | Window | KeepSession | AskSession
ServerFrame = (
    Hello
    | Beat
    | Accept
    | Refuse
    | Tokens
    | End
    | Report
    | Service
    | Drain
    | SessionTaken
    | SessionFound
)
_AnyFrame = CallerFrame | ServerFrame

_encoder = msgspec.msgpack.Encoder()


class FrameError(Exception):
    """The other side's bytes are no frames, or break a rule of the link."""


def encode(frames: Sequence[_AnyFrame]) -> bytes:
    """A message's bytes."""
    return peer_pb2.PeerFrame(frames=_encoder.encode(frames)).SerializeToString()


def messages(frames: Sequence[_AnyFrame]) -> Iterator[bytes]:
    """The frames in one message, or in several where they bring large snapshots or requests."""
    num_bytes = begin = 0
    for index, frame in enumerate(frames):
        bulk_bytes = _request_bytes(frame) if isinstance(frame, Offer) else snapshot_bytes(frame)
        num_bytes += bulk_bytes
        if index > begin and num_bytes > _MAX_BULK_BYTES:
            yield encode(frames[begin:index])
            begin, num_bytes = index, bulk_bytes
    yield encode(frames[begin:])


def _request_bytes(offer: Offer) -> int:
    """What the parts of an offer take that have no bound of their own, or a little more."""
    request = offer.request
    constraint = request.constraint
    num_tokens = len(request.prompt) + len(request.resume)
    text_bytes = 0 if constraint is None else len(constraint.text.encode())
    num_biases = len(request.sampling.logit_bias)
    return _TOKEN_BYTES * num_tokens + text_bytes + (_TOKEN_BYTES + _FLOAT_BYTES) * num_biases


def snapshot_bytes(frame: _AnyFrame) -> int:
    """How much of a frame is a session's snapshot."""
    match frame:
        case KeepSession(sealed) | SessionTaken(sealed) | SessionFound(_, sealed):
            return 0 if sealed is None else len(sealed.content)
        case _:
            return 0


class FrameReader(Generic[_Frame]):
    """Reads what one direction of a link says."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[list[_Frame]]) -> None:
        self._decoder = decoder

    def read(self, message: bytes) -> list[_Frame]:
        """The message's frames. Raises FrameError."""
        try:
            return self._decoder.decode(peer_pb2.PeerFrame.FromString(message).frames)
        except (DecodeError, msgspec.DecodeError, InvalidRequest) as error:
            raise FrameError(f"a frame cannot be read: {error}") from error


def caller_frames() -> FrameReader[CallerFrame]:
    """For what the caller of a link sends."""
    return FrameReader(msgspec.msgpack.Decoder(list[CallerFrame]))


def server_frames() -> FrameReader[ServerFrame]:
    """For what the called site sends."""
    return FrameReader(msgspec.msgpack.Decoder(list[ServerFrame]))
