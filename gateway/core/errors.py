"""The one error tree of the gateway.

    GatewayError
    ├── RequestError            the caller must change the request
    │   ├── InvalidRequest      a field is malformed, missing or out of range
    │   │   └── InvalidSchema   a JSON schema, regex or grammar cannot be used
    │   ├── UnknownModel        the named model is not served here
    │   ├── ContextLengthExceeded
    │   ├── UnsupportedTools    tools or instructions this model cannot follow
    │   ├── PayloadTooLarge
    │   ├── UnsupportedEncoding the body is compressed
    │   ├── UnsupportedMediaType  the body is declared as something else than what is taken
    │   ├── RegionNotAllowed    the request may not be answered there
    │   ├── RecordNotFound      no turn with that id is kept here
    │   └── SessionNotFound     no site of the grid has that session any more
    ├── AccessError             the caller may not do this
    │   ├── Unauthenticated
    │   ├── HostNotAllowed      a keyless site is asked in another's name
    │   ├── ClassNotAllowed
    │   └── RateLimited
    ├── CapacityError           the site cannot serve this now
    │   ├── SloUnattainable     shed: the best estimate misses the budget, or the budget ran out
    │   ├── SiteDraining
    │   ├── TurnCutOff          the site ended before the turn did
    │   └── DeadlineExceeded    the call's own deadline passed
    ├── SessionMoved            another site goes on with the session
    ├── TurnFailedBefore        the turn failed, and the session has changed sites since
    ├── ClientStalled           the client stopped reading its stream
    ├── EngineError             the model could not be run
    │   ├── EngineUnavailable
    │   ├── EngineFault
    │   └── UpstreamError       a server that answers for this site: it answers nonsense
    │       ├── UpstreamUnavailable   it is not there, or broke off
    │       ├── UpstreamBusy          it has no room
    │       ├── UpstreamTimeout       it says nothing
    │       └── UpstreamRefused       it does not take what this site sends: key, model, fields
    ├── SpeechError             (core.speech_errors) a speech engine did not do its work
    ├── OfferRefused            (core.call_errors) a call that was offered is not set up
    ├── PeerError               (core.peer_errors) a site did not do an offered turn; never served
    └── SetupError              an operator must change configuration, files or the machine
        ├── ConfigError
        └── PortInUse           (engine.bundle adds BundleError)

A class carries its numbers as attributes, its `code` for the wire and whether a retry can help.
`wire.status` maps codes to HTTP and gRPC; nothing else does.
"""

from __future__ import annotations

from typing import ClassVar, Final

MAX_MESSAGE_CHARS: Final = 600
"""gRPC sends a message percent-encoded, up to nine bytes a character, and clients accept 8 KiB of
trailing metadata by default."""
_MAX_QUOTED_CHARS: Final = 100


class GatewayError(Exception):
    """Any failure the gateway can name. `str(error)` is one line for the caller."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    @property
    def message(self) -> str:
        """The line for the caller, cut short where it quotes much of what the caller sent."""
        return _at_most(MAX_MESSAGE_CHARS, str(self))


def quoted(text: str) -> str:
    """What a caller sent, in quotes and no longer than a message should be."""
    return repr(_at_most(_MAX_QUOTED_CHARS, text))


def _at_most(num_chars: int, text: str) -> str:
    return text if len(text) <= num_chars else f"{text[: num_chars - 1]}…"


class RequestError(GatewayError):
    """The caller must change the request; repeating it as it is cannot help."""

    code = "invalid_request"


class InvalidRequest(RequestError):
    """A field is malformed, missing or out of range. `param` is its path in the request."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class InvalidSchema(InvalidRequest):
    """A JSON schema, regular expression or grammar that cannot constrain the output."""

    code = "invalid_schema"


class UnknownModel(RequestError):
    """The named model is not served here."""

    code = "model_not_found"

    def __init__(self, given: str, served: tuple[str, ...]) -> None:
        super().__init__(f"model {quoted(given)} is not served here; served: {', '.join(served)}")
        self.given = given
        self.served = served


