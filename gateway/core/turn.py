"""One turn of a conversation as the rooms above the router see it: messages in, text out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable  # msgspec resolves field types at run time
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.budget import Budget, TurnClass
from gateway.core.errors import InvalidRequest, InvalidSchema
from gateway.core.generation import Constraint, Sampling
from gateway.core.nesting import MAX_JSON_DEPTH, is_too_deep

if TYPE_CHECKING:
    from collections.abc import Sequence

_WITH_DIGEST = re.compile(r"(.+)@([0-9a-f]{1,64})")

MAX_STOP_STRINGS = 4
"""As in the OpenAI API."""
MAX_STOP_CHARS = 256
"""A stop string's length: that much of an answer may be held back until it is told apart."""


class Role(StrEnum):
    """Who speaks. A developer message counts as system."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class ToolCall(msgspec.Struct, frozen=True):
    """A call the model made. `arguments` is the text of a JSON object."""

    call_id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True):
    """One message. `tool_calls` only on assistant ones, `tool_call_id` only on tool ones."""

    role: Role
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


def check_calls_and_results(
    messages: Sequence[Message], path: str, *, history: Sequence[Message] = ()
) -> None:
    """Refuse calls and results in places where no model could be shown them, after `history`.

    Raises InvalidRequest that names the field, as in `messages[2].tool_call_id`, where `path` is
    the list's own name.
    """
    call_ids = {call.call_id for message in history for call in message.tool_calls}
    for index, message in enumerate(messages):
        at = f"{path}[{index}]"
        if message.tool_calls and message.role is not Role.ASSISTANT:
            raise _misplaced(f"{at}.tool_calls", "belongs to assistant messages")
        if message.tool_call_id and message.role is not Role.TOOL:
            raise _misplaced(f"{at}.tool_call_id", "belongs to tool messages")
        if message.role is Role.TOOL and message.tool_call_id not in call_ids:
            raise _misplaced(
                f"{at}.tool_call_id", "answers no tool call of an earlier assistant message"
            )
        call_ids.update(call.call_id for call in message.tool_calls)


def _misplaced(path: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{path} {reason}", param=path)


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool the model may call; `parameters` is a JSON schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ToolChoiceMode(StrEnum):
    """Whether the model may, must not or must call a tool."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


class ToolChoice(msgspec.Struct, frozen=True):
    """`name` set with REQUIRED: that tool and no other."""

    mode: ToolChoiceMode = ToolChoiceMode.AUTO
    name: str = ""


class Principal(msgspec.Struct, frozen=True):
    """Whom a turn is done for, as its key says; without keys, the local tenant."""

    tenant: str = "local"
    key_id: str = ""
    max_concurrent: int | None = None
    """How many turns its key may have running at once; None does not limit."""
    sites: tuple[str, ...] | None = None
    """Where its turns may be answered; None: anywhere."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a turn was asked with. Built by edge, whole and valid, before any work is done.

    Raises InvalidRequest when the parts do not fit together.
    """

    request_id: str
    messages: tuple[Message, ...]
    budget: Budget
    turn_class: TurnClass = TurnClass.AGENT
    principal: Principal = Principal()
    model: str = "default"
    tools: tuple[ToolSpec, ...] = ()
    """Tools the client runs; a call ends the turn and is handed to the client."""
    tool_choice: ToolChoice = ToolChoice()
    parallel_tool_calls: bool = True
    """False: at most one call in an answer."""
    server_tools: bool = False
    """Run the assistant's own tools here, on the caller's account."""
    constraint: Constraint | None = None
    """The shape of the answer's text (response_format)."""
    sampling: Sampling = Sampling()
    is_seeded: bool = False
    """The caller chose `sampling.seed`; otherwise it was drawn for this turn."""
    max_tokens: int | None = None
    """None: as many as the context leaves."""
    stop: tuple[str, ...] = ()
    run_key: str = ""
    """Names the turn wherever it is answered: under one name the same call of a server's tool runs
    once. Empty: repeated requests are recognised by what was said."""
    until_certain: Callable[[], Awaitable[object]] | None = None
    """Of a turn that is begun early: returns once the caller has finished for certain. Whatever has
    an effect waits for it. None: he has."""

    def __post_init__(self) -> None:
        """Refuse combinations that cannot be served."""
        if not self.messages:
            raise InvalidRequest("messages must not be empty", param="messages")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InvalidRequest("max_tokens must be at least 1", param="max_tokens")
        usable = all(0 < len(stop) <= MAX_STOP_CHARS for stop in self.stop)
        if len(self.stop) > MAX_STOP_STRINGS or not usable:
            raise InvalidRequest(
                f"stop takes up to {MAX_STOP_STRINGS} strings, not empty and "
                f"of at most {MAX_STOP_CHARS} characters",
                param="stop",
            )
        self._check_tools()

    def _check_tools(self) -> None:
        names = [tool.name for tool in self.tools]
        if len(set(names)) != len(names):
            raise InvalidRequest("two tools have the same name", param="tools")
        if deep := next((tool for tool in self.tools if is_too_deep(tool.parameters)), None):
            raise InvalidSchema(
                f"tool {deep.name!r}: parameters are nested deeper than {MAX_JSON_DEPTH}",
                param="tools",
            )
        if self.tools and self.server_tools:
            raise InvalidRequest(
                "a turn uses either the client's tools or the server's, not both", param="tools"
            )
        if self.constraint is not None and self.server_tools:
            raise InvalidRequest(
                "the server's tools answer in words; leave out response_format",
                param="response_format",
            )
        choice = self.tool_choice
        if choice.mode is ToolChoiceMode.REQUIRED and not (self.tools or self.server_tools):
            raise InvalidRequest(
                "tool_choice asks for a tool but none is given", param="tool_choice"
            )
        if choice.name and self.tools and choice.name not in names:
            raise InvalidRequest(
                f"tool_choice names {choice.name!r}, which is not among the tools",
                param="tool_choice",
            )


