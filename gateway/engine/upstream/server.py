"""Another server that runs a model: asking it, and knowing how long that takes.

Everything it may do wrong becomes one typed error in this package. Its key goes into one header
and nowhere else: not into errors, logs or `repr`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.errors import (
    GatewayError,
    InvalidRequest,
    UpstreamBusy,
    UpstreamError,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnavailable,
    quoted,
)
from gateway.core.generation import SERVICE_ORDER, Backlog, EngineLoad
from gateway.core.upstream_pace import UpstreamPace
from gateway.engine.upstream.answer import UpstreamAnswer
from gateway.engine.upstream.chat_chunks import error_name
from gateway.engine.upstream.http_post import HttpPoster
from gateway.engine.upstream.places import Places
from gateway.engine.upstream.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.core.budget import TurnClass
    from gateway.engine.upstream.http_post import Answer
    from gateway.engine.upstream.target import UpstreamTarget

_log = logging.getLogger(__name__)

_MAX_ERROR_BYTES = 1 << 14
_DEFAULT_RETRY_S = 1.0
_EVENT_STREAM = b"text/event-stream"


class UpstreamServer:
    """One server: its places, its pace, its answers."""

    def __init__(
        self, target: UpstreamTarget, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.target = target
        self._monotonic = monotonic
        self._poster = HttpPoster(target.origin, target.server)
        self._places = Places(target.max_concurrent)
        self._pace = UpstreamPace()
        self._waiting: dict[Stopwatch, float] = {}
        """When those were sent that have no content yet."""

    @property
    def is_available(self) -> bool:
        """Whether it answered when it was last asked, or it is time to try again."""
        return self._pace.closed_for_s(self._monotonic()) == 0.0

    def close(self) -> None:
        """Close the connections that are kept."""
        self._poster.close()

    def estimate_s(self, turn_class: TurnClass) -> float:
        """Predicted seconds to the first content of a turn that comes now."""
        return self._pace.estimate_s(
            self._monotonic(),
            limit=self._places.limit,
            has_place=self.has_place,
            num_ahead=self._places.num_ahead(turn_class),
            sent_s=self._waiting.values(),
        )

    @property
    def has_place(self) -> bool:
        """Whether a turn would be sent at once."""
        return self._places.num_taken < self._places.limit

    def num_ahead(self, turn_class: TurnClass) -> int:
        """How many wait for a place that a turn of this class would not overtake."""
        return self._places.num_ahead(turn_class)

    def load(self) -> EngineLoad:
        """The same in the figures of an engine, as far as they can be seen from outside."""
        now_s, pace, places = self._monotonic(), self._pace, self._places
        voice, agent, batch = (Backlog(places.num_waiting(one)) for one in SERVICE_ORDER)
        return EngineLoad(
            as_of_s=now_s,
            num_slots=places.limit,
            num_active=places.num_taken,
            prefill_s_per_token=0.0,
            decode_step_s=pace.token_s,
            mean_remaining_tokens=pace.answer_tokens / 2,
            answer_tokens=pace.answer_tokens,
            backlog=(voice, agent, batch),
            available_in_s=pace.closed_for_s(now_s),
        )

    async def take_place(self, turn_class: TurnClass, until_s: float | None) -> bool:
        """Wait for one of the server's places, to be given back; False: none was free in time."""
        try:
            async with asyncio.timeout(None if until_s is None else until_s - self._monotonic()):
                await self._places.take(turn_class)
        except TimeoutError:
            return False
        return True

    def give_back_place(self) -> None:
        """The turn that held a place is over."""
        self._places.give_back()

    async def ask(self, body: bytes, headers: Mapping[str, str]) -> UpstreamAnswer:
        """Send a request and wait until the server begins to answer.

        Raises InvalidRequest for what the server finds wrong with the turn, UpstreamBusy,
        UpstreamTimeout, UpstreamUnavailable, UpstreamRefused, and UpstreamError for all that is no
        chat completion.
        """
        target = self.target
        self._check_open()
        stopwatch = Stopwatch(
            self._pace, self._waiting, limit_s=target.answer_limit_s, monotonic=self._monotonic
        )
        try:
            answer = await self._post(body, headers)
            if answer.status != 200 or _is_no_stream(answer):
                with closing(answer):
                    raise await self._refusal(answer, stopwatch)
        except (UpstreamUnavailable, UpstreamTimeout):
            stopwatch.failed()
            raise
        except BaseException:
            stopwatch.left()
            raise
        return UpstreamAnswer(answer, target, stopwatch)

    def _check_open(self) -> None:
        """A server that failed or asked for time is not asked before its time."""
        server, closed_for_s = self.target.server, self._pace.closed_for_s(self._monotonic())
        if closed_for_s > 0.0 and self._pace.is_failing:
            raise UpstreamUnavailable(f"{server} failed; it is tried again in {closed_for_s:.1f} s")
        if closed_for_s > 0.0:
            raise UpstreamBusy(server, retry_after_s=closed_for_s)

    async def _post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        target = self.target
        fields = {"content-type": "application/json", "accept": "text/event-stream", **headers}
        if target.api_key:
            fields["authorization"] = f"Bearer {target.api_key}"
        try:
            async with asyncio.timeout(target.silence_limit_s):
                return await self._poster.post("/chat/completions", fields, body)
        except TimeoutError as error:
            raise UpstreamTimeout(
                f"{target.server} sent nothing for {target.silence_limit_s:g} s"
            ) from error

    async def _refusal(self, answer: Answer, stopwatch: Stopwatch) -> GatewayError:
        """What an answer means that is no stream."""
        server, status = self.target.server, answer.status
        said = _Said.of(await self._error_body(answer), self.target.api_key)
        host = self.target.origin.host_field
        _log.warning("%s answered %d: %s", host, status, quoted(said.text))
        match status:
            case 200:
                return UpstreamError(f"{server} answers without an event stream")
            case 400 | 413 | 422:
                return InvalidRequest(f"{server} refused the request: {quoted(said.text)}")
            case 401 | 403:
                return UpstreamRefused(f"{server} does not accept this site's key ({status})")
            case 404:
                return UpstreamRefused(f"{server} does not know it, or has no API at that address")
            case 429 if said.name == "insufficient_quota":
                return UpstreamRefused(f"{server} serves this site's key no more: its quota is up")
            case 429 | 503 | 529:
                retry_after_s = _retry_after_s(answer)
                stopwatch.refused_for(retry_after_s)
                return UpstreamBusy(server, retry_after_s=retry_after_s)
            case 408 | 504:
                return UpstreamTimeout(f"{server} gave up on the request ({status})")
            case 502:
                return UpstreamUnavailable(
                    f"{server} stands before a server that is gone ({status})"
                )
            case _ if status >= 500:
                # Of this request: whoever sends what a server stumbles over shuts nobody else out.
                return UpstreamError(f"{server} failed on the request ({status})")
            case _:
                return UpstreamRefused(f"{server} answered {status}, which is no answer")

    async def _error_body(self, answer: Answer) -> bytes:
        """The beginning of a refusal's body, as far as it comes in time."""
        body = b""
        try:
            async with asyncio.timeout(_DEFAULT_RETRY_S):
                while len(body) < _MAX_ERROR_BYTES and (piece := await answer.read()):
                    body += piece
        except (TimeoutError, UpstreamError) as error:
            _log.warning("%s broke off in a refusal: %r", self.target.origin.host_field, error)
        return body[:_MAX_ERROR_BYTES]


class _Said(msgspec.Struct, frozen=True):
    """A refusal in the server's words."""

    text: str
    name: str

    @classmethod
    def of(cls, body: bytes, api_key: str) -> _Said:
        """From `{"error": {...}}`, `{"message": ...}`, or whatever else it is."""
        try:
            document: Any = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            document = None
        error = document.get("error", document) if isinstance(document, dict) else document
        told = error.get("message") if isinstance(error, dict) else error
        text = told if isinstance(told, str) and told else body.decode("utf-8", "replace")
        if api_key:
            text = text.replace(api_key, "********")
        return cls(text or "nothing", error_name(error))


def _is_no_stream(answer: Answer) -> bool:
    """Whether a body cannot be read as events."""
    encoding = answer.headers.get(b"content-encoding", b"identity").lower()
    content_type = answer.headers.get(b"content-type", b"").lower()
    return encoding != b"identity" or not content_type.startswith(_EVENT_STREAM)


def _retry_after_s(answer: Answer) -> float:
    """RFC 9110 section 10.2.3, in seconds only; a date counts as nothing said."""
    given = answer.headers.get(b"retry-after", b"").strip()
    return float(given) if given.isdigit() and len(given) < 7 else _DEFAULT_RETRY_S
