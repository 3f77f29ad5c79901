"""The items of a session's conversation, in order, and the messages they are for a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import msgspec

from gateway.core import turn as core
from gateway.core.dialogue import GIVEN_UP
from gateway.core.errors import InvalidRequest
from gateway.core.realtime_errors import ItemNotFound
from gateway.core.turn import Role, ToolCall
from gateway.session import phrases
from gateway.wire.realtime.items import (
    FunctionCall,
    FunctionCallOutput,
    InputAudio,
    Item,
    Message,
    OutputAudio,
    ServerCall,
    fresh_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.wire.realtime.items import ClientItem

_MAX_ITEMS: Final = 4096
_MAX_CHARS: Final = 1 << 20
"""Of all items together: more than any model here reads."""
_ROOT = "root"
_object_decoder = msgspec.json.Decoder(dict[str, object])


class Conversation:
    """Items in order. Asides among them were said, but no model is shown them."""

    def __init__(
        self, conversation_id: str = "", on_change: Callable[[], None] | None = None
    ) -> None:
        self.id = conversation_id or fresh_id("conv")
        self._on_change = on_change
        self._items: dict[str, Item] = {}
        self._asides: set[str] = set()
        self._num_chars = 0

    @classmethod
    def restored(
        cls,
        conversation_id: str,
        items: Iterable[Item],
        asides: Iterable[str],
        on_change: Callable[[], None],
    ) -> Self:
        """One that was written down. What nobody understood the words of was not said."""
        conversation = cls(conversation_id, on_change)
        for item in items:
            if not _is_wordless(item):
                conversation.add(item)
        conversation._asides = conversation._items.keys() & asides
        return conversation

    @property
    def items(self) -> tuple[Item, ...]:
        """All of them."""
        return tuple(self._items.values())

    @property
    def asides(self) -> tuple[str, ...]:
        """Those that no model is shown."""
        return tuple(item_id for item_id in self._items if item_id in self._asides)

    def changed(self) -> None:
        """Something is to be written down: an item, or that one has been heard."""
        if self._on_change is not None:
            self._on_change()

    @property
    def last_id(self) -> str | None:
        """The id of the last item."""
        return next(reversed(self._items), None)

    def get(self, item_id: str, *, param: str = "item_id") -> Item:
        """An item. Raises ItemNotFound."""
        if item_id not in self._items:
            raise ItemNotFound(item_id, param=param)
        return self._items[item_id]

    def previous_id(self, item_id: str) -> str | None:
        """The item before; None for the first."""
        before = None
        for other in self._items:
            if other == item_id:
                break
            before = other
        return before

    def create(self, given: ClientItem, previous_item_id: str | None = None) -> Item:
        """Put a client's item in, with ids, and return it.

        Raises InvalidRequest for an item that no model could be shown, ItemNotFound.
        """
        if previous_item_id not in (None, _ROOT):
            self.get(previous_item_id or "", param="previous_item_id")
        item = checked(given)
        if isinstance(item, FunctionCallOutput) and not self._has_call(item.call_id):
            raise InvalidRequest(
                f"no call {item.call_id!r} is in the conversation", param="item.call_id"
            )
        self.add(item)
        if previous_item_id is not None:
            self._move_behind(_id_of(item), None if previous_item_id == _ROOT else previous_item_id)
            self.changed()
        return item

    def add(self, item: Item, *, is_aside: bool = False) -> str | None:
        """Append an item; the id of the one before. Raises InvalidRequest when there are too many.

        An aside is shown to clients only.
        """
        item_id, before = _id_of(item), self.last_id
        if item_id in self._items:
            raise InvalidRequest(f"the conversation has an item {item_id!r}", param="item.id")
        num_chars = self._num_chars + _num_chars(item)
        if len(self._items) >= _MAX_ITEMS or num_chars > _MAX_CHARS:
            raise InvalidRequest(
                f"a conversation holds {_MAX_ITEMS} items and {_MAX_CHARS} characters; delete some",
                param="item",
            )
        self._items[item_id] = item
        self._num_chars = num_chars
        if is_aside:
            self._asides.add(item_id)
        self.changed()
        return before

    def replace(self, item: Item) -> None:
        """The item of the same id has grown or shrunk; nothing, where it was deleted meanwhile."""
        item_id = _id_of(item)
        if item_id in self._items:
            self._num_chars += _num_chars(item) - _num_chars(self._items[item_id])
            self._items[item_id] = item
            self.changed()

    def delete(self, item_id: str) -> None:
        """Take an item out. Raises ItemNotFound."""
        self._num_chars -= _num_chars(self.get(item_id))
        del self._items[item_id]
        self._asides.discard(item_id)
        self.changed()

    def truncate(self, item_id: str, content_index: int, heard: str) -> None:
        """Of a spoken part the caller has heard only this.

        Raises ItemNotFound, and InvalidRequest for what is no spoken part of the assistant's.
        """
        item = self.get(item_id)
        parts = item.content if isinstance(item, Message) and item.role == "assistant" else ()
        if content_index >= len(parts) or not isinstance(parts[content_index], OutputAudio):
            raise InvalidRequest(
                "only a spoken part of the assistant's can be truncated", param="content_index"
            )
        content = tuple(
            OutputAudio(heard) if index == content_index else part
            for index, part in enumerate(parts)
        )
        self.replace(msgspec.structs.replace(item, content=content))

    def heard_only(self, item_id: str, heard: str) -> None:
        """Of a message that was spoken the caller has heard only this, wherever it stands now."""
        item = self._items.get(item_id)
        if isinstance(item, Message) and item.content:
            self.truncate(item_id, 0, heard)

    def set_aside(self, item_id: str) -> None:
        """Show an item to clients only, from now on."""
        if item_id in self._items:
            self._asides.add(item_id)
            self.changed()

    @property
    def open_question(self) -> str:
        """What the assistant has asked and nobody has answered yet; empty: nothing.

        The notice is no question: it is not given twice.
        """
        last = next(reversed(self.messages()), None)
        if last is None or last.role is not Role.ASSISTANT or last.content == phrases.AI_NOTICE:
            return ""
        return last.content if "?" in last.content else ""

    @property
    def is_spoken_last(self) -> bool:
        """Whether the caller has said the last word aloud."""
        shown = [item for key, item in self._items.items() if key not in self._asides]
        last = shown[-1] if shown else None
        parts = last.content if isinstance(last, Message) else ()
        return any(isinstance(part, InputAudio) and part.transcript for part in parts)

    def again(self, excuse: str) -> str:
        """What has the caller speak again: the question that is open, or a request to repeat."""
        return f"{excuse} {self.open_question or phrases.ONCE_MORE}"

    def messages(self) -> tuple[core.Message, ...]:
        """The conversation as a model is shown it."""
        shown = (item for key, item in self._items.items() if key not in self._asides)
        return messages_of(shown)

    def _has_call(self, call_id: str) -> bool:
        items = self._items.values()
        return any(isinstance(item, FunctionCall) and item.call_id == call_id for item in items)

    def _move_behind(self, item_id: str, previous_id: str | None) -> None:
        item = self._items.pop(item_id)
        others = list(self._items.items())
        at = 0 if previous_id is None else 1 + list(self._items).index(previous_id)
        self._items = dict([*others[:at], (item_id, item), *others[at:]])


def checked(given: ClientItem) -> ClientItem:
    """A client's item with the ids it lacks. Raises InvalidRequest for what cannot be used."""
    item_id = given.id or fresh_id("item")
    match given:
        case Message():
            for index, part in enumerate(given.content):
                if isinstance(part, InputAudio) and part.transcript is None:
                    raise InvalidRequest(
                        f"item.content[{index}].transcript: sound is heard by "
                        "input_audio_buffer.append; here it needs its transcript",
                        param=f"item.content[{index}].transcript",
                    )
        case FunctionCall():
            _check_object(given.arguments)
            call_id = given.call_id or fresh_id("call")
            return msgspec.structs.replace(given, id=item_id, call_id=call_id)
    return msgspec.structs.replace(given, id=item_id)


