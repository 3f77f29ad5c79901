"""The agent API's protobuf messages to and from the gateway's own values.

The only place where its milliseconds become seconds and its JSON text is checked. A field that
cannot be used raises InvalidRequest with the field's path, as in `messages[2].role`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.errors import (
    GatewayError,
    InvalidRequest,
    RateLimited,
    SiteDraining,
    SloUnattainable,
    TurnCutOff,
    UpstreamBusy,
)
from gateway.core.generation import Constraint, ConstraintKind, Sampling
from gateway.core.turn import (
    LogprobEntry,
    Message,
    Role,
    ServerToolRun,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolChoice,
    ToolChoiceMode,
    ToolSpec,
    TurnFinish,
    Usage,
    check_calls_and_results,
    name_and_digest,
)
from gateway.core.turn_terms import TurnTerms
from gateway.wire.pb import agent_pb2 as pb
from gateway.wire.status import param_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.core.stages import TurnTrail
    from gateway.core.turn import ModelInfo

_T = TypeVar("_T")

_CLASSES: Final[Mapping[int, TurnClass]] = {
    pb.TURN_CLASS_UNSPECIFIED: TurnClass.AGENT,
    pb.TURN_CLASS_VOICE: TurnClass.VOICE,
    pb.TURN_CLASS_AGENT: TurnClass.AGENT,
    pb.TURN_CLASS_BATCH: TurnClass.BATCH,
}
_CLASS_NUMBERS: Final = {
    TurnClass.VOICE: pb.TURN_CLASS_VOICE,
    TurnClass.AGENT: pb.TURN_CLASS_AGENT,
    TurnClass.BATCH: pb.TURN_CLASS_BATCH,
}
_ROLES: Final[Mapping[int, Role]] = {
    pb.ROLE_SYSTEM: Role.SYSTEM,
    pb.ROLE_USER: Role.USER,
    pb.ROLE_ASSISTANT: Role.ASSISTANT,
    pb.ROLE_TOOL: Role.TOOL,
}
_CHOICES: Final[Mapping[int, ToolChoiceMode]] = {
    pb.ToolChoice.MODE_UNSPECIFIED: ToolChoiceMode.AUTO,
    pb.ToolChoice.MODE_AUTO: ToolChoiceMode.AUTO,
    pb.ToolChoice.MODE_NONE: ToolChoiceMode.NONE,
    pb.ToolChoice.MODE_REQUIRED: ToolChoiceMode.REQUIRED,
}
_FINISHES: Final = {
    TurnFinish.STOP: pb.FINISH_REASON_STOP,
    TurnFinish.LENGTH: pb.FINISH_REASON_LENGTH,
    TurnFinish.TOOL_CALLS: pb.FINISH_REASON_TOOL_CALLS,
}
_NO_ARGUMENTS: Final = {"type": "object", "properties": {}, "additionalProperties": False}

_any_json = msgspec.json.Decoder()
_json_object = msgspec.json.Decoder(dict[str, Any])


def terms_of(request: pb.GenerateRequest | pb.SessionStart) -> TurnTerms:
    """The terms of a call. Raises InvalidRequest, InvalidSchema."""
    return TurnTerms(
        model=request.model or "default",
        turn_class=_named(request.turn_class, _CLASSES, "turn_class"),
        latency_budget_s=latency_budget_s(request),
        tools=_tools(request.tools),
        tool_choice=ToolChoice(
            _named(request.tool_choice.mode, _CHOICES, "tool_choice.mode"),
            request.tool_choice.name,
        ),
        parallel_tool_calls=(
            not request.HasField("parallel_tool_calls") or request.parallel_tool_calls
        ),
        server_tools=request.server_tools,
        constraint=_constraint(request.response_format),
        sampling=_sampling(request.sampling),
        seeded=request.sampling.HasField("seed"),
        max_tokens=request.max_tokens if request.HasField("max_tokens") else None,
        stop=tuple(request.stop),
    )


def latency_budget_s(
    message: pb.GenerateRequest | pb.SessionStart | pb.UserMessage | pb.ToolResult,
) -> float | None:
    """The budget a message asks for; its range is the desk's to check."""
    return message.latency_budget_ms / 1e3 if message.HasField("latency_budget_ms") else None


