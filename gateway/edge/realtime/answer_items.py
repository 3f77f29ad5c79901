"""The output items of one response: as events, and in the conversation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from gateway.wire.realtime import response_events as out
from gateway.wire.realtime.items import (
    FunctionCall,
    Message,
    OutputAudio,
    OutputText,
    ServerCall,
    fresh_id,
)
from gateway.wire.realtime.server_events import ItemAdded, ItemDone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway.core.turn import ServerToolRun, ToolCall, ToolCallDelta
    from gateway.edge.realtime.conversation import Conversation
    from gateway.wire.realtime.items import Status
    from gateway.wire.realtime.server_events import AnyServerEvent

    Send = Callable[[AnyServerEvent], Awaitable[None]]
    OutputItem = Message | FunctionCall | ServerCall

_Item = TypeVar("_Item", Message, FunctionCall)


class Mouth(Protocol):
    """Speaks the messages of one response, one after the other."""

    def begin(self, item_id: str, output_index: int, *, is_aside: bool) -> None:
        """Begin a message; an aside is no part of the answer."""
        ...

    def say(self, text: str) -> None:
        """More of it, as it is written."""
        ...

    async def end(self) -> None:
        """Nothing more of it; returns once all of it is sound, which may be heard later."""
        ...

    async def first_heard(self) -> None:
        """Return once the caller hears the answer, or will not."""
        ...

    def hush(self) -> None:
        """Stop speaking."""
        ...


@dataclass(slots=True)
class _Open(Generic[_Item]):
    """An item that still grows."""

    item: _Item
    output_index: int
    texts: list[str] = field(default_factory=list)
    """Of its one part, or of its arguments."""

    @property
    def item_id(self) -> str:
        return self.item.id or ""

    @property
    def text(self) -> str:
        return "".join(self.texts)


class AnswerItems:
    """Writes a response's items one after the other; calls may grow beside each other.

    `conversation` None: the response stands beside it. With a `mouth`, messages are spoken, and one
    is whole when all of it is sound.
    """

    def __init__(
        self,
        send: Send,
        response_id: str,
        *,
        conversation: Conversation | None,
        mouth: Mouth | None,
    ) -> None:
        self._send = send
        self._response_id = response_id
        self._conversation = conversation
        self._mouth = mouth
        self._items: list[OutputItem] = []
        self._message: _Open[Message] | None = None
        self._calls: dict[int, _Open[FunctionCall]] = {}

    @property
    def items(self) -> tuple[OutputItem, ...]:
        """As far as they are."""
        return tuple(self._items)

    async def say(self, text: str) -> None:
        """More of a message."""
        growing = self._message or await self._begin_message()
        growing.texts.append(text)
        if self._mouth is not None:
            self._mouth.say(text)
        delta = out.OutputTextDelta if self._mouth is None else out.TranscriptDelta
        await self._send(delta(delta=text, **self._place(growing)))

    async def acknowledge(self, text: str) -> None:
        """Something said while the caller waits: a message that is no part of the answer."""
        await self._end_message("completed")
        self._message = await self._begin_message(is_aside=True)
        await self.say(text)
        await self._end_message("completed")

    async def call(self, delta: ToolCallDelta) -> None:
        """More of a call that the client is to run."""
        await self._end_message("completed")
        growing = self._calls.get(delta.index)
        if growing is None:
            call = FunctionCall(
                id=fresh_id("item"),
                call_id=delta.call_id,
                name=delta.name,
                arguments="",
                status="in_progress",
            )
            growing = self._calls[delta.index] = await self._begin(call)
        if delta.arguments:
            growing.texts.append(delta.arguments)
            await self._send(
                out.ArgumentsDelta(
                    call_id=_call_id(growing), delta=delta.arguments, **self._of_item(growing)
                )
            )

    async def ran(self, run: ServerToolRun) -> None:
        """The server ran one of its tools."""
        await self._end_message("completed")
        call = ServerCall(id=run.call.call_id, name=run.call.name, arguments=run.call.arguments)
        index = len(self._items)
        await self._add(call, index)
        await self._send(
            out.ServerCallArguments(
                response_id=self._response_id,
                output_index=index,
                item_id=call.id,
                arguments=call.arguments,
            )
        )
        await self._send(out.ServerCallCompleted(item_id=call.id, output_index=index))
        await self._done(msgspec.structs.replace(call, output=run.result), index)

    async def finish(self, calls: Sequence[ToolCall]) -> None:
        """The answer is whole. `calls` are to be run; a call that was begun beside them is not."""
        await self._end_message("completed")
        wanted = {call.call_id: call for call in calls}
        for growing in self._calls.values():
            call = wanted.get(_call_id(growing))
            await self._end_call(growing, call.arguments if call else None)
        self._calls.clear()

    async def break_off(self) -> None:
        """The answer ends where it is."""
        await self._end_message("incomplete")
        for growing in self._calls.values():
            await self._end_call(growing, None)
        self._calls.clear()

    async def _begin_message(self, *, is_aside: bool = False) -> _Open[Message]:
        message = Message(id=fresh_id("item"), role="assistant", content=(), status="in_progress")
        self._message = growing = await self._begin(message, is_aside=is_aside)
        part = out.TextPart("") if self._mouth is None else out.AudioPart("")
        await self._send(out.PartAdded(part=part, **self._place(growing)))
        if self._mouth is not None:
            self._mouth.begin(growing.item_id, growing.output_index, is_aside=is_aside)
        return growing

    async def _end_message(self, status: Status) -> None:
        growing = self._message
        if growing is None:
            return
        if self._mouth is not None and status == "completed":
            await self._mouth.end()  # cut off here, the message is still to be broken off
        self._message = None
        text, place = growing.text, self._place(growing)
        if self._mouth is None:
            await self._send(out.OutputTextDone(text=text, **place))
        else:
            await self._send(out.OutputAudioDone(**place))
            await self._send(out.TranscriptDone(transcript=text, **place))
        part = out.TextPart(text) if self._mouth is None else out.AudioPart(text)
        await self._send(out.PartDone(part=part, **place))
        content = OutputText(text) if self._mouth is None else OutputAudio(text)
        whole = msgspec.structs.replace(growing.item, content=(content,), status=status)
        await self._done(whole, growing.output_index)

    async def _end_call(self, growing: _Open[FunctionCall], arguments: str | None) -> None:
        """`arguments` None: it was cut off, and nobody is to run it."""
        call = growing.item
        if arguments is None:
            cut = msgspec.structs.replace(call, arguments=growing.text, status="incomplete")
            await self._done(cut, growing.output_index)
            return
        whole = msgspec.structs.replace(call, arguments=arguments, status="completed")
        await self._send(
            out.ArgumentsDone(
                call_id=_call_id(growing),
                name=whole.name,
                arguments=arguments,
                **self._of_item(growing),
            )
        )
        await self._done(whole, growing.output_index)

    async def _begin(self, item: _Item, *, is_aside: bool = False) -> _Open[_Item]:
        growing = _Open(item, len(self._items))
        await self._add(item, growing.output_index, is_aside=is_aside)
        return growing

    async def _add(self, item: OutputItem, index: int, *, is_aside: bool = False) -> None:
        self._items.append(item)
        before = None
        if self._conversation is not None:
            before = self._conversation.add(item, is_aside=is_aside)
        await self._send(
            out.OutputItemAdded(item=item, response_id=self._response_id, output_index=index)
        )
        if self._conversation is not None:
            await self._send(ItemAdded(item=item, previous_item_id=before))

    async def _done(self, item: OutputItem, index: int) -> None:
        if self._conversation is not None:
            self._conversation.replace(item)
            before = self._conversation.previous_id(item.id or "")
            await self._send(ItemDone(item=item, previous_item_id=before))
        self._items[index] = item
        await self._send(
            out.OutputItemDone(item=item, response_id=self._response_id, output_index=index)
        )

    def _of_item(self, growing: _Open[_Item]) -> dict[str, Any]:
        return {
            "response_id": self._response_id,
            "output_index": growing.output_index,
            "item_id": growing.item_id,
        }

    def _place(self, growing: _Open[_Item]) -> dict[str, Any]:
        return {**self._of_item(growing), "content_index": 0}


def _call_id(growing: _Open[FunctionCall]) -> str:
    return growing.item.call_id or ""
