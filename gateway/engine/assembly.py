"""Generated tokens to the events of an answer: text, tool calls, and where it was cut."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.turn import LogprobEntry, TextDelta, ToolCall, ToolCallDelta
from gateway.engine.detokenizer import IncrementalDetokenizer
from gateway.engine.stop_strings import StopScanner
from gateway.engine.tool_format.parser import (
    CallArguments,
    CallClosed,
    CallOpened,
    MalformedToolCall,
    Parsed,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.generation import TokenLogprob
    from gateway.engine.tokenizer import TextTokenizer
    from gateway.engine.tool_format.parser import ToolCallParser

AnswerDelta = TextDelta | ToolCallDelta


@dataclass(frozen=True, slots=True)
class _TokenSpan:
    """A token's log-probabilities and the characters of the output it stands for."""

    start: int
    end: int
    entry: LogprobEntry


class TurnAssembler:
    """Assembles one generation. Feed every frame, then `finish`.

    Stop strings apply to text only. Once `stopped`, nothing more comes out and the generation
    is to be cancelled: a stop string was hit, or the model wrote a malformed call, which `finish`
    then raises.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        parser: ToolCallParser,
        *,
        keep_special: frozenset[int],
        stop: Sequence[str],
        new_call_id: Callable[[], str],
    ) -> None:
        self._tokenizer = tokenizer
        self._detokenizer = IncrementalDetokenizer(tokenizer, keep_special=keep_special)
        self._parser = parser
        self._scanner = StopScanner(stop)
        self._new_call_id = new_call_id
        self._malformed: MalformedToolCall | None = None
        self._logprobs = _LogprobTrail()
        self._num_chars = 0
        self._open_call: ToolCall | None = None
        self.stopped = False
        self.tool_calls: list[ToolCall] = []
        """The calls that are complete."""

    def feed(self, ids: Sequence[int], logprobs: Sequence[TokenLogprob] = ()) -> list[AnswerDelta]:
        """What these tokens add to the answer. `logprobs`, if any, has one entry for each id."""
        out: list[AnswerDelta] = []
        for index, token_id in enumerate(ids):
            if self.stopped:
                break
            piece = self._detokenizer.feed(token_id)
            if logprobs and not self._detokenizer.is_silent(token_id):
                # A token that only begins a character belongs where that character appears.
                end = self._num_chars + max(1, len(piece))
                self._logprobs.add(_TokenSpan(self._num_chars, end, self._entry(logprobs[index])))
            self._read(piece, out)
        return out

    def finish(self, *, cut_off: bool = False) -> list[AnswerDelta]:
        """What was held back until the end. `cut_off`: the tokens ran out before the end.

        Raises MalformedToolCall for a call that is not one; a call that was cut off is not
        malformed, it only does not appear in `tool_calls`.
        """
        out: list[AnswerDelta] = []
        if not self.stopped:
            self._read(self._detokenizer.flush(), out)
        if not self.stopped:
            self._take(self._parser.finish(cut_off=cut_off), out)
        if not self.stopped:
            self._show(self._scanner.flush(), out)
        if self._malformed is not None:
            raise self._malformed
        return out

    def _read(self, piece: str, out: list[AnswerDelta]) -> None:
        if not piece:
            return
        self._num_chars += len(piece)
        try:
            self._take(self._parser.feed(piece), out)
        except MalformedToolCall as error:
            self._malformed = error
            self.stopped = True

    def _take(self, parsed: Sequence[Parsed], out: list[AnswerDelta]) -> None:
        for event in parsed:
            match event:
                case Text():
                    self._logprobs.text(event)
                    shown, self.stopped = self._scanner.feed(event.text)
                    self._show(shown, out)
                    if self.stopped:
                        return
                case CallOpened(name):
                    self._show(self._scanner.flush(), out)
                    self._open_call = ToolCall(self._new_call_id(), name, "")
                    index = len(self.tool_calls)
                    out.append(ToolCallDelta(index, "", self._open_call.call_id, name))
                case CallArguments(json):
                    _append_arguments(out, len(self.tool_calls), json)
                case CallClosed(arguments):
                    self._close_call(arguments)

    def _close_call(self, arguments: str) -> None:
        if self._open_call is not None:
            call = self._open_call
            self.tool_calls.append(ToolCall(call.call_id, call.name, arguments))
            self._open_call = None

    def _show(self, text: str, out: list[AnswerDelta]) -> None:
        if not text:
            return
        entries = self._logprobs.shown(len(text))
        last = out[-1] if out else None
        if isinstance(last, TextDelta):
            out[-1] = TextDelta(last.text + text, last.logprobs + entries)
        else:
            out.append(TextDelta(text, entries))

    def _entry(self, token: TokenLogprob) -> LogprobEntry:
        text, utf8 = self._spelling(token.token_id)
        top = tuple((*self._spelling(id_), logprob) for id_, logprob in token.top)
        return LogprobEntry(text, utf8, token.logprob, top)

    def _spelling(self, token_id: int) -> tuple[str, bytes]:
        utf8 = self._tokenizer.token_bytes(token_id)
        return utf8.decode("utf-8", "replace"), utf8


def _append_arguments(out: list[AnswerDelta], index: int, json: str) -> None:
    last = out[-1] if out else None
    if isinstance(last, ToolCallDelta) and last.index == index:
        out[-1] = ToolCallDelta(index, last.arguments + json, last.call_id, last.name)
    else:
        out.append(ToolCallDelta(index, json))


class _LogprobTrail:
    """Keeps log-probabilities until the text of their token is shown.

    Positions pass from the model's output, of which calls and markers are a part, to the answer's
    text, of which they are not; the entries of tokens that never become text are dropped.
    """

    def __init__(self) -> None:
        self._output: deque[_TokenSpan] = deque()
        self._answer: deque[tuple[int, LogprobEntry]] = deque()
        self._num_text = 0
        self._num_shown = 0

    def add(self, span: _TokenSpan) -> None:
        """A token was generated; spans come in order."""
        self._output.append(span)

    def text(self, text: Text) -> None:
        """A stretch of the output is text of the answer."""
        while self._output and self._output[0].start < text.end:
            span = self._output.popleft()
            if span.end > text.start:
                offset = self._num_text + max(0, span.start - text.start)
                self._answer.append((offset, span.entry))
        self._num_text += len(text.text)

    def shown(self, num_chars: int) -> tuple[LogprobEntry, ...]:
        """The entries that belong to the next `num_chars` of text that go out."""
        self._num_shown += num_chars
        entries: list[LogprobEntry] = []
        while self._answer and self._answer[0][0] < self._num_shown:
            entries.append(self._answer.popleft()[1])
        return tuple(entries)
