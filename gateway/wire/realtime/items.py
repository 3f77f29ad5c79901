"""Conversation items: what a session's conversation is made of.

https://developers.openai.com/api/reference/resources/realtime. Ids are the gateway's own where the
client gives none.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

ItemId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
CallId: TypeAlias = Annotated[str, Meta(min_length=1, max_length=64)]
ToolName: TypeAlias = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}\Z")]
"""As in the OpenAI API."""
Status: TypeAlias = Literal["completed", "incomplete", "in_progress"]

SERVER_LABEL = "firsthop"
"""Whose tools a `mcp_call` item has run: the assistant's own, here."""


def fresh_id(kind: str) -> str:
    """``kind_`` and 20 hexadecimal digits."""
    return f"{kind}_{secrets.token_hex(10)}"


def session_of_call(call_id: str) -> str:
    """A call's session has its digits: whoever knows one finds the other's turns."""
    return f"sess_{call_id.removeprefix('rtc_')}"


class InputText(msgspec.Struct, frozen=True, tag_field="type", tag="input_text"):
    """What a user or the system wrote."""

    text: str


class InputAudio(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio"):
    """What a user said. The sound is not kept; None: what was said is not known (yet)."""

    transcript: str | None = None


class OutputText(msgspec.Struct, frozen=True, tag_field="type", tag="output_text"):
    """What the assistant wrote."""

    text: str


class OutputAudio(msgspec.Struct, frozen=True, tag_field="type", tag="output_audio"):
    """What the assistant said. The sound is not kept."""

    transcript: str = ""


Part: TypeAlias = InputText | InputAudio | OutputText | OutputAudio


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """Something that was said or written."""

    role: Literal["user", "assistant", "system"]
    content: tuple[Part, ...]
    id: ItemId | None = None
    object: Literal["realtime.item"] = "realtime.item"
    status: Status = "completed"

    @property
    def text(self) -> str:
        """All of it, as text."""
        return "".join(_text(part) for part in self.content)


class FunctionCall(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call"
):
    """The model wants the client to run a tool; `arguments` is the text of a JSON object."""

    name: ToolName
    arguments: str
    call_id: CallId | None = None
    id: ItemId | None = None
    object: Literal["realtime.item"] = "realtime.item"
    status: Status = "completed"


class FunctionCallOutput(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call_output"
):
    """The client ran a tool."""

    call_id: CallId
    output: str
    id: ItemId | None = None
    object: Literal["realtime.item"] = "realtime.item"
    status: Status = "completed"


class ServerCall(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="mcp_call"):
    """The server ran one of its own tools: `id` is the call's."""

    id: str
    name: str
    arguments: str
    output: str | None = None
    server_label: str = SERVER_LABEL
    approval_request_id: None = None
    error: None = None


ClientItem: TypeAlias = Message | FunctionCall | FunctionCallOutput
"""What clients may put into a conversation."""
Item: TypeAlias = ClientItem | ServerCall


def _text(part: Part) -> str:
    match part:
        case InputText(text=text) | OutputText(text=text):
            return text
        case InputAudio(transcript=transcript) | OutputAudio(transcript=transcript):
            return transcript or ""