class ContextLengthExceeded(RequestError):
    """The prompt leaves no room for an answer in the model's context."""

    code = "context_length_exceeded"

    def __init__(self, *, limit_tokens: int, given_tokens: int) -> None:
        super().__init__(
            f"the prompt has {given_tokens} tokens; this model's context holds {limit_tokens}, "
            "the answer included"
        )
        self.limit_tokens = limit_tokens
        self.given_tokens = given_tokens


class UnsupportedTools(RequestError):
    """Tools or instructions that the served model cannot follow."""

    code = "unsupported_tools"

    def __init__(self, message: str, *, param: str = "tools") -> None:
        super().__init__(message)
        self.param = param


class PayloadTooLarge(RequestError):
    """The request body is larger than the site accepts."""

    code = "payload_too_large"

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(f"the request body is larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class UnsupportedEncoding(RequestError):
    """The request body has a content coding, such as gzip; the site reads plain bodies only."""

    code = "unsupported_encoding"

    def __init__(self, given: str) -> None:
        super().__init__(f"content-encoding is {quoted(given)}; send the body as it is")
        self.given = given


class UnsupportedMediaType(RequestError):
    """The request body is declared as something else than what is taken."""

    code = "unsupported_media_type"

    def __init__(self, given: str, *, wanted: str = "application/json") -> None:
        super().__init__(f"send content-type: {wanted}, not {quoted(given)}")
        self.given = given


class RegionNotAllowed(RequestError):
    """The caller allows certain regions only, and who would answer stands in none of them."""

    code = "region_not_allowed"

    def __init__(self, region: str, allowed: tuple[str, ...], *, place: str = "this site") -> None:
        where = f"stands in {region!r}" if region else "does not say where it stands"
        super().__init__(
            f"this request may be answered in {', '.join(allowed)} only; {place} {where}"
        )
        self.region = region
        self.allowed = allowed


class SiteNotAllowed(RequestError):
    """The caller's key allows certain sites only, and who would answer is none of them."""

    code = "site_not_allowed"

    def __init__(self, site: str, allowed: tuple[str, ...]) -> None:
        super().__init__(
            f"turns of this key may be answered by {', '.join(allowed)} only, not by {site}"
        )
        self.site = site
        self.allowed = allowed


class RecordNotFound(RequestError):
    """No turn with this id is kept here (any more)."""

    code = "request_not_found"

    def __init__(self, request_id: str) -> None:
        super().__init__(f"no recent turn has the id {quoted(request_id)} at this site")
        self.request_id = request_id


class SiteNotKnown(RequestError):
    """No site of this name is known here."""

    code = "site_not_found"

    def __init__(self, site: str) -> None:
        super().__init__(f"no site {quoted(site)} is known here")
        self.site = site


class AccessError(GatewayError):
    """The caller may not do this."""

    code = "forbidden"


class Unauthenticated(AccessError):
    """No key, or one this site does not know."""

    code = "invalid_api_key"


class HostNotAllowed(AccessError):
    """A site without keys is asked under a name, or from a web page, that is not this machine's."""

    code = "host_not_allowed"

    def __init__(self, header: str, given: str) -> None:
        super().__init__(
            f"this site asks for no key and so answers this machine only, as localhost or "
            f"127.0.0.1; the {header} header says {quoted(given)}"
        )
        self.given = given


class ClassNotAllowed(AccessError):
    """The key does not grant the class the request asked for."""

    code = "class_not_allowed"

    def __init__(self, given: str, granted: tuple[str, ...]) -> None:
        super().__init__(f"this key may not use class {given!r}; granted: {', '.join(granted)}")
        self.given = given
        self.granted = granted


class RateLimited(AccessError):
    """The key's limit is used up; `retry_after_s` says when it is not."""

    code = "rate_limit_exceeded"
    retryable = True

    def __init__(self, *, limit: str, allowed: float, retry_after_s: float) -> None:
        super().__init__(
            f"this key's limit of {allowed:.10g} {limit} is used up; retry in {retry_after_s:.1f} s"
        )
        self.limit = limit
        self.allowed = allowed
        self.retry_after_s = retry_after_s


class CapacityError(GatewayError):
    """The site cannot serve this turn now."""

    code = "unavailable"
    retryable = True


class SloUnattainable(CapacityError):
    """The turn was shed: it would miss, or has missed, its first-token budget.

    `estimate_s` is the best predicted time to first token, `budget_s` the turn's whole budget
    (None: it has none, and was shed although it may wait) and `reason` one of the routing or
    admission reasons. `retry_after_s` is infinite where a retry here is useless; `alternates` are
    addresses of sites that may have room.
    """

    code = "slo_unattainable"

    def __init__(
        self,
        *,
        estimate_s: float,
        budget_s: float | None,
        reason: str,
        retry_after_s: float,
        alternates: tuple[str, ...] = (),
    ) -> None:
        estimate = f"the best estimate to the first token is {estimate_s * 1e3:.0f} ms"
        if budget_s is None:
            what = f"the turn has no budget, but no more may wait at this site; {estimate}"
        else:
            budget = f"{round(budget_s * 1e3, 3):.10g} ms"
            what = f"{estimate}, the budget {budget}"
            if reason == "budget_spent":
                what = f"the budget of {budget} was over before the turn had a place"
        super().__init__(f"shed ({reason}): {what}")
        self.estimate_s = estimate_s
        self.budget_s = budget_s
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.alternates = alternates


class TooManyReaders(CapacityError):
    """All places of those who follow the grid's events are taken."""

    code = "too_many_readers"

    def __init__(self, *, max_num_readers: int) -> None:
        super().__init__(f"{max_num_readers} consoles are open already; close one")
        self.max_num_readers = max_num_readers


class SiteDraining(CapacityError):
    """The site finishes what it has and takes nothing new; `alternates` are other addresses."""

    code = "site_draining"

    def __init__(self, alternates: tuple[str, ...] = ()) -> None:
        super().__init__("this site is draining and takes no new turns; use another site")
        self.alternates = alternates


class TurnCutOff(CapacityError):
    """The site ends and does not wait for the turn any more; `alternates` are other addresses."""

    code = "turn_cut_off"

    def __init__(self, alternates: tuple[str, ...] = ()) -> None:
        super().__init__("this site ends and has cut the turn off; use another site")
        self.alternates = alternates


class DeadlineExceeded(CapacityError):
    """The call's own deadline passed before the turn ended."""

    code = "deadline_exceeded"
    retryable = False

    def __init__(self) -> None:
        super().__init__("the deadline of the call passed before the turn ended")


class ClientStalled(GatewayError):
    """The client stopped reading, so its stream was ended."""

    code = "client_stalled"

    def __init__(self, *, stalled_s: float) -> None:
        super().__init__(
            f"the client kept the site waiting for {stalled_s:g} s; its call was ended"
        )
        self.stalled_s = stalled_s


class EngineError(GatewayError):
    """The model could not be run."""

    code = "engine_error"


class EngineUnavailable(EngineError):
    """The engine process is not there, and did not come back in time."""

    code = "engine_unavailable"
    retryable = True


class EngineFault(EngineError):
    """The engine refused or failed this one request; others go on."""


class UpstreamError(EngineError):
    """The server that answers for this site says what no such server may say."""

    code = "upstream_error"


class UpstreamUnavailable(UpstreamError):
    """The server cannot be reached, failed, or broke its answer off."""

    code = "upstream_unavailable"
    retryable = True


class UpstreamBusy(UpstreamError):
    """The server has no room now; `retry_after_s` is its own figure, or a guess."""

    code = "upstream_busy"
    retryable = True

    def __init__(self, server: str, *, retry_after_s: float) -> None:
        super().__init__(f"{server} has no room now; retry in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


class UpstreamTimeout(UpstreamError):
    """The server kept the connection and said nothing, or did not come to an end."""

    code = "upstream_timeout"
    retryable = True


class UpstreamRefused(UpstreamError):
    """The server does not serve this site: its key, its model or a field it does not know."""

    code = "upstream_refused"


class SetupError(GatewayError):
    """An operator must change configuration, files or the machine. Printed, never served."""

    code = "setup_error"


class ConfigError(SetupError):
    """The configuration is not usable; the message names file, line and key."""

    code = "bad_config"


class PortInUse(SetupError):
    """Another process listens on an address this site needs."""

    code = "port_in_use"

    def __init__(self, address: str) -> None:
        super().__init__(f"{address} is in use by another process; stop it or set another port")
        self.address = address