def messages_of(given: Iterable[pb.Message], path: str) -> tuple[Message, ...]:
    """The messages of the field `path`. Raises InvalidRequest."""
    messages = tuple(
        Message(
            _named(message.role, _ROLES, f"{path}[{index}].role"),
            message.content,
            _calls(message.tool_calls, f"{path}[{index}].tool_calls"),
            message.tool_call_id,
        )
        for index, message in enumerate(given)
    )
    check_calls_and_results(messages, path)
    return messages


def result_of(result: pb.ToolResult) -> tuple[str, str]:
    """Call id and result text. Raises InvalidRequest when the result is not JSON."""
    _decode(_any_json, result.content_json, "tool_result.content_json", "JSON")
    return result.call_id, result.content_json


def _calls(given: Iterable[pb.ToolCall], path: str) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    for index, call in enumerate(given):
        at = f"{path}[{index}]"
        if not (call.call_id and call.name):
            raise _fault(at, "needs call_id and name")
        arguments = call.arguments_json or "{}"
        _decode(_json_object, arguments, f"{at}.arguments_json", "a JSON object")
        calls.append(ToolCall(call.call_id, call.name, arguments))
    return tuple(calls)


def _tools(given: Iterable[pb.Tool]) -> tuple[ToolSpec, ...]:
    tools: list[ToolSpec] = []
    for index, tool in enumerate(given):
        at = f"tools[{index}]"
        if not tool.name:
            raise _fault(f"{at}.name", "is empty")
        parameters: dict[str, Any] = dict(_NO_ARGUMENTS)
        if tool.parameters_json:
            where = f"{at}.parameters_json"
            parameters = _decode(_json_object, tool.parameters_json, where, "a JSON object")
        tools.append(ToolSpec(tool.name, tool.description, parameters))
    return tuple(tools)


def _constraint(given: pb.ResponseFormat) -> Constraint | None:
    match given.WhichOneof("format"):
        case "json_schema":
            _decode(_json_object, given.json_schema, "response_format.json_schema", "a JSON object")
            return Constraint(ConstraintKind.JSON_SCHEMA, given.json_schema)
        case "regex":
            return Constraint(ConstraintKind.REGEX, given.regex)
        case _:
            return None


def _sampling(given: pb.Sampling) -> Sampling:
    values: dict[str, Any] = {
        field.name: value for field, value in given.ListFields() if field.name != "logit_bias"
    }
    try:
        return Sampling(**values, logit_bias=dict(given.logit_bias))
    except InvalidRequest as error:
        raise InvalidRequest(f"sampling.{error}", param=f"sampling.{error.param}") from None


def _named(number: int, names: Mapping[int, _T], path: str) -> _T:
    name = names.get(number)
    if name is None:
        raise _fault(path, f"has no value {number} here")
    return name


def _decode(decoder: msgspec.json.Decoder[_T], text: str, path: str, what: str) -> _T:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise _fault(path, f"is not {what}: {error}") from None


def _fault(path: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{path} {reason}", param=path)


def generate_event(event: TextDelta | ToolCallDelta | ServerToolRun) -> pb.GenerateEvent:
    """A turn's event as Generate streams it."""
    match event:
        case TextDelta():
            return pb.GenerateEvent(text_delta=_text_delta(event))
        case ToolCallDelta():
            delta = pb.ToolCallDelta(
                index=event.index,
                call_id=event.call_id,
                name=event.name,
                arguments_json=event.arguments,
            )
            return pb.GenerateEvent(tool_call_delta=delta)
        case ServerToolRun():
            return pb.GenerateEvent(tool_run=_tool_run(event))


def converse_event(turn_id: str, event: TextDelta | ToolCall | ServerToolRun) -> pb.ConverseEvent:
    """A turn's event as Converse streams it: calls are whole."""
    match event:
        case TextDelta():
            return pb.ConverseEvent(turn_id=turn_id, text_delta=_text_delta(event))
        case ToolCall():
            return pb.ConverseEvent(turn_id=turn_id, tool_call=_tool_call(event))
        case ServerToolRun():
            return pb.ConverseEvent(turn_id=turn_id, tool_run=_tool_run(event))


def usage_message(usage: Usage) -> pb.Usage:
    """Token counts."""
    return pb.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
    )


