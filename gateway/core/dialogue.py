"""What a session remembers of its conversation, and how a turn's outcome changes it.

A turn has one or more legs: the first begins with what the user said, each further one with the
results of the tools that the client ran. A leg's messages are provisional until its outcome is
known, so that a message whose leg failed can be sent again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.errors import InvalidRequest
from gateway.core.turn import Message, Role, ServerToolRun, TextDelta, ToolCall, ToolCallDelta

if TYPE_CHECKING:
    from collections.abc import Iterable

_GIVEN_UP = '{"error":"cancelled_by_caller"}'
"""What the model reads as the result of a call that the caller did not run."""


class Dialogue:
    """The messages of one session. `ask` or `take_result` opens a leg; `finish`, `cut` or `undo`
    closes it.
    """

    def __init__(self, history: Iterable[Message] = ()) -> None:
        self._settled = list(history)
        self._leg: list[Message] = []
        self._num_done = 0
        """Messages of the leg that stay even if it fails: a server tool has run."""
        self._text: list[str] = []
        self._calls: dict[int, ToolCall] = {}
        self._awaited: dict[str, str | None] = {}
        """Calls the client is to run, with the results so far."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """The whole conversation, the open leg included."""
        return (*self._settled, *self._leg)

    @property
    def awaits_results(self) -> bool:
        """Whether the turn waits for results of the client's tools."""
        return bool(self._awaited) and not self._leg

    def ask(self, text: str) -> None:
        """The user said `text`. Raises InvalidRequest while tool results are missing."""
        if self._awaited:
            raise InvalidRequest(
                f"the turn waits for the results of {', '.join(self._awaited)}; send them or "
                "cancel it",
                param="user_message",
            )
        if not text:
            raise InvalidRequest("user_message.text is empty", param="user_message.text")
        self._leg = [Message(Role.USER, text)]

    def take_result(self, call_id: str, content: str) -> bool:
        """The client ran a tool; True when this was the last result and a leg has opened.

        Raises InvalidRequest for a call that is not waited for.
        """
        if not self.awaits_results or call_id not in self._awaited:
            raise InvalidRequest(
                f"no call {call_id!r} waits for a result", param="tool_result.call_id"
            )
        self._awaited[call_id] = content
        if None in self._awaited.values():
            return False
        self._leg = self._results(missing="")
        return True

    def note(self, event: TextDelta | ToolCallDelta | ServerToolRun) -> None:
        """Part of the leg's answer."""
        match event:
            case TextDelta():
                self._text.append(event.text)
            case ToolCallDelta():
                call = self._calls.get(event.index, ToolCall("", "", ""))
                self._calls[event.index] = ToolCall(
                    event.call_id or call.call_id,
                    event.name or call.name,
                    call.arguments + event.arguments,
                )
            case ServerToolRun():
                self._say((event.call,))
                self._leg.append(Message(Role.TOOL, event.result, tool_call_id=event.call.call_id))
                self._num_done = len(self._leg)

    def finish(self) -> tuple[ToolCall, ...]:
        """The leg was answered. Returns the calls whose results the turn now waits for."""
        calls = tuple(call for _, call in sorted(self._calls.items()))
        self._say(calls)
        self._settle(len(self._leg))
        self._awaited = {call.call_id: None for call in calls}
        return calls

    def cut(self) -> None:
        """The turn was cancelled: what was said and done so far stays, open calls are given up."""
        if self._leg:
            self._say(())
            self._settle(len(self._leg))
        else:
            self._settled += self._results(missing=_GIVEN_UP)
        self._awaited = {}

    def undo(self) -> None:
        """The leg failed: as before its first message, except for what server tools did."""
        self._awaited = {} if self._num_done else dict.fromkeys(self._awaited)
        self._settle(self._num_done)

    def _say(self, calls: tuple[ToolCall, ...]) -> None:
        text = "".join(self._text)
        self._text.clear()
        if text or calls:
            self._leg.append(Message(Role.ASSISTANT, text, calls))

    def _results(self, *, missing: str) -> list[Message]:
        return [
            Message(Role.TOOL, missing if content is None else content, tool_call_id=call_id)
            for call_id, content in self._awaited.items()
        ]

    def _settle(self, num_messages: int) -> None:
        self._settled += self._leg[:num_messages]
        self._leg.clear()
        self._num_done = 0
        self._text.clear()
        self._calls.clear()
