"""Feeds a tool-call parser in pieces and sums up what came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from gateway.engine.tool_format.parser import CallArguments, CallClosed, CallOpened, Text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.engine.tool_format.parser import Parsed, ToolCallParser


@dataclass
class Outcome:
    """Text and calls; `calls` holds name, streamed arguments and closed arguments of each."""

    text: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list)

    def take(self, events: Iterable[Parsed], source: str) -> None:
        for event in events:
            match event:
                case Text(text):
                    assert source[event.start : event.end] == text
                    self.text += text
                case CallOpened(name):
                    self.calls.append((name, "", ""))
                case CallArguments(json):
                    name, streamed, closed = self.calls[-1]
                    self.calls[-1] = (name, streamed + json, closed)
                case CallClosed(arguments):
                    name, streamed, _ = self.calls[-1]
                    self.calls[-1] = (name, streamed, arguments)


def parse(parser: ToolCallParser, pieces: Iterable[str], *, cut_off: bool = False) -> Outcome:
    """All pieces, then the end."""
    outcome = Outcome()
    source = ""
    for piece in pieces:
        source += piece
        outcome.take(parser.feed(piece), source)
    outcome.take(parser.finish(cut_off=cut_off), source)
    return outcome


def chopped(text: str, cuts: Iterable[int]) -> list[str]:
    """The text in pieces, cut at these places."""
    edges = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[a:b] for a, b in pairwise(edges)]