class ModelInfo(msgspec.Struct, frozen=True):
    """A served model as clients may see it."""

    model_id: str
    version: str
    digest: str
    """sha256 over the bundle's files, hex; empty for a model that another server runs."""
    precision: str
    max_context_tokens: int
    """0 where another server runs the model: only that server knows."""
    tools: str
    """"any", or "fixed:<digest>" for a model that knows one set of tools."""
    aliases: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """`name@digest`, the digest's first 12 digits; the name alone where none is known."""
        return f"{self.model_id}@{self.digest[:12]}" if self.digest else self.model_id

    def answers_to(self, name: str) -> bool:
        """Whether a request's `model` means this one; aliases may hold `*` for any text."""
        if name in ("default", self.model_id, self.full_name):
            return True
        return any(_matches(name, alias) for alias in self.aliases)


def name_and_digest(full_name: str) -> tuple[str, str]:
    """A full name taken apart. Other servers' names may hold an `@` that begins no digest."""
    found = _WITH_DIGEST.fullmatch(full_name)
    return (found[1], found[2]) if found else (full_name, "")


def model_named(name: str, models: Sequence[ModelInfo]) -> ModelInfo | None:
    """Which model a request means: the one of that very name, else the first that answers to it."""
    exact = (info for info in models if name in (info.model_id, info.full_name))
    return next(exact, None) or next((info for info in models if info.answers_to(name)), None)


def _matches(name: str, alias: str) -> bool:
    """Whether `name` is `alias`, in which each `*` stands for any text and all else for itself."""
    pattern = ".*".join(map(re.escape, alias.split("*")))
    return re.fullmatch(pattern, name, re.DOTALL) is not None


class LogprobEntry(msgspec.Struct, frozen=True):
    """A token as text with its log-probability and the likeliest alternatives."""

    text: str
    utf8: bytes
    logprob: float
    top: tuple[tuple[str, bytes, float], ...] = ()


class TextDelta(msgspec.Struct, frozen=True):
    """More of the answer's text: whole characters, never part of a stop string."""

    text: str
    logprobs: tuple[LogprobEntry, ...] = ()
    is_acknowledgement: bool = False
    """Said while the caller waits ("one moment"): no content of the answer."""


class ToolCallDelta(msgspec.Struct, frozen=True):
    """More of a tool call. The first delta of an `index` carries id and name."""

    index: int
    arguments: str
    call_id: str = ""
    name: str = ""


class ServerToolRun(msgspec.Struct, frozen=True):
    """The server ran one of its own tools; `result` is the text of a JSON object."""

    call: ToolCall
    result: str


class Usage(msgspec.Struct, frozen=True):
    """Token counts of a turn, all its generations together."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class TurnFinish(StrEnum):
    """Why the turn ended, in the OpenAI API's words."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"


class TurnEnd(msgspec.Struct, frozen=True):
    """The last event of a turn that was answered."""

    finish: TurnFinish
    usage: Usage
    calls: tuple[ToolCall, ...] = ()
    """What the client is to run. Deltas may have begun one call more, which was cut off."""


TurnEvent = TextDelta | ToolCallDelta | ServerToolRun | TurnEnd


def is_content(event: TurnEvent) -> bool:
    """Whether an event holds part of the answer: the first of them is what budgets are about."""
    match event:
        case TextDelta():
            return bool(event.text) and not event.is_acknowledgement
        case ToolCallDelta():
            return True
        case _:
            return False
