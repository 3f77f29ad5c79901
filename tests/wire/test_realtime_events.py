"""Realtime events: each one fits the types of `openai`, and each of the client's is understood."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.realtime import RealtimeServerEvent
from openai.types.realtime.realtime_client_event import RealtimeClientEvent
from pydantic import TypeAdapter

from gateway.core.errors import InvalidRequest
from gateway.wire.realtime import response_events as out
from gateway.wire.realtime import server_events as said
from gateway.wire.realtime.client_events import decode_event, decode_head
from gateway.wire.realtime.items import (
    FunctionCall,
    FunctionCallOutput,
    InputAudio,
    InputText,
    Message,
    OutputAudio,
    ServerCall,
)
from gateway.wire.realtime.session_config import PcmFormat, SessionConfig, updated

if TYPE_CHECKING:
    from collections.abc import Iterator

_server_event: TypeAdapter[Any] = TypeAdapter(RealtimeServerEvent)
USER = Message(id="u", role="user", content=(InputText("hi"), InputAudio("there"), InputAudio()))
AGENT = Message(id="a", role="assistant", content=(OutputAudio("hello"),))
CALL = FunctionCall(id="f", call_id="c", name="pay", arguments="{}")
RESULT = FunctionCallOutput(id="o", call_id="c", output="{}")
RUN = ServerCall(id="m", name="get_balance", arguments="{}", output="{}")
PLACE: dict[str, Any] = {"response_id": "r", "output_index": 0}
OF_ITEM: dict[str, Any] = {**PLACE, "item_id": "a"}
RESPONSE = out.Response(
    id="r",
    status="failed",
    output_modalities=("audio",),
    status_details=out.StatusDetails(type="failed", error=out.StatusError("t", "c", "m")),
    output=(AGENT, CALL, RUN),
    metadata={"a": "b"},
    audio=out.ResponseAudio(out.AudioOutputFacts(PcmFormat(), "slt")),
    usage=out.ResponseUsage(1, 2, 3, out.InputTokens(1, 0), out.TextTokens(2)),
)

SERVER_EVENTS: list[said.AnyServerEvent] = [
    said.ErrorEvent(error=said.ErrorFacts(type="t", message="m")),
    said.ConversationCreated(conversation=said.ConversationFacts("c")),
    *(said.ItemAdded(item=item, previous_item_id=None) for item in (USER, AGENT, CALL, RESULT)),
    said.ItemAdded(item=RUN, previous_item_id="u"),
    said.ItemDone(item=USER, previous_item_id="x"),
    said.ItemDeleted(item_id="u"),
    said.ItemRetrieved(item=AGENT),
    said.ItemTruncated(item_id="a", content_index=0, audio_end_ms=5),
    said.TranscriptionDelta(item_id="u", delta="h"),
    said.TranscriptionCompleted(item_id="u", transcript="hi", usage=said.DurationUsage(0.5)),
    said.TranscriptionFailed(item_id="u", error=said.TranscriptionFault("t", "c", "m")),
    said.SpeechStarted(item_id="u", audio_start_ms=1),
    said.SpeechStopped(item_id="u", audio_end_ms=2),
    said.AudioCommitted(item_id="u", previous_item_id=None),
    said.AudioCleared(),
    said.TimeoutTriggered(item_id="u", audio_start_ms=1, audio_end_ms=2),
    said.DtmfReceived(event="5", received_at=1),
    said.RateLimitsUpdated(rate_limits=(said.RateLimit("tokens", 9, 8, 1.5),)),
    out.OutputStarted(response_id="r"),
    out.OutputStopped(response_id="r"),
    out.OutputCleared(response_id="r"),
    out.ResponseCreated(response=RESPONSE),
    out.ResponseDone(response=RESPONSE),
    out.OutputItemAdded(item=AGENT, **PLACE),
    out.OutputItemDone(item=CALL, **PLACE),
    out.PartAdded(part=out.TextPart("x"), **OF_ITEM),
    out.PartDone(part=out.AudioPart("x"), **OF_ITEM),
    out.OutputTextDelta(delta="x", **OF_ITEM),
    out.OutputTextDone(text="x", **OF_ITEM),
    out.TranscriptDelta(delta="x", **OF_ITEM),
    out.TranscriptDone(transcript="x", **OF_ITEM),
    out.OutputAudioDelta(delta=b"xyz", **OF_ITEM),
    out.OutputAudioDone(**OF_ITEM),
    out.ArgumentsDelta(call_id="c", delta="{", **OF_ITEM),
    out.ArgumentsDone(call_id="c", name="pay", arguments="{}", **OF_ITEM),
    out.ServerCallArguments(arguments="{}", **OF_ITEM),
    out.ServerCallCompleted(item_id="m", output_index=0),
]


def kinds(event: type[said.ServerEvent]) -> Iterator[type[said.ServerEvent]]:
    """The events that a client may get."""
    for kind in event.__subclasses__():
        if kind.__name__.startswith("_"):
            yield from kinds(kind)
        else:
            yield kind


@pytest.mark.parametrize("event", SERVER_EVENTS, ids=lambda event: type(event).__name__)
def test_every_server_event_fits_the_types_of_the_client(event: said.AnyServerEvent) -> None:
    text = said.encode_event(event)
    kind = json.loads(text)["type"]
    read = _server_event.validate_json(text)
    assert read.type == kind


def test_no_server_event_is_left_out_here() -> None:
    of_sessions = {said.SessionCreated, said.SessionUpdated}  # of these the sessions' tests
    assert set(kinds(said.ServerEvent)) - of_sessions <= {type(event) for event in SERVER_EVENTS}


CLIENT_EVENTS: dict[str, dict[str, Any]] = {
    "session.update": {"session": {"type": "realtime"}},
    "input_audio_buffer.append": {"audio": "AAAA"},
    "input_audio_buffer.commit": {},
    "input_audio_buffer.clear": {},
    "output_audio_buffer.clear": {},
    "conversation.item.create": {
        "item": {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "hi"}],
        }
    },
    "conversation.item.delete": {"item_id": "a"},
    "conversation.item.retrieve": {"item_id": "a"},
    "conversation.item.truncate": {"item_id": "a", "content_index": 0, "audio_end_ms": 5},
    "response.create": {"response": {"conversation": "none", "metadata": {"a": "b"}}},
    "response.cancel": {"response_id": "r"},
}


def test_every_event_of_the_client_is_known() -> None:
    of_client = get_args(get_args(RealtimeClientEvent)[0])
    names = {get_args(one.model_fields["type"].annotation)[0] for one in of_client}
    assert names == set(CLIENT_EVENTS)


@pytest.mark.parametrize("kind", CLIENT_EVENTS)
def test_every_event_of_the_client_is_understood(kind: str) -> None:
    text = json.dumps({"type": kind, "event_id": "e", "new_field": 1, **CLIENT_EVENTS[kind]})
    event = decode_event(text, decode_head(text))
    assert event.event_id == "e"


@given(st.sampled_from(sorted(CLIENT_EVENTS)), st.text() | st.integers() | st.none())
def test_wrong_fields_are_named_or_understood(kind: str, value: object) -> None:
    for field in CLIENT_EVENTS[kind]:
        text = json.dumps({"type": kind, **CLIENT_EVENTS[kind], field: value})
        assert (_param_of_fault(text) or field).startswith(field)


def _param_of_fault(text: str) -> str | None:
    try:
        decode_event(text, decode_head(text))
    except InvalidRequest as error:
        return error.param or "no field"
    return None


def test_nested_settings_are_changed_one_by_one() -> None:
    changed = updated(SessionConfig(), {"audio": {"output": {"voice": "slt"}}})
    changed = updated(changed, {"audio": {"input": {"turn_detection": None}}})
    assert changed.audio.output.voice == "slt"
    assert changed.audio.input.turn_detection is None
    same = updated(changed, {"audio": {"output": {"voice": None}}, "instructions": None})
    assert same == changed
