from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TurnClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TURN_CLASS_UNSPECIFIED: _ClassVar[TurnClass]
    TURN_CLASS_VOICE: _ClassVar[TurnClass]
    TURN_CLASS_AGENT: _ClassVar[TurnClass]
    TURN_CLASS_BATCH: _ClassVar[TurnClass]

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_SYSTEM: _ClassVar[Role]
    ROLE_USER: _ClassVar[Role]
    ROLE_ASSISTANT: _ClassVar[Role]
    ROLE_TOOL: _ClassVar[Role]

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_TOOL_CALLS: _ClassVar[FinishReason]
    FINISH_REASON_CANCELLED: _ClassVar[FinishReason]
TURN_CLASS_UNSPECIFIED: TurnClass
TURN_CLASS_VOICE: TurnClass
TURN_CLASS_AGENT: TurnClass
TURN_CLASS_BATCH: TurnClass
ROLE_UNSPECIFIED: Role
ROLE_SYSTEM: Role
ROLE_USER: Role
ROLE_ASSISTANT: Role
ROLE_TOOL: Role
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_TOOL_CALLS: FinishReason
FINISH_REASON_CANCELLED: FinishReason

class Message(_message.Message):
    __slots__ = ("role", "content", "tool_calls", "tool_call_id")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_ID_FIELD_NUMBER: _ClassVar[int]
    role: Role
    content: str
    tool_calls: _containers.RepeatedCompositeFieldContainer[ToolCall]
    tool_call_id: str
    def __init__(self, role: _Optional[_Union[Role, str]] = ..., content: _Optional[str] = ..., tool_calls: _Optional[_Iterable[_Union[ToolCall, _Mapping[str, object]]]] = ..., tool_call_id: _Optional[str] = ...) -> None: ...

class ToolCall(_message.Message):
    __slots__ = ("call_id", "name", "arguments_json")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    name: str
    arguments_json: str
    def __init__(self, call_id: _Optional[str] = ..., name: _Optional[str] = ..., arguments_json: _Optional[str] = ...) -> None: ...

class Tool(_message.Message):
    __slots__ = ("name", "description", "parameters_json")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_JSON_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    parameters_json: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., parameters_json: _Optional[str] = ...) -> None: ...

class ToolChoice(_message.Message):
    __slots__ = ("mode", "name")
    class Mode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        MODE_UNSPECIFIED: _ClassVar[ToolChoice.Mode]
        MODE_AUTO: _ClassVar[ToolChoice.Mode]
        MODE_NONE: _ClassVar[ToolChoice.Mode]
        MODE_REQUIRED: _ClassVar[ToolChoice.Mode]
    MODE_UNSPECIFIED: ToolChoice.Mode
    MODE_AUTO: ToolChoice.Mode
    MODE_NONE: ToolChoice.Mode
    MODE_REQUIRED: ToolChoice.Mode
    MODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    mode: ToolChoice.Mode
    name: str
    def __init__(self, mode: _Optional[_Union[ToolChoice.Mode, str]] = ..., name: _Optional[str] = ...) -> None: ...

class ResponseFormat(_message.Message):
    __slots__ = ("json_schema", "regex")
    JSON_SCHEMA_FIELD_NUMBER: _ClassVar[int]
    REGEX_FIELD_NUMBER: _ClassVar[int]
    json_schema: str
    regex: str
    def __init__(self, json_schema: _Optional[str] = ..., regex: _Optional[str] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("temperature", "top_k", "top_p", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "seed", "logit_bias", "top_logprobs")
    class LogitBiasEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: float
        def __init__(self, key: _Optional[int] = ..., value: _Optional[float] = ...) -> None: ...
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    MIN_P_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_PENALTY_FIELD_NUMBER: _ClassVar[int]
    FREQUENCY_PENALTY_FIELD_NUMBER: _ClassVar[int]
    REPETITION_PENALTY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    LOGIT_BIAS_FIELD_NUMBER: _ClassVar[int]
    TOP_LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    presence_penalty: float
    frequency_penalty: float
    repetition_penalty: float
    seed: int
    logit_bias: _containers.ScalarMap[int, float]
    top_logprobs: int
    def __init__(self, temperature: _Optional[float] = ..., top_k: _Optional[int] = ..., top_p: _Optional[float] = ..., min_p: _Optional[float] = ..., presence_penalty: _Optional[float] = ..., frequency_penalty: _Optional[float] = ..., repetition_penalty: _Optional[float] = ..., seed: _Optional[int] = ..., logit_bias: _Optional[_Mapping[int, float]] = ..., top_logprobs: _Optional[int] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("model", "messages", "turn_class", "latency_budget_ms", "tools", "tool_choice", "server_tools", "response_format", "sampling", "max_tokens", "stop", "parallel_tool_calls")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    TURN_CLASS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CHOICE_FIELD_NUMBER: _ClassVar[int]
    SERVER_TOOLS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FORMAT_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    model: str
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    turn_class: TurnClass
    latency_budget_ms: float
    tools: _containers.RepeatedCompositeFieldContainer[Tool]
    tool_choice: ToolChoice
    server_tools: bool
    response_format: ResponseFormat
    sampling: Sampling
    max_tokens: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    parallel_tool_calls: bool
    def __init__(self, model: _Optional[str] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping[str, object]]]] = ..., turn_class: _Optional[_Union[TurnClass, str]] = ..., latency_budget_ms: _Optional[float] = ..., tools: _Optional[_Iterable[_Union[Tool, _Mapping[str, object]]]] = ..., tool_choice: _Optional[_Union[ToolChoice, _Mapping[str, object]]] = ..., server_tools: _Optional[bool] = ..., response_format: _Optional[_Union[ResponseFormat, _Mapping[str, object]]] = ..., sampling: _Optional[_Union[Sampling, _Mapping[str, object]]] = ..., max_tokens: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., parallel_tool_calls: _Optional[bool] = ...) -> None: ...