def messages_of(items: Iterable[Item]) -> tuple[core.Message, ...]:
    """Items as messages: what was said and called in one go is one message.

    A call without a result that the conversation has gone past was given up; half a call is none.
    """
    messages: list[core.Message] = []
    open_calls: list[str] = []
    for item in items:
        if isinstance(item, Message):
            _give_up(messages, open_calls)
            if item.text or item.role == "user":
                messages.append(core.Message(Role(item.role), item.text))
        elif isinstance(item, FunctionCall):
            if item.status != "completed":
                continue
            call = ToolCall(item.call_id or "", item.name, item.arguments)
            _call(messages, call, joins=bool(open_calls) or _is_said(messages))
            open_calls.append(call.call_id)
        elif isinstance(item, FunctionCallOutput):
            _result(messages, open_calls, item)
        else:
            _call(messages, ToolCall(item.id, item.name, item.arguments), joins=_is_said(messages))
            messages.append(core.Message(Role.TOOL, item.output or "", tool_call_id=item.id))
    _give_up(messages, open_calls)
    return tuple(messages)


def _is_said(messages: list[core.Message]) -> bool:
    return bool(messages) and messages[-1].role is Role.ASSISTANT


def _call(messages: list[core.Message], call: ToolCall, *, joins: bool) -> None:
    at = next((i for i in reversed(range(len(messages))) if messages[i].role is Role.ASSISTANT), -1)
    if not joins or at < 0:
        messages.append(core.Message(Role.ASSISTANT, "", (call,)))
        return
    said = messages[at]
    messages[at] = msgspec.structs.replace(said, tool_calls=(*said.tool_calls, call))


def _result(
    messages: list[core.Message], open_calls: list[str], output: FunctionCallOutput
) -> None:
    """Answer a call, also one that was given up; nothing where its call was deleted."""
    message = core.Message(Role.TOOL, output.output, tool_call_id=output.call_id)
    if output.call_id in open_calls:
        open_calls.remove(output.call_id)
        messages.append(message)
        return
    for at, earlier in enumerate(messages):
        if earlier.tool_call_id == output.call_id:
            messages[at] = message


def _give_up(messages: list[core.Message], open_calls: list[str]) -> None:
    messages += [core.Message(Role.TOOL, GIVEN_UP, tool_call_id=call) for call in open_calls]
    open_calls.clear()


def _check_object(arguments: str) -> None:
    try:
        _object_decoder.decode(arguments)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidRequest(
            f"item.arguments is not a JSON object: {error}", param="item.arguments"
        ) from None


def _id_of(item: Item) -> str:
    if item.id is None:
        raise RuntimeError("an item without an id")
    return item.id


def _is_wordless(item: Item) -> bool:
    parts = item.content if isinstance(item, Message) else ()
    return any(isinstance(part, InputAudio) and part.transcript is None for part in parts)


def _num_chars(item: Item) -> int:
    match item:
        case Message():
            return len(item.text)
        case FunctionCall():
            return len(item.arguments)
        case FunctionCallOutput():
            return len(item.output)
        case ServerCall():
            return len(item.arguments) + len(item.output or "")
