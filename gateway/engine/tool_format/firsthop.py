"""Ours: ``<c><t:NAME>v1<arg>v2``, one token for each tool, values in the schema's order.

Every property has its slot, an optional one that is left out is empty, and the JSON is written
here: a model of a few million parameters has better things to learn than braces.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from gateway.core.turn import ToolChoiceMode
from gateway.engine.stop_strings import partial_suffix_chars
from gateway.engine.tool_format.arguments import Argument, arguments_of
from gateway.engine.tool_format.lark import answer_rule, lark
from gateway.engine.tool_format.parser import (
    CallArguments,
    CallClosed,
    CallOpened,
    MalformedToolCall,
    Parsed,
    Text,
)

if TYPE_CHECKING:
    from gateway.core.generation import Constraint
    from gateway.core.turn import ToolChoice
    from gateway.engine.tool_format.toolset import ToolSet

CALL = "<c>"
ARG = "<arg>"
_TOOL = re.compile(r"<t:([^<>]*)>")
_MARKERS = (CALL, ARG)
_NEXT_MARKER = re.compile("|".join(_MARKERS))


class FirsthopFormat:
    """The format; `tokens` are the strings that are single tokens in the model's vocabulary."""

    def __init__(self, tokens: frozenset[str]) -> None:
        tools = {token for token in tokens if _TOOL.fullmatch(token)}
        self.markers = frozenset({*_MARKERS, *tools})

    def parser(self, tools: ToolSet) -> FirsthopParser:
        """A parser for one generation."""
        return FirsthopParser(tools)

    def constraint(
        self, tools: ToolSet, choice: ToolChoice, answer: Constraint | None = None
    ) -> Constraint | None:
        """See ToolFormat. An answer is text or one call; there is always a grammar.

        Without one, a turn that offers no tools could still be answered with a call, because
        these models know their tools without being told.
        """
        if not len(tools) or choice.mode is ToolChoiceMode.NONE:
            return answer or lark(["start: /(?s:.+)/"])
        called = tools.only(choice.name) if choice.name else tools
        rules = [f"call: {CALL} (" + " | ".join(f"call_{i}" for i in range(len(called))) + ")"]
        for index, tool in enumerate(called):
            slots = f" {ARG} ".join(a.grammar() for a in arguments_of(tool))
            rules.append(f"call_{index}: <t:{tool.name}> {slots}".rstrip())
        if choice.mode is ToolChoiceMode.REQUIRED:
            return lark(["start: call", *rules])
        return lark(["start: answer | call", answer_rule(answer, "/(?s:.+)/"), *rules])


class FirsthopParser:
    """Reads text and calls; a call ends with the output or where the next one begins."""

    def __init__(self, tools: ToolSet) -> None:
        self._tools = tools
        self._buffer = ""
        self._num_consumed = 0
        self._call: _OpenCall | None = None
        self._raw: list[str] = []
        self._in_call = False

    def feed(self, text: str) -> list[Parsed]:
        """See ToolCallParser."""
        self._buffer += text
        out: list[Parsed] = []
        while self._step(out):
            pass
        return out

    def finish(self, *, cut_off: bool = False) -> list[Parsed]:
        """See ToolCallParser. The last argument is complete only here."""
        out: list[Parsed] = []
        if not self._in_call:
            self._text(len(self._buffer), out)
        elif not cut_off:
            if self._call is None:
                raise MalformedToolCall("it names no tool", self._raw_call())
            self._end_call(self._call, self._buffer, out)
        return out

    def _step(self, out: list[Parsed]) -> bool:
        """Decide a little more; True when there may be more to decide."""
        if not self._in_call:
            return self._read_text(out)
        if self._call is None:
            return self._read_tool(out)
        return self._read_value(self._call, out)

    def _read_text(self, out: list[Parsed]) -> bool:
        at = self._buffer.find(CALL)
        if at < 0:
            self._text(len(self._buffer) - partial_suffix_chars(self._buffer, (CALL,)), out)
            return False
        self._text(at, out)
        self._consume(len(CALL))
        self._in_call = True
        return True

    def _read_tool(self, out: list[Parsed]) -> bool:
        match = _TOOL.match(self._buffer)
        if match is None:
            opening = "<t:"
            may_come = self._buffer.startswith(opening) or opening.startswith(self._buffer)
            if not may_come or "<" in self._buffer[1:]:
                raise MalformedToolCall("it names no tool", self._raw_call())
            return False
        name = match[1]
        if name not in self._tools:
            raise MalformedToolCall(f"no tool is named {name!r}", self._raw_call())
        self._consume(match.end())
        self._call = _OpenCall(arguments_of(self._tools[name]))
        out.append(CallOpened(name))
        return True

    def _read_value(self, call: _OpenCall, out: list[Parsed]) -> bool:
        match = _NEXT_MARKER.search(self._buffer)
        if match is None:
            return False
        text = self._buffer[: match.start()]
        if match[0] == CALL:
            self._end_call(call, text, out)
        else:
            self._value(call, text, out)
        self._consume(match.end())
        return True

    def _value(self, call: _OpenCall, text: str, out: list[Parsed]) -> None:
        try:
            written = call.add(text)
        except ValueError as error:
            raise MalformedToolCall(str(error), self._raw_call()) from error
        if written:
            out.append(CallArguments(written))

    def _end_call(self, call: _OpenCall, last: str, out: list[Parsed]) -> None:
        if last or call.num_missing:
            self._value(call, last, out)
        if call.num_missing:
            raise MalformedToolCall("it has too few arguments", self._raw_call())
        out += [CallArguments(call.close()), CallClosed(call.json)]
        self._call = None
        self._raw.clear()

    def _raw_call(self) -> str:
        return "".join([*self._raw, self._buffer])

    def _text(self, num_chars: int, out: list[Parsed]) -> None:
        if num_chars:
            text = self._buffer[:num_chars]
            self._consume(num_chars)
            self._raw.clear()
            out.append(Text(text, self._num_consumed))

    def _consume(self, num_chars: int) -> None:
        self._raw.append(self._buffer[:num_chars])
        self._buffer = self._buffer[num_chars:]
        self._num_consumed += num_chars


class _OpenCall:
    """Writes the JSON of one call, a value at a time."""

    def __init__(self, arguments: tuple[Argument, ...]) -> None:
        self._arguments = arguments
        self._num_read = 0
        self.json = ""

    @property
    def num_missing(self) -> int:
        return len(self._arguments) - self._num_read

    def add(self, text: str) -> str:
        """The JSON that the next value adds; raises ValueError for one that is not allowed."""
        if not self.num_missing:
            raise ValueError("it has too many arguments")
        argument = self._arguments[self._num_read]
        self._num_read += 1
        value = argument.value(text)
        if value is None:
            return ""
        member = f"{json.dumps(argument.name)}: {json.dumps(value, ensure_ascii=False)}"
        return self._append((", " if self.json else "{") + member)

    def close(self) -> str:
        """The JSON that ends the object."""
        return self._append("}" if self.json else "{}")

    def _append(self, text: str) -> str:
        self.json += text
        return text
