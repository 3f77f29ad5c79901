"""The spoken side of a session: its voice, from when it is first needed, and what is done to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.call_errors import VoiceUnavailable
from gateway.core.errors import InvalidRequest
from gateway.core.realtime_errors import AudioBufferEmpty, VoiceMissing
from gateway.edge.realtime.call_voice import CallVoice
from gateway.edge.realtime.error_events import error_event
from gateway.edge.realtime.heard import Heard
from gateway.edge.realtime.turn_taking import BYTES_PER_S, lane_format, turn_settings
from gateway.wire.realtime.response_events import OutputAudioDelta
from gateway.wire.realtime.server_events import AudioCleared

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from gateway.core.stages import StageClock
    from gateway.edge.realtime.answer_items import Send
    from gateway.edge.realtime.call_channel import OngoingCall
    from gateway.edge.realtime.conversation import Conversation
    from gateway.edge.realtime.heard import Answering
    from gateway.edge.realtime.session_terms import SessionTerms
    from gateway.edge.realtime.voices import Voices
    from gateway.media.frames import LaneFormat
    from gateway.media.lines import CallLine, LaneLine
    from gateway.wire.realtime.session_config import SessionConfig


class SpokenSide:
    """Ears and mouth of one session. `call` is its line and channel; without, a lane is opened."""

    def __init__(
        self,
        send: Send,
        session: Answering,
        tasks: asyncio.TaskGroup,
        *,
        voices: Voices,
        call: OngoingCall | None,
        conversation: Conversation,
        terms: SessionTerms,
        max_call_s: float,
    ) -> None:
        self._send = send
        self._session = session
        self._tasks = tasks
        self._voices = voices
        self._call = call
        self._conversation = conversation
        self._terms = terms
        self._max_call_s = max_call_s
        self._lane: LaneLine | None = None
        self._format: LaneFormat | None = None
        self._fed_s = 0.0
        """How much sound has gone into the lane."""
        self._voice: CallVoice | None = None
        self._heard: Heard | None = None
        self._work: list[asyncio.Task[None]] = []

    async def begin(self) -> CallVoice:
        """The voice; begins it. Raises VoiceMissing, OfferRefused, InvalidRequest."""
        if self._voice is not None:
            return self._voice
        voices = self._voices
        if voices.missing:
            raise VoiceMissing(voices.missing)
        line: CallLine | LaneLine
        if self._call is not None:
            line = self._call.line
        else:
            self._format = lane_format(self._terms.config)
            line = self._lane = await voices.lines.open_lane(self._format)
        settings = turn_settings(self._terms.config, max_call_s=self._max_call_s)
        voice = self._voice = CallVoice(line, voices, settings, is_lane=self._lane is not None)
        self._heard = Heard(
            self._send,
            self._session,
            voice,
            conversation=self._conversation,
            terms=self._terms,
            channel=None if self._call is None else self._call.channel,
        )
        self._run(voice.run())
        if self._lane is not None:
            passing_on = self._run(self._pass_on(self._lane, voice))
            self._run(self._follow_lane(self._heard, passing_on))
        else:
            self._run(self._heard.follow())
        return voice

    def check(self, config: SessionConfig) -> None:
        """Refuse a configuration that the voice, once begun, cannot take. Raises InvalidRequest."""
        if self._call is None:
            format_ = lane_format(config)
            if self._lane is not None and format_ is not self._format:
                raise InvalidRequest(
                    "the format cannot change once sound has flowed",
                    param="session.audio.input.format",
                )

    def configure(self) -> None:
        """Take turns as the session is set now."""
        if self._voice is not None:
            self._voice.listener.settings = turn_settings(
                self._terms.config, max_call_s=self._max_call_s
            )

    async def append(self, sound: bytes) -> None:
        """The caller's next sound. Raises what `begin` raises, InvalidRequest in a call."""
        if self._call is not None:
            raise InvalidRequest("the sound of a call comes by its own connection", param="audio")
        await self.begin()
        if self._lane is not None and self._format is not None:
            self._lane.feed(sound)
            self._fed_s += len(sound) / BYTES_PER_S[self._format]

    async def commit(self) -> None:
        """The caller's turn is over. Raises AudioBufferEmpty."""
        voice = await self._heard_up_to_now()
        if not voice.listener.commit():
            raise AudioBufferEmpty
        if self._heard is not None:
            self._heard.turn_ended()

    async def clear(self) -> None:
        """Forget what was heard since the last turn."""
        voice = await self._heard_up_to_now()
        voice.listener.clear()
        await self._send(AudioCleared())

    def hush(self) -> None:
        """Stop speaking."""
        if self._voice is not None:
            self._voice.speaker.hush()

    async def truncate(self, item_id: str, content_index: int, audio_end_s: float) -> None:
        """The caller has heard only so much of an item. Raises ItemNotFound, InvalidRequest."""
        self._conversation.get(item_id)
        if self._heard is None:
            raise InvalidRequest("nothing was spoken in this session", param="item_id")
        await self._heard.truncate(item_id, content_index, audio_end_s)

    def cut(self, item_id: str) -> None:
        """Leave of an item that is whole now what the caller has heard."""
        if self._heard is not None:
            self._heard.cut(item_id)

    @property
    def unheard(self) -> tuple[str, ...]:
        """Messages of a call that its caller has not heard to their end. What a client of a lane
        has got, it has."""
        return () if self._call is None or self._voice is None else self._voice.unheard

    async def settled(self) -> StageClock | None:
        """Return once what was said has its words; the clock of a turn that was not answered."""
        return None if self._heard is None else await self._heard.settled()

    def end(self) -> None:
        """Close the line: the session is over."""
        if self._voice is not None:
            self._voice.close("the session has ended")
        for work in self._work:
            work.cancel()

    async def _heard_up_to_now(self) -> CallVoice:
        """The voice, when it has heard what the client has sent: both go different ways."""
        voice = await self.begin()
        if self._lane is not None:
            await voice.heard_until(self._fed_s)
        return voice

    async def _follow_lane(self, heard: Heard, passing_on: asyncio.Task[None]) -> None:
        """Tell what is heard; a lane that was lost leaves the session as it was before it."""
        await heard.follow()
        passing_on.cancel()
        self._voice = self._heard = self._lane = None
        self._fed_s = 0.0
        await self._send(error_event(VoiceUnavailable("the sound was lost; say it again")))

    async def _pass_on(self, lane: LaneLine, voice: CallVoice) -> None:
        """What is spoken goes to the client."""
        while True:
            piece = await lane.sounds.next()
            saying = voice.sound_came(piece.utterance, piece.sound)
            if saying is not None and piece.sound:
                await self._send(
                    OutputAudioDelta(
                        response_id=saying.response_id,
                        item_id=saying.item_id,
                        output_index=saying.output_index,
                        delta=piece.sound,
                    )
                )

    def _run(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(work)
        self._work.append(task)
        return task
