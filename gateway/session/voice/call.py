"""A call: its line, its ears and its mouth, and the one stream of what happens on it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from gateway.core.voice_line import CallerSound, LineChange, LineState, PlayBegan, PlayEnded
from gateway.runtime.inbox import Inbox
from gateway.session.voice.listener import Listener
from gateway.session.voice.speaker import Speaker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gateway.core.completeness import Endings
    from gateway.core.turn_settings import TurnSettings
    from gateway.core.voice_line import VoiceLine
    from gateway.session.voice.events import CallEvent
    from gateway.speech.port import Recogniser, Synthesiser

_MAX_NUM_UNREAD = 2000
"""Events nobody has read: some minutes of a talkative caller."""


class VoiceCall:
    """One call, from its first sound until its line is closed.

    `run` does the work. Whoever runs the conversation reads `events`, speaks through `speaker` and
    sets or takes turns through `listener`. Events that are left unread end the call.
    """

    def __init__(
        self,
        line: VoiceLine,
        recogniser: Recogniser,
        synthesiser: Synthesiser,
        settings: TurnSettings,
        *,
        endings: Endings | None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line = line
        # Ears and mouth have what they tell to and not the call, which is thus gone with its last
        # user and does not wait for the garbage collector with all the sound it has.
        self._events = _Events(line)
        self._tell = self._events.tell
        self.speaker = Speaker(line, synthesiser, tell=self._tell, monotonic=monotonic)
        """Its mouth."""
        self.listener = Listener(
            recogniser,
            self.speaker,
            settings,
            endings=endings,
            tell=self._tell,
            monotonic=monotonic,
        )
        """Its ears."""

    async def events(self) -> AsyncIterator[CallEvent]:
        """What happens, in order, up to the end of the line. Iterated once."""
        while True:
            event = await self._events.next()
            yield event
            if isinstance(event, LineChange) and event.state is LineState.CLOSED:
                return

    async def run(self) -> None:
        """Hear and speak until the line is closed."""
        closed: LineChange | None = None
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(self.speaker.run())
            listening = tasks.create_task(self.listener.run())
            async for event in self._line.events():
                match event:
                    case CallerSound():
                        self.listener.hear(event)
                    case PlayBegan() | PlayEnded():
                        self.speaker.played(event)
                        self.listener.agent_changed()
                    case LineChange(state=LineState.CLOSED):
                        closed = event
                    case _:
                        self._tell(event)
            speaking.cancel()
            listening.cancel()
        self._tell(closed or LineChange(LineState.CLOSED))


class _Events:
    """What happens on a line, for its one reader; beyond `_MAX_NUM_UNREAD` the line ends."""

    def __init__(self, line: VoiceLine) -> None:
        self._line = line
        self._inbox: Inbox[CallEvent] = Inbox()
        self._num_unread = 0

    def tell(self, event: CallEvent) -> None:
        self._num_unread += 1
        if self._num_unread == _MAX_NUM_UNREAD:
            self._line.close("nobody listens to the call")
        self._inbox.put(event)

    async def next(self) -> CallEvent:
        event = await self._inbox.next()
        self._num_unread -= 1
        return event
