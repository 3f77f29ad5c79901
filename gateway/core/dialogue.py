"""What a session remembers of its conversation, and how a turn's outcome changes it.

A turn has one or more legs: the first begins with what the user said, each further one with the
results of the tools that the client ran. A leg's messages are provisional until its outcome is
known, so that a message whose leg failed can be sent again.

A dialogue can be written down at any time and taken up from that elsewhere. Of an open leg only
what opened it is written down: it is answered anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Self

import msgspec

from gateway.core.errors import InvalidRequest
from gateway.core.turn import Message, Role, ServerToolRun, TextDelta, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GIVEN_UP: Final = '{"error":"cancelled_by_caller"}'
"""What the model reads as the result of a call that the caller did not run."""


class Phase(Enum):
    """Where a dialogue stands."""

    IDLE = auto()
    """No turn is under way: `ask` begins one."""
    ANSWERING = auto()
    """A leg is open: `note` what is answered, then `finish`, `undo` or `cancel`."""
    CANCELLED = auto()
    """The client wants no more of the open leg: `cut` it."""
    AWAITING_RESULTS = auto()
    """The turn waits for results of the client's tools: `take_result` or `cancel`."""


class DialogueState(msgspec.Struct, frozen=True, array_like=True):
    """A dialogue, written down."""

    settled: tuple[Message, ...]
    answer_at: int
    """Which of these is the first of the last answer."""
    results: tuple[tuple[str, str | None], ...] = ()
    """Of the calls that the client is to run, None while missing."""
    opening: tuple[Message, ...] = ()
    """What opened the leg that is still to be answered; empty when none is."""
    opened_by: str | None = None


@dataclass(slots=True)
class _Leg:
    """A leg whose outcome is not known; `messages` are at first those that opened it."""

    messages: list[Message]
    opened_by: str | None = None
    """The call whose result was the last one missing; None when the user's words opened it."""
    num_done: int = 0
    """How many of the messages stay even if the leg fails: a server tool has run."""
    said: list[str] = field(default_factory=list)
    """Text that is not in a message yet."""
    cancelled: bool = False
    num_opening: int = 0

    def __post_init__(self) -> None:
        """Nothing is answered yet."""
        self.num_opening = len(self.messages)

    def add(self, calls: tuple[ToolCall, ...] = ()) -> None:
        """Make a message of what was said and called."""
        text = "".join(self.said)
        self.said.clear()
        if text or calls:
            self.messages.append(Message(Role.ASSISTANT, text, calls))


