"""The engine's thread: does what the site asks for, one piece after the other.

Whoever reads the socket only queues work and takes keys off the list of what is wanted, so that a
cancellation counts in the middle of a long clause.
"""

from __future__ import annotations

from queue import SimpleQueue
from typing import TYPE_CHECKING

from gateway.core.spoken_text import spoken
from gateway.speech.frames import Ask, Drop, Open, Over, Piece, Result, Say, Sound
from gateway.speech.worker.port import EngineFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.speech.frames import SiteFrame, WorkerFrame
    from gateway.speech.port import Heard, Spoken
    from gateway.speech.worker.port import Ear, EngineHearing, Voice

    Tell = Callable[[WorkerFrame], None]


class HearingWork:
    """Hearings, by key, in one recogniser."""

    def __init__(self, ear: Ear, tell: Tell) -> None:
        self._ear = ear
        self._tell = tell
        self._hearings: dict[int, EngineHearing] = {}
        self._told: dict[int, str] = {}
        self._queue: SimpleQueue[Open | Sound | Ask | Drop] = SimpleQueue()
        self._dropped: set[int] = set()

    def take(self, frame: SiteFrame) -> None:
        """Queue a frame. Raises ValueError for one that no recogniser is sent."""
        if not isinstance(frame, (Open, Sound, Ask, Drop)):
            raise ValueError(f"a recogniser cannot {type(frame).__name__}")
        if isinstance(frame, Drop):
            self._dropped.add(frame.key)
        self._queue.put(frame)

    def run(self) -> None:
        """Work for ever."""
        while True:
            frame = self._queue.get()
            if isinstance(frame, Drop):
                self._end(frame.key)
                self._dropped.discard(frame.key)
            elif frame.key not in self._dropped:
                try:
                    self._hear(frame)
                except (EngineFailed, RuntimeError) as error:  # bindings raise RuntimeError
                    self._end(frame.key)
                    self._tell(Over(frame.key, str(error)))

    def _hear(self, frame: Open | Sound | Ask) -> None:
        key = frame.key
        if isinstance(frame, Open):
            self._hearings[key] = self._ear.begin(frame.caller)
            return
        if (hearing := self._hearings.get(key)) is None:
            return  # it failed, and the site was told
        if isinstance(frame, Sound):
            if frame.pcm:
                hearing.feed(frame.pcm)
            self._tell_news(key, hearing.so_far())
        elif frame.is_end:
            del self._hearings[key]
            self._told.pop(key, None)
            heard = hearing.finish()
            self._tell(Result(key, heard, is_answer=True, caller=hearing.caller))
        else:
            self._tell(Result(key, hearing.so_far(), is_answer=True))

    def _tell_news(self, key: int, heard: Heard) -> None:
        if heard.text != self._told.get(key, ""):
            self._told[key] = heard.text
            self._tell(Result(key, heard, is_answer=False))

    def _end(self, key: int) -> None:
        self._told.pop(key, None)
        if (hearing := self._hearings.pop(key, None)) is not None:
            hearing.drop()


class SayingWork:
    """Clauses, one after the other, in one voice."""

    def __init__(self, voice: Voice, tell: Tell) -> None:
        self._voice = voice
        self._tell = tell
        self._queue: SimpleQueue[Say] = SimpleQueue()
        self._wanted: set[int] = set()

    def take(self, frame: SiteFrame) -> None:
        """Queue a clause or drop one. Raises ValueError for what no voice is sent."""
        match frame:
            case Say(key):
                self._wanted.add(key)
                self._queue.put(frame)
            case Drop(key):
                self._wanted.discard(key)
            case _:
                raise ValueError(f"a voice cannot {type(frame).__name__}")

    def run(self) -> None:
        """Work for ever."""
        while True:
            clause = self._queue.get()
            if clause.key in self._wanted:
                self._say(clause)
                self._wanted.discard(clause.key)

    def _say(self, clause: Say) -> None:
        def emit(spoken_piece: Spoken) -> bool:
            if spoken_piece.pcm or spoken_piece.words:
                self._tell(Piece(clause.key, spoken_piece))
            return clause.key in self._wanted

        problem = ""
        try:
            self._voice.say(spoken(clause.text), emit)
        except (EngineFailed, OSError, RuntimeError) as error:
            problem = str(error)
        self._tell(Over(clause.key, problem))