class GenerateEvent(_message.Message):
    __slots__ = ("text_delta", "tool_call_delta", "tool_run", "summary")
    TEXT_DELTA_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_DELTA_FIELD_NUMBER: _ClassVar[int]
    TOOL_RUN_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    text_delta: TextDelta
    tool_call_delta: ToolCallDelta
    tool_run: ToolRun
    summary: TurnSummary
    def __init__(self, text_delta: _Optional[_Union[TextDelta, _Mapping[str, object]]] = ..., tool_call_delta: _Optional[_Union[ToolCallDelta, _Mapping[str, object]]] = ..., tool_run: _Optional[_Union[ToolRun, _Mapping[str, object]]] = ..., summary: _Optional[_Union[TurnSummary, _Mapping[str, object]]] = ...) -> None: ...

class ConverseRequest(_message.Message):
    __slots__ = ("start", "user_message", "tool_result", "cancel")
    START_FIELD_NUMBER: _ClassVar[int]
    USER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TOOL_RESULT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    start: SessionStart
    user_message: UserMessage
    tool_result: ToolResult
    cancel: CancelTurn
    def __init__(self, start: _Optional[_Union[SessionStart, _Mapping[str, object]]] = ..., user_message: _Optional[_Union[UserMessage, _Mapping[str, object]]] = ..., tool_result: _Optional[_Union[ToolResult, _Mapping[str, object]]] = ..., cancel: _Optional[_Union[CancelTurn, _Mapping[str, object]]] = ...) -> None: ...

class SessionStart(_message.Message):
    __slots__ = ("model", "history", "turn_class", "latency_budget_ms", "tools", "tool_choice", "server_tools", "response_format", "sampling", "max_tokens", "stop", "parallel_tool_calls", "resume")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    TURN_CLASS_FIELD_NUMBER: _ClassVar[int]
    LATENCY_BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    TOOL_CHOICE_FIELD_NUMBER: _ClassVar[int]
    SERVER_TOOLS_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FORMAT_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    PARALLEL_TOOL_CALLS_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    model: str
    history: _containers.RepeatedCompositeFieldContainer[Message]
    turn_class: TurnClass
    latency_budget_ms: float
    tools: _containers.RepeatedCompositeFieldContainer[Tool]
    tool_choice: ToolChoice
    server_tools: bool
    response_format: ResponseFormat
    sampling: Sampling
    max_tokens: int
    stop: _containers.RepeatedScalarFieldContainer[str]
    parallel_tool_calls: bool
    resume: SessionResume
    def __init__(self, model: _Optional[str] = ..., history: _Optional[_Iterable[_Union[Message, _Mapping[str, object]]]] = ..., turn_class: _Optional[_Union[TurnClass, str]] = ..., latency_budget_ms: _Optional[float] = ..., tools: _Optional[_Iterable[_Union[Tool, _Mapping[str, object]]]] = ..., tool_choice: _Optional[_Union[ToolChoice, _Mapping[str, object]]] = ..., server_tools: _Optional[bool] = ..., response_format: _Optional[_Union[ResponseFormat, _Mapping[str, object]]] = ..., sampling: _Optional[_Union[Sampling, _Mapping[str, object]]] = ..., max_tokens: _Optional[int] = ..., stop: _Optional[_Iterable[str]] = ..., parallel_tool_calls: _Optional[bool] = ..., resume: _Optional[_Union[SessionResume, _Mapping[str, object]]] = ...) -> None: ...

