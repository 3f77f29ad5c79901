"""What a tool format offers: an incremental parser and a grammar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gateway.core.generation import Constraint
    from gateway.core.turn import ToolChoice
    from gateway.engine.tool_format.toolset import ToolSet


class MalformedToolCall(ValueError):
    """The model wrote something that begins as a tool call and is not one. `raw` is its text."""

    def __init__(self, problem: str, raw: str) -> None:
        super().__init__(f"the model wrote an unusable tool call: {problem}")
        self.problem = problem
        self.raw = raw


@dataclass(frozen=True, slots=True)
class Text:
    """Text of the answer: the characters up to position `end` of the model's output."""

    text: str
    end: int

    @property
    def start(self) -> int:
        """Position of its first character in the model's output."""
        return self.end - len(self.text)


@dataclass(frozen=True, slots=True)
class CallOpened:
    """A call of the tool `name` begins."""

    name: str


@dataclass(frozen=True, slots=True)
class CallArguments:
    """More of the open call's arguments, as JSON text."""

    json: str


@dataclass(frozen=True, slots=True)
class CallClosed:
    """The open call is complete; `arguments` is the text of its JSON object."""

    arguments: str


Parsed = Text | CallOpened | CallArguments | CallClosed


class ToolCallParser(Protocol):
    """Reads one generation. Text that may be the beginning of a marker is held back."""

    def feed(self, text: str) -> list[Parsed]:
        """What the next piece of output decides. Raises MalformedToolCall."""
        ...

    def finish(self, *, cut_off: bool = False) -> list[Parsed]:
        """What the end of the output decides.

        Raises MalformedToolCall for a call without its end, unless the output was `cut_off`:
        then the call stays open.
        """
        ...


class ToolFormat(Protocol):
    """One way of writing tool calls.

    `markers` are the strings that must reach the parser as text even where the vocabulary has
    them as special tokens.
    """

    @property
    def markers(self) -> frozenset[str]:
        """Strings of special tokens that the parser needs to see."""
        ...

    def parser(self, tools: ToolSet) -> ToolCallParser:
        """A parser for one generation in which `tools` may be called."""
        ...

    def constraint(
        self, tools: ToolSet, choice: ToolChoice, answer: Constraint | None = None
    ) -> Constraint | None:
        """The grammar that makes an invalid call impossible; None when anything may be written.

        `answer` is the form of the text where no tool is called. The grammar ends where the
        answer may: the engine then lets the model draw an end token. Raises InvalidSchema for a
        tool or an answer that cannot be written so.
        """
        ...


class PlainText:
    """The parser of a turn without tools: everything is text, nothing is held back."""

    def __init__(self) -> None:
        self._num_chars = 0

    def feed(self, text: str) -> list[Parsed]:
        """The piece itself."""
        self._num_chars += len(text)
        return [Text(text, self._num_chars)] if text else []

    def finish(self, *, cut_off: bool = False) -> list[Parsed]:
        """Nothing: nothing was held back, cut off or not."""
        del cut_off
        return []