class Dialogue:
    """The messages of one session and the state of its turn."""

    def __init__(self, history: Iterable[Message] = ()) -> None:
        self._settled = list(history)
        self._answer_at = len(self._settled)
        self._leg: _Leg | None = None
        self._results: dict[str, str | None] = {}
        """Of the calls that the client is to run, None while missing; kept through the leg they
        open, which may fail."""

    @classmethod
    def restored(cls, state: DialogueState) -> Self:
        """The dialogue that was written down; its open leg is to be answered from the start."""
        dialogue = cls(state.settled)
        dialogue._answer_at = state.answer_at
        dialogue._results = dict(state.results)
        if state.opening:
            dialogue._leg = _Leg(list(state.opening), state.opened_by)
        return dialogue

    @property
    def state(self) -> DialogueState:
        """What it would have to be restored from."""
        leg = self._leg
        return DialogueState(
            tuple(self._settled),
            self._answer_at,
            tuple(self._results.items()),
            tuple(leg.messages[: leg.num_opening]) if leg is not None else (),
            leg.opened_by if leg is not None else None,
        )

    @property
    def last_events(self) -> Iterator[TextDelta | ServerToolRun]:
        """What was said and done in the leg that was settled last."""
        answer = self._settled[self._answer_at :]
        results = {message.tool_call_id: message.content for message in answer}
        for message in answer:
            if message.role is Role.ASSISTANT and message.content:
                yield TextDelta(message.content)
            for call in message.tool_calls:
                if call.call_id in results:
                    yield ServerToolRun(call, results[call.call_id])

    @property
    def awaited_calls(self) -> tuple[ToolCall, ...]:
        """Calls whose results the client has not sent."""
        calls = self._settled[-1].tool_calls if self._settled else ()
        return tuple(call for call in calls if self._results.get(call.call_id, "") is None)

    @property
    def messages(self) -> tuple[Message, ...]:
        """The whole conversation, the open leg included."""
        return (*self._settled, *(self._leg.messages if self._leg is not None else ()))

    @property
    def phase(self) -> Phase:
        """Where it stands."""
        if self._leg is not None:
            return Phase.CANCELLED if self._leg.cancelled else Phase.ANSWERING
        return Phase.AWAITING_RESULTS if self._results else Phase.IDLE

    def ask(self, text: str) -> None:
        """The user said `text`: opens a leg. Raises InvalidRequest while a turn is under way."""
        match self.phase:
            case Phase.ANSWERING | Phase.CANCELLED:
                raise InvalidRequest(
                    "a turn is running; await its end or cancel it", param="user_message"
                )
            case Phase.AWAITING_RESULTS:
                missing = ", ".join(call.call_id for call in self.awaited_calls)
                raise InvalidRequest(
                    f"the turn waits for the results of {missing}; send them or cancel it",
                    param="user_message",
                )
        if not text:
            raise InvalidRequest("user_message.text is empty", param="user_message.text")
        self._leg = _Leg([Message(Role.USER, text)])

    def take_result(self, call_id: str, content: str) -> None:
        """The client ran a tool; opens a leg with the last missing result.

        A result that is sent again before that replaces the earlier one. Raises InvalidRequest
        for a call that is not waited for.
        """
        if self.phase is not Phase.AWAITING_RESULTS or call_id not in self._results:
            raise InvalidRequest(
                f"no call {call_id!r} waits for a result", param="tool_result.call_id"
            )
        self._results[call_id] = content
        if None not in self._results.values():
            self._leg = _Leg(self._result_messages(), opened_by=call_id)

    def note(self, event: TextDelta | ServerToolRun) -> None:
        """Part of the open leg's answer."""
        leg = self._open_leg()
        if isinstance(event, TextDelta):
            if event.is_acknowledgement:
                return
            leg.said.append(event.text)
            return
        leg.add((event.call,))
        leg.messages.append(Message(Role.TOOL, event.result, tool_call_id=event.call.call_id))
        leg.num_done = len(leg.messages)

    def finish(self, calls: tuple[ToolCall, ...]) -> None:
        """The open leg was answered; with `calls`, the turn now waits for their results."""
        self._open_leg().add(calls)
        self._settle()
        self._results = {call.call_id: None for call in calls}

    def cancel(self) -> None:
        """The client gives the turn up: an open leg is to be `cut`, missing results never come.

        Without a turn nothing happens.
        """
        if self._leg is not None:
            self._leg.cancelled = True
        else:
            self._settled += self._result_messages()
            self._results = {}

    def cut(self) -> None:
        """The open leg ends early: what was said and done so far stays."""
        self._open_leg().add()
        self._settle()
        self._results = {}

    def undo(self) -> None:
        """The open leg failed: as before the message that opened it.

        What server tools did stays, and with it what came before them. A cancelled leg is cut.
        """
        leg = self._open_leg()
        if leg.cancelled:
            self.cut()
            return
        if leg.num_done:
            self._results = {}
        elif leg.opened_by is not None:
            self._results[leg.opened_by] = None
        del leg.messages[leg.num_done :]
        self._settle()

    def _open_leg(self) -> _Leg:
        if self._leg is None:
            raise RuntimeError("no leg is open")
        return self._leg

    def _result_messages(self) -> list[Message]:
        return [
            Message(Role.TOOL, GIVEN_UP if content is None else content, tool_call_id=call_id)
            for call_id, content in self._results.items()
        ]

    def _settle(self) -> None:
        leg = self._open_leg()
        self._answer_at = len(self._settled) + min(leg.num_opening, len(leg.messages))
        self._settled += leg.messages
        self._leg = None