class SessionResume(_message.Message):
    __slots__ = ("token", "turn_id", "received_text")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_TEXT_FIELD_NUMBER: _ClassVar[int]
    token: str
    turn_id: str
    received_text: str
    def __init__(self, token: _Optional[str] = ..., turn_id: _Optional[str] = ..., received_text: _Optional[str] = ...) -> None: ...

class UserMessage(_message.Message):
    __slots__ = ("turn_id", "text", "latency_budget_ms")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LATENCY_BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    turn_id: str
    text: str
    latency_budget_ms: float
    def __init__(self, turn_id: _Optional[str] = ..., text: _Optional[str] = ..., latency_budget_ms: _Optional[float] = ...) -> None: ...

class ToolResult(_message.Message):
    __slots__ = ("call_id", "content_json", "latency_budget_ms")
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    CONTENT_JSON_FIELD_NUMBER: _ClassVar[int]
    LATENCY_BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    call_id: str
    content_json: str
    latency_budget_ms: float
    def __init__(self, call_id: _Optional[str] = ..., content_json: _Optional[str] = ..., latency_budget_ms: _Optional[float] = ...) -> None: ...

class CancelTurn(_message.Message):
    __slots__ = ("turn_id",)
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    turn_id: str
    def __init__(self, turn_id: _Optional[str] = ...) -> None: ...

class ConverseEvent(_message.Message):
    __slots__ = ("turn_id", "text_delta", "tool_call", "tool_run", "usage", "turn_summary", "turn_error", "started", "turn_restarted")
    TURN_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_DELTA_FIELD_NUMBER: _ClassVar[int]
    TOOL_CALL_FIELD_NUMBER: _ClassVar[int]
    TOOL_RUN_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TURN_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    TURN_ERROR_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    TURN_RESTARTED_FIELD_NUMBER: _ClassVar[int]
    turn_id: str
    text_delta: TextDelta
    tool_call: ToolCall
    tool_run: ToolRun
    usage: Usage
    turn_summary: TurnSummary
    turn_error: TurnError
    started: SessionStarted
    turn_restarted: TurnRestarted
    def __init__(self, turn_id: _Optional[str] = ..., text_delta: _Optional[_Union[TextDelta, _Mapping[str, object]]] = ..., tool_call: _Optional[_Union[ToolCall, _Mapping[str, object]]] = ..., tool_run: _Optional[_Union[ToolRun, _Mapping[str, object]]] = ..., usage: _Optional[_Union[Usage, _Mapping[str, object]]] = ..., turn_summary: _Optional[_Union[TurnSummary, _Mapping[str, object]]] = ..., turn_error: _Optional[_Union[TurnError, _Mapping[str, object]]] = ..., started: _Optional[_Union[SessionStarted, _Mapping[str, object]]] = ..., turn_restarted: _Optional[_Union[TurnRestarted, _Mapping[str, object]]] = ...) -> None: ...

