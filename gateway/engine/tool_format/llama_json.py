"""Llama: an answer that is ``{"name": …, "parameters": {…}}``, or stands after ``<|python_tag|>``.

Several calls stand one after another, with or without a semicolon between them.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from gateway.core.turn import ToolChoiceMode
from gateway.engine.stop_strings import partial_suffix_chars
from gateway.engine.tool_format.json_call import NAME_HEAD, JsonCallReader
from gateway.engine.tool_format.lark import answer_rule, json_call_bodies, lark
from gateway.engine.tool_format.parser import MalformedToolCall, Parsed, Text

if TYPE_CHECKING:
    from gateway.core.generation import Constraint
    from gateway.core.turn import ToolChoice
    from gateway.engine.tool_format.toolset import ToolSet

TAG = "<|python_tag|>"

# Text that cannot be taken for a call: it does not begin with a brace.
_TEXT = r"/\s*[^{\s](?s:.*)/"
_SEPARATORS = re.compile(r"[\s;,]*")
_NAME_KEY = '"name"'


class LlamaFormat:
    """The format; `tokens` are the strings that are single tokens in the model's vocabulary."""

    markers = frozenset({TAG})

    def __init__(self, tokens: frozenset[str]) -> None:
        self._tag = f"{TAG}? " if TAG in tokens else ""

    def parser(self, tools: ToolSet) -> LlamaParser:
        """A parser for one generation."""
        return LlamaParser(tools)

    def constraint(
        self, tools: ToolSet, choice: ToolChoice, answer: Constraint | None = None
    ) -> Constraint | None:
        """See ToolFormat. An answer is text or calls, never both."""
        if not len(tools):
            return answer
        if choice.mode is ToolChoiceMode.NONE:
            return answer or lark([f"start: {_TEXT}"])
        called = tools.only(choice.name) if choice.name else tools
        rules = json_call_bodies(called, arguments_key="parameters")
        rules.append(f"calls: {self._tag}body" + ("" if choice.name else ' ("; " body)*'))
        if choice.mode is ToolChoiceMode.REQUIRED:
            return lark(["start: calls", *rules])
        return lark(["start: answer | calls", answer_rule(answer, _TEXT), *rules])


class LlamaParser:
    """Reads an answer that may be calls. JSON that calls no known tool is text, unless tagged."""

    def __init__(self, tools: ToolSet) -> None:
        self._tools = tools
        self._buffer = ""
        self._num_consumed = 0
        self._reader: JsonCallReader | None = None
        self._is_tagged = False
        self._in_text = False
        self._num_calls = 0

    def feed(self, text: str) -> list[Parsed]:
        """See ToolCallParser."""
        self._buffer += text
        out: list[Parsed] = []
        while self._step(out):
            pass
        return out

    def finish(self, *, cut_off: bool = False) -> list[Parsed]:
        """See ToolCallParser."""
        out: list[Parsed] = []
        if self._reader or (self._is_tagged and not self._in_text):
            if not cut_off:
                raw = self._reader.raw if self._reader else self._buffer
                raise MalformedToolCall("it has no end", raw)
        elif _SEPARATORS.sub("", self._buffer) or not self._num_calls:
            self._text(len(self._buffer), out)
        return out

    def _step(self, out: list[Parsed]) -> bool:
        """Decide a little more; True when there may be more to decide."""
        if self._reader:
            return self._read_call(self._reader, out)
        return self._read_text(out) if self._in_text else self._begin()

    def _begin(self) -> bool:
        """Tell a call from text at the start of the answer and behind a call."""
        skipped = re.compile(r"\s*") if not self._num_calls else _SEPARATORS
        match = skipped.match(self._buffer)
        at = match.end() if match else 0
        rest = self._buffer[at:]
        if rest.startswith(TAG):
            self._consume(at + len(TAG))
            self._is_tagged = True
            return True
        if not rest or TAG.startswith(rest):
            return False
        decided = True if self._is_tagged else self._is_call(rest)
        if decided is None:
            return False
        if decided:
            self._consume(at)
            self._reader = JsonCallReader(self._tools)
        else:
            self._in_text = True
        return True

    def _is_call(self, text: str) -> bool | None:
        """Whether `text` begins a call of a known tool; None while it may still do so."""
        if match := NAME_HEAD.match(text):
            try:
                return json.loads(match[1]) in self._tools
            except ValueError:
                return False
        if not text.startswith("{"):
            return False
        key = text[1:].lstrip()
        if not key.startswith(_NAME_KEY):
            return None if _NAME_KEY.startswith(key) else False
        value = key[len(_NAME_KEY) :].lstrip().removeprefix(":").lstrip()
        return None if not value or value.startswith('"') else False

    def _read_call(self, reader: JsonCallReader, out: list[Parsed]) -> bool:
        rest = reader.feed(self._buffer, out)
        self._consume(len(self._buffer) - len(rest))
        if reader.done:
            self._reader = None
            self._is_tagged = False
            self._num_calls += 1
        return reader.done

    def _read_text(self, out: list[Parsed]) -> bool:
        at = self._buffer.find(TAG)
        if at >= 0:
            self._text(at, out)
            self._in_text = False
            return True
        self._text(len(self._buffer) - partial_suffix_chars(self._buffer, (TAG,)), out)
        return False

    def _text(self, num_chars: int, out: list[Parsed]) -> None:
        if num_chars:
            text = self._buffer[:num_chars]
            self._consume(num_chars)
            out.append(Text(text, self._num_consumed))

    def _consume(self, num_chars: int) -> None:
        self._buffer = self._buffer[num_chars:]
        self._num_consumed += num_chars
