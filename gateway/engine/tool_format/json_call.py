"""Reads one ``{"name": …, "arguments": {…}}`` as it streams in."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from gateway.engine.tool_format.parser import (
    CallArguments,
    CallClosed,
    CallOpened,
    MalformedToolCall,
    Parsed,
)

if TYPE_CHECKING:
    from gateway.engine.tool_format.toolset import ToolSet

_STRING = r'"(?:[^"\\]|\\.)*"'
NAME_HEAD = re.compile(rf'\s*\{{\s*"name"\s*:\s*({_STRING})')
_ARGUMENTS_HEAD = re.compile(r'\s*,\s*"(?:arguments|parameters)"\s*:\s*(?=\{)')
# The call's head is short. What is longer has its keys in another order and is read at its end.
_MAX_HEAD_CHARS = 512


class JsonCallReader:
    """One call. The name goes out when it is known, the arguments as they come.

    A call whose keys stand in another order is read whole at its end. `done` once its closing
    brace came; what follows it is handed back by `feed`.
    """

    def __init__(self, tools: ToolSet) -> None:
        self._tools = tools
        self._call = _ObjectEnd()
        self._arguments = _ObjectEnd()
        self._pieces: list[str] = []
        self._num_chars = 0
        self._name = ""
        self._name_end = 0
        self._streamed: list[str] = []
        self.done = False

    @property
    def raw(self) -> str:
        """The text read so far."""
        return "".join(self._pieces)

    def feed(self, text: str, out: list[Parsed]) -> str:
        """Read on, append what is decided to `out`, return what lies behind the call's end.

        Raises MalformedToolCall.
        """
        if not self._call.opened and (first := text.lstrip()) and first[0] != "{":
            raise MalformedToolCall("it is not a JSON object", self.raw + text)
        end = self._call.find(text)
        mine = text if end is None else text[:end]
        self._pieces.append(mine)
        self._num_chars += len(mine)
        self._stream(mine, out)
        if end is None:
            return ""
        self.done = True
        self._close(out)
        return text[end:]

    def _stream(self, text: str, out: list[Parsed]) -> None:
        if not self._streamed:
            text = self._arguments_so_far(out)
        if not text or self._arguments.closed:
            return
        end = self._arguments.find(text)
        part = text if end is None else text[:end]
        self._streamed.append(part)
        out.append(CallArguments(part))

    def _arguments_so_far(self, out: list[Parsed]) -> str:
        """The text from the arguments' brace on, once the head before it is whole."""
        if self._num_chars > _MAX_HEAD_CHARS and not self._name:
            return ""
        raw = self.raw
        if not self._name and (match := NAME_HEAD.match(raw)):
            self._open(match[1], out)
            self._name_end = match.end()
        if self._name and (match := _ARGUMENTS_HEAD.match(raw, self._name_end)):
            return raw[match.end() :]
        return ""

    def _open(self, name_json: str, out: list[Parsed]) -> None:
        try:
            name = json.loads(name_json)
        except ValueError as error:
            raise MalformedToolCall("its name is not a JSON string", self.raw) from error
        if name not in self._tools:
            raise MalformedToolCall(f"no tool is named {name!r}", self.raw)
        self._name = name
        out.append(CallOpened(name))

    def _close(self, out: list[Parsed]) -> None:
        call = self._decoded()
        if not self._name:
            self._open(json.dumps(call.get("name", "")), out)
        if self._streamed:
            out.append(CallClosed("".join(self._streamed)))
            return
        arguments = call.get("arguments", call.get("parameters", {}))
        if not isinstance(arguments, dict):
            raise MalformedToolCall("its arguments are not a JSON object", self.raw)
        text = json.dumps(arguments, ensure_ascii=False)
        out += [CallArguments(text), CallClosed(text)]

    def _decoded(self) -> dict[str, Any]:
        try:
            call = json.loads(self.raw)
        except (ValueError, RecursionError) as error:
            raise MalformedToolCall("it is not valid JSON", self.raw) from error
        if not isinstance(call, dict):
            raise MalformedToolCall("it is not a JSON object", self.raw)
        return call


class _ObjectEnd:
    """Finds where a JSON object ends, by brackets and strings; it may still be invalid inside."""

    _TELLING = re.compile(r'["\\{}\[\]]')

    def __init__(self) -> None:
        self.opened = False
        self.closed = False
        self._depth = 0
        self._in_string = False
        self._skip_to = 0

    def find(self, text: str) -> int | None:
        """The position in `text` just behind the object's last brace, or None."""
        position = self._skip_to
        while match := self._TELLING.search(text, position):
            position = match.end()
            char = match[0]
            if self._in_string:
                if char == "\\":
                    position += 1
                elif char == '"':
                    self._in_string = False
            elif char == '"':
                self._in_string = True
            elif char in "{[":
                self.opened = True
                self._depth += 1
            elif char in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    self.closed = True
                    return position
        # A backslash at the very end escapes the first character of the next piece.
        self._skip_to = max(0, position - len(text))
        return None