class SessionStarted(_message.Message):
    __slots__ = ("token", "alternates", "last_turn_id", "awaited_call_ids")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ALTERNATES_FIELD_NUMBER: _ClassVar[int]
    LAST_TURN_ID_FIELD_NUMBER: _ClassVar[int]
    AWAITED_CALL_IDS_FIELD_NUMBER: _ClassVar[int]
    token: str
    alternates: _containers.RepeatedScalarFieldContainer[str]
    last_turn_id: str
    awaited_call_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, token: _Optional[str] = ..., alternates: _Optional[_Iterable[str]] = ..., last_turn_id: _Optional[str] = ..., awaited_call_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class TurnRestarted(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TextDelta(_message.Message):
    __slots__ = ("text", "logprobs")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LOGPROBS_FIELD_NUMBER: _ClassVar[int]
    text: str
    logprobs: _containers.RepeatedCompositeFieldContainer[TokenLogprob]
    def __init__(self, text: _Optional[str] = ..., logprobs: _Optional[_Iterable[_Union[TokenLogprob, _Mapping[str, object]]]] = ...) -> None: ...

class TokenLogprob(_message.Message):
    __slots__ = ("text", "utf8", "logprob", "top")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    UTF8_FIELD_NUMBER: _ClassVar[int]
    LOGPROB_FIELD_NUMBER: _ClassVar[int]
    TOP_FIELD_NUMBER: _ClassVar[int]
    text: str
    utf8: bytes
    logprob: float
    top: _containers.RepeatedCompositeFieldContainer[TopLogprob]
    def __init__(self, text: _Optional[str] = ..., utf8: _Optional[bytes] = ..., logprob: _Optional[float] = ..., top: _Optional[_Iterable[_Union[TopLogprob, _Mapping[str, object]]]] = ...) -> None: ...

class TopLogprob(_message.Message):
    __slots__ = ("text", "utf8", "logprob")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    UTF8_FIELD_NUMBER: _ClassVar[int]
    LOGPROB_FIELD_NUMBER: _ClassVar[int]
    text: str
    utf8: bytes
    logprob: float
    def __init__(self, text: _Optional[str] = ..., utf8: _Optional[bytes] = ..., logprob: _Optional[float] = ...) -> None: ...

class ToolCallDelta(_message.Message):
    __slots__ = ("index", "call_id", "name", "arguments_json")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    CALL_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_JSON_FIELD_NUMBER: _ClassVar[int]
    index: int
    call_id: str
    name: str
    arguments_json: str
    def __init__(self, index: _Optional[int] = ..., call_id: _Optional[str] = ..., name: _Optional[str] = ..., arguments_json: _Optional[str] = ...) -> None: ...

class ToolRun(_message.Message):
    __slots__ = ("call", "result_json")
    CALL_FIELD_NUMBER: _ClassVar[int]
    RESULT_JSON_FIELD_NUMBER: _ClassVar[int]
    call: ToolCall
    result_json: str
    def __init__(self, call: _Optional[_Union[ToolCall, _Mapping[str, object]]] = ..., result_json: _Optional[str] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("prompt_tokens", "completion_tokens", "cached_tokens")
    PROMPT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_TOKENS_FIELD_NUMBER: _ClassVar[int]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    def __init__(self, prompt_tokens: _Optional[int] = ..., completion_tokens: _Optional[int] = ..., cached_tokens: _Optional[int] = ...) -> None: ...

class StageSpan(_message.Message):
    __slots__ = ("stage", "offset_ms", "duration_ms")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    OFFSET_MS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    offset_ms: float
    duration_ms: float
    def __init__(self, stage: _Optional[str] = ..., offset_ms: _Optional[float] = ..., duration_ms: _Optional[float] = ...) -> None: ...

class TurnSummary(_message.Message):
    __slots__ = ("finish", "request_id", "trace_id", "site", "path", "model", "model_digest", "turn_class", "stages", "ttft_ms", "duration_ms", "budget_ms", "usage", "requested_model", "escalation", "escalation_error", "messages_left_out")
    FINISH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TURN_CLASS_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    TTFT_MS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_MODEL_FIELD_NUMBER: _ClassVar[int]
    ESCALATION_FIELD_NUMBER: _ClassVar[int]
    ESCALATION_ERROR_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    finish: FinishReason
    request_id: str
    trace_id: str
    site: str
    path: _containers.RepeatedScalarFieldContainer[str]
    model: str
    model_digest: str
    turn_class: TurnClass
    stages: _containers.RepeatedCompositeFieldContainer[StageSpan]
    ttft_ms: float
    duration_ms: float
    budget_ms: float
    usage: Usage
    requested_model: str
    escalation: str
    escalation_error: str
    messages_left_out: int
    def __init__(self, finish: _Optional[_Union[FinishReason, str]] = ..., request_id: _Optional[str] = ..., trace_id: _Optional[str] = ..., site: _Optional[str] = ..., path: _Optional[_Iterable[str]] = ..., model: _Optional[str] = ..., model_digest: _Optional[str] = ..., turn_class: _Optional[_Union[TurnClass, str]] = ..., stages: _Optional[_Iterable[_Union[StageSpan, _Mapping[str, object]]]] = ..., ttft_ms: _Optional[float] = ..., duration_ms: _Optional[float] = ..., budget_ms: _Optional[float] = ..., usage: _Optional[_Union[Usage, _Mapping[str, object]]] = ..., requested_model: _Optional[str] = ..., escalation: _Optional[str] = ..., escalation_error: _Optional[str] = ..., messages_left_out: _Optional[int] = ...) -> None: ...

class TurnError(_message.Message):
    __slots__ = ("code", "message", "param", "retryable", "estimate_ms", "budget_ms", "retry_after_ms", "request_id")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PARAM_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_MS_FIELD_NUMBER: _ClassVar[int]
    BUDGET_MS_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    param: str
    retryable: bool
    estimate_ms: float
    budget_ms: float
    retry_after_ms: float
    request_id: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., param: _Optional[str] = ..., retryable: _Optional[bool] = ..., estimate_ms: _Optional[float] = ..., budget_ms: _Optional[float] = ..., retry_after_ms: _Optional[float] = ..., request_id: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping[str, object]]]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("id", "version", "digest", "precision", "max_context_tokens", "tools", "aliases")
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    MAX_CONTEXT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOOLS_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    id: str
    version: str
    digest: str
    precision: str
    max_context_tokens: int
    tools: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., version: _Optional[str] = ..., digest: _Optional[str] = ..., precision: _Optional[str] = ..., max_context_tokens: _Optional[int] = ..., tools: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ...) -> None: ...
