"""One request over one protocol, and what became of it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from typing import Protocol as Interface

import grpc
import msgspec

from gateway.core.errors import SloUnattainable
from gateway.wire.pb import agent_pb2 as pb
from gateway.wire.pb.agent_pb2_grpc import AgentServiceStub
from loadtests.sse_client import SsePool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from loadtests.clients.plan import Ask, Outcome, Plan
    from loadtests.sse_client import Answer

_CLASSES = {
    "voice": pb.TURN_CLASS_VOICE,
    "agent": pb.TURN_CLASS_AGENT,
    "batch": pb.TURN_CLASS_BATCH,
}


class Fate(NamedTuple):
    """What became of a request; `first_s` on the monotonic clock."""

    outcome: Outcome
    first_s: float | None = None
    code: str = ""
    request_id: str = ""
    site: str = ""
    path: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Caller(Interface):
    """Sends requests of one plan."""

    async def open(self) -> None:
        """Connect to every target."""
        ...

    async def ask(self, ask: Ask) -> Fate:
        """Send one and wait for its end. Raises whatever goes wrong with the connection."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


def caller(plan: Plan) -> Caller:
    """For the plan's protocol."""
    return HttpCaller(plan) if plan.protocol == "http" else GrpcCaller(plan)


class HttpCaller:
    """OpenAI chat completions as server-sent events, over kept-alive connections."""

    def __init__(self, plan: Plan) -> None:
        addresses = [target.rpartition(":") for target in plan.targets]
        self._pools = [SsePool(host, int(port)) for host, _, port in addresses]
        self._num_connections = plan.num_connections

    async def open(self) -> None:
        """Connect to every target."""
        for pool in self._pools:
            await pool.open(self._num_connections)

    async def ask(self, ask: Ask) -> Fate:
        """One streamed chat completion."""
        return _fate_of_answer(await self._pools[ask.target].chat(_body(ask), _headers(ask)))

    async def close(self) -> None:
        """Hang up."""
        for pool in self._pools:
            pool.close()


def _body(ask: Ask) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": ask.said}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0,
    }
    return body if ask.max_tokens is None else body | {"max_tokens": ask.max_tokens}


def _headers(ask: Ask) -> dict[str, str]:
    headers: dict[str, str] = {"x-firsthop-class": ask.turn_class}
    if ask.budget_s is not None:
        headers["x-slo-ttft-ms"] = f"{ask.budget_s * 1e3:g}"
    return headers


class _HttpError(msgspec.Struct):
    code: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _LastWord(msgspec.Struct):
    """What counts of a refusal's body or a stream's last event."""

    error: _HttpError | None = None
    usage: _Usage | None = None


_last_words = msgspec.json.Decoder(_LastWord)


def _fate_of_answer(answer: Answer) -> Fate:
    headers = answer.headers or {}
    try:
        last = _last_words.decode(answer.last_event or answer.body)
    except msgspec.DecodeError:
        last = _LastWord(error=_HttpError("unreadable_answer"))
    usage = last.usage or _Usage()
    code = (last.error.code or "unnamed_error") if last.error is not None else ""
    if not code and answer.status != 200:
        code = f"http_{answer.status}"
    return Fate(
        _outcome(code),
        answer.first_content_s,
        code,
        headers.get("x-request-id", ""),
        headers.get("x-firsthop-site", ""),
        headers.get("x-firsthop-path", ""),
        usage.prompt_tokens,
        usage.completion_tokens,
    )


def _outcome(code: str) -> Outcome:
    if not code:
        return "ok"
    return "shed" if code == SloUnattainable.code else "failed"


class GrpcCaller:
    """AgentService.Generate, all requests to a target over one connection."""

    def __init__(self, plan: Plan) -> None:
        # Without its own pool, channels to the same address share one connection.
        options = (("grpc.use_local_subchannel_pool", 1),)
        self._channels = [
            grpc.aio.insecure_channel(target, options=options) for target in plan.targets
        ]
        self._stubs = [AgentServiceStub(channel) for channel in self._channels]
        self._time_limit_s = plan.time_limit_s

    async def open(self) -> None:
        """Connect to every target. Raises TimeoutError."""
        for channel in self._channels:
            async with asyncio.timeout(self._time_limit_s):
                await channel.channel_ready()

    async def ask(self, ask: Ask) -> Fate:
        """One streamed generation."""
        first_s: float | None = None
        summary: pb.TurnSummary | None = None
        call = self._stubs[ask.target].Generate(_request(ask))
        try:
            async for event in call:
                match event.WhichOneof("event"):
                    case "text_delta" | "tool_call_delta":
                        first_s = time.monotonic() if first_s is None else first_s
                    case "summary":
                        summary = event.summary
        except grpc.aio.AioRpcError as error:
            trailing = dict(cast("Iterable[tuple[str, str]]", error.trailing_metadata() or ()))
            code = trailing.get("firsthop-code") or f"grpc_{error.code().name.lower()}"
            return Fate(_outcome(code), first_s, code, trailing.get("x-request-id", ""))
        finally:
            call.cancel()
        if summary is None:
            return Fate("failed", first_s, "no_summary")
        return Fate(
            "ok",
            first_s,
            "",
            summary.request_id,
            summary.site,
            ",".join(summary.path),
            summary.usage.prompt_tokens,
            summary.usage.completion_tokens,
        )

    async def close(self) -> None:
        """Hang up."""
        for channel in self._channels:
            await channel.close(None)


def _request(ask: Ask) -> pb.GenerateRequest:
    return pb.GenerateRequest(
        messages=[pb.Message(role=pb.ROLE_USER, content=ask.said)],
        turn_class=_CLASSES[ask.turn_class],
        latency_budget_ms=None if ask.budget_s is None else ask.budget_s * 1e3,
        max_tokens=ask.max_tokens,
        sampling=pb.Sampling(temperature=0.0),
    )