def summary_message(
    trail: TurnTrail,
    finish: TurnFinish | None,
    usage: Usage,
    *,
    trace_id: str,
    models: Iterable[ModelInfo],
) -> pb.TurnSummary:
    """How a turn went, up to the last mark of its clock; `finish` None: it was cancelled."""
    clock = trail.clock
    summary = pb.TurnSummary(
        finish=pb.FINISH_REASON_CANCELLED if finish is None else _FINISHES[finish],
        request_id=trail.request_id,
        trace_id=trace_id,
        site=trail.site,
        path=trail.path,
        model=trail.model,
        model_digest=_digest(trail.model, models),
        requested_model=trail.requested_model,
        escalation=trail.escalation,
        escalation_error=trail.escalation_error,
        turn_class=_CLASS_NUMBERS[trail.turn_class],
        stages=[
            pb.StageSpan(
                stage=span.stage.value,
                offset_ms=span.offset_s * 1e3,
                duration_ms=span.duration_s * 1e3,
            )
            for span in clock.spans
        ],
        duration_ms=clock.elapsed_s * 1e3,
        usage=usage_message(usage),
        messages_left_out=trail.num_left_out,
    )
    if clock.ttft_s is not None:
        summary.ttft_ms = clock.ttft_s * 1e3
    if trail.budget_s is not None:
        summary.budget_ms = trail.budget_s * 1e3
    return summary


def turn_error(error: GatewayError, request_id: str) -> pb.TurnError:
    """A turn's failure inside a session that goes on."""
    message = pb.TurnError(
        code=error.code,
        message=error.message,
        param=param_of(error) or "",
        retryable=error.retryable,
        request_id=request_id,
    )
    if isinstance(error, SloUnattainable):
        message.estimate_ms = error.estimate_s * 1e3
        if error.budget_s is not None:
            message.budget_ms = error.budget_s * 1e3
    if (wait_s := _retry_after_s(error)) is not None:
        message.retry_after_ms = wait_s * 1e3
    return message


def error_metadata(error: GatewayError, request_id: str) -> tuple[tuple[str, str], ...]:
    """What a failed call's trailing metadata says besides status and message."""
    pairs = [
        ("firsthop-code", error.code),
        ("firsthop-param", param_of(error) or ""),
        ("firsthop-retryable", "true" if error.retryable else "false"),
        ("x-request-id", request_id),
    ]
    if isinstance(error, SloUnattainable):
        pairs.append(("firsthop-estimate-ms", f"{error.estimate_s * 1e3:.0f}"))
        if error.budget_s is not None:
            pairs.append(("firsthop-budget-ms", f"{error.budget_s * 1e3:.0f}"))
    if (wait_s := _retry_after_s(error)) is not None:
        pairs.append(("retry-after-ms", f"{wait_s * 1e3:.0f}"))
    if isinstance(error, SloUnattainable | SiteDraining | TurnCutOff):
        pairs.append(("x-firsthop-alternates", ", ".join(error.alternates)))
    return tuple(pair for pair in pairs if pair[1])


def _retry_after_s(error: GatewayError) -> float | None:
    """When a retry at this site may help, if the error says so."""
    if not isinstance(error, SloUnattainable | RateLimited | UpstreamBusy):
        return None
    return error.retry_after_s if math.isfinite(error.retry_after_s) else None


def model_message(info: ModelInfo) -> pb.Model:
    """A served model."""
    return pb.Model(
        id=info.model_id,
        version=info.version,
        digest=info.digest,
        precision=info.precision,
        max_context_tokens=info.max_context_tokens,
        tools=info.tools,
        aliases=info.aliases,
    )


def _text_delta(delta: TextDelta) -> pb.TextDelta:
    return pb.TextDelta(text=delta.text, logprobs=[_logprob(entry) for entry in delta.logprobs])


def _logprob(entry: LogprobEntry) -> pb.TokenLogprob:
    return pb.TokenLogprob(
        text=entry.text,
        utf8=entry.utf8,
        logprob=entry.logprob,
        top=[
            pb.TopLogprob(text=text, utf8=utf8, logprob=logprob)
            for text, utf8, logprob in entry.top
        ],
    )


def _tool_call(call: ToolCall) -> pb.ToolCall:
    return pb.ToolCall(call_id=call.call_id, name=call.name, arguments_json=call.arguments)


def _tool_run(run: ServerToolRun) -> pb.ToolRun:
    return pb.ToolRun(call=_tool_call(run.call), result_json=run.result)


def _digest(full_name: str, models: Iterable[ModelInfo]) -> str:
    for info in models:
        if info.full_name == full_name:
            return info.digest
    return name_and_digest(full_name)[1]
