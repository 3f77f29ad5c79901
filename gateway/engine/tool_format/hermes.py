"""Hermes and Qwen: ``<tool_call>{"name": …, "arguments": {…}}</tool_call>``, as often as wanted.

The two markers are single tokens in some vocabularies and plain text in others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.turn import ToolChoiceMode
from gateway.engine.stop_strings import partial_suffix_chars
from gateway.engine.tool_format.json_call import JsonCallReader
from gateway.engine.tool_format.lark import answer_rule, json_call_bodies, lark, pattern, quoted
from gateway.engine.tool_format.parser import MalformedToolCall, Parsed, Text

if TYPE_CHECKING:
    from gateway.core.generation import Constraint
    from gateway.core.turn import ToolChoice
    from gateway.engine.tool_format.toolset import ToolSet

OPEN = "<tool_call>"
CLOSE = "</tool_call>"


class HermesFormat:
    """The format; `tokens` are the strings that are single tokens in the model's vocabulary."""

    markers = frozenset({OPEN, CLOSE})

    def __init__(self, tokens: frozenset[str]) -> None:
        self._open_is_token = OPEN in tokens
        self._open = OPEN if self._open_is_token else quoted(OPEN)
        self._close = CLOSE if CLOSE in tokens else quoted(CLOSE)

    def parser(self, tools: ToolSet) -> HermesParser:
        """A parser for one generation."""
        return HermesParser(tools)

    def constraint(
        self, tools: ToolSet, choice: ToolChoice, answer: Constraint | None = None
    ) -> Constraint | None:
        """See ToolFormat. Text may stand before the first call, never after the last."""
        if not len(tools):
            return answer
        if choice.mode is ToolChoiceMode.NONE:
            return answer or self._text_only()
        called = tools.only(choice.name) if choice.name else tools
        rules = [
            *json_call_bodies(called, arguments_key="arguments"),
            f'call: {self._open} "\\n"? body "\\n"? {self._close}',
        ]
        if choice.name:
            return lark(["start: call", *rules])
        rules.append('more: "\\n"? call')
        if choice.mode is ToolChoiceMode.REQUIRED:
            return lark(["start: call more*", *rules])
        return lark([*self._call_or_answer(answer), *rules])

    def _text_only(self) -> Constraint | None:
        if self._open_is_token:
            return lark(["start: /(?s:.+)/"])
        return lark(["start: TEXT", f"TEXT: /(?s:.+)/ & ~/(?s:.*){OPEN}(?s:.*)/"])

    def _call_or_answer(self, answer: Constraint | None) -> list[str]:
        if answer is not None:
            return ["start: answer | call more*", answer_rule(answer, "")]
        if self._open_is_token:
            return ["start: TEXT | TEXT? call more*", "TEXT: /(?s:.+)/"]
        # Lazy: once the marker is complete, what follows is a call.
        return [
            "start: TEXT | opened more*",
            "TEXT: /(?s:.+)/",
            f"head[lazy]: {pattern('(?s:.*)' + OPEN)}",
            f'opened: head "\\n"? body "\\n"? {self._close}',
        ]


class HermesParser:
    """Reads text and calls. White space around calls is no part of the answer."""

    def __init__(self, tools: ToolSet) -> None:
        self._tools = tools
        self._buffer = ""
        self._num_consumed = 0
        self._reader: JsonCallReader | None = None
        self._num_calls = 0

    def feed(self, text: str) -> list[Parsed]:
        """See ToolCallParser."""
        self._buffer += text
        out: list[Parsed] = []
        while self._in_call(out) if self._reader else self._in_text(out):
            pass
        return out

    def finish(self, *, cut_off: bool = False) -> list[Parsed]:
        """See ToolCallParser. A complete call whose closing marker is missing counts."""
        out: list[Parsed] = []
        if self._reader is None:
            if self._buffer.strip() or not self._num_calls:
                self._text(len(self._buffer), out)
        elif not self._reader.done and not cut_off:
            raise MalformedToolCall("it has no end", self._reader.raw)
        return out

    def _in_text(self, out: list[Parsed]) -> bool:
        """Deliver text up to a marker; True when there is more to do."""
        at = self._buffer.find(OPEN)
        if at >= 0:
            self._text(len(self._buffer[:at].rstrip()), out)
            self._consume(self._buffer.find(OPEN) + len(OPEN))
            self._reader = JsonCallReader(self._tools)
            return True
        shown = self._buffer[: len(self._buffer) - partial_suffix_chars(self._buffer, (OPEN,))]
        self._text(len(shown.rstrip()), out)
        return False

    def _in_call(self, out: list[Parsed]) -> bool:
        """Read a call up to its closing marker; True when there is more to do."""
        reader = self._reader
        if reader is None:
            return False
        if not reader.done:
            rest = reader.feed(self._buffer, out)
            self._consume(len(self._buffer) - len(rest))
            if not reader.done:
                return False
        tail = self._buffer.lstrip()
        if tail.startswith(CLOSE):
            self._consume(self._buffer.find(CLOSE) + len(CLOSE))
            self._reader = None
            self._num_calls += 1
            return True
        if not CLOSE.startswith(tail):
            raise MalformedToolCall("text follows its closing brace", reader.raw + self._buffer)
        return False

    def _text(self, num_chars: int, out: list[Parsed]) -> None:
        if num_chars:
            text = self._buffer[:num_chars]
            self._consume(num_chars)
            out.append(Text(text, self._num_consumed))

    def _consume(self, num_chars: int) -> None:
        self._buffer = self._buffer[num_chars:]
        self._num_consumed += num_chars
