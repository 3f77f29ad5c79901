"""The generations under way, and what becomes of them when their engine process dies.

A generation that was in two processes when they died, without a new token in between, is a
suspect: the next process gets suspects one at a time, the next only after the one before has
produced something. A suspect whose process dies before that twice more has killed it, and fails
alone: whoever kills processes from outside would have to be very persistent to look like it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gateway.core.errors import EngineFault
from gateway.engine.bookings import Bookings
from gateway.engine.frames import Cancel, Submit
from gateway.engine.live_stream import LiveStream, is_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.core.errors import EngineError
    from gateway.core.generation import ClassBacklogs, GenerationEvent, GenerationRequest
    from gateway.engine.frames import SiteFrame

    Send = Callable[[SiteFrame], None]

_SUSPECT_CRASHES, _GUILTY_CRASHES = 2, 4
_MAX_CRASHES = 12


class LiveStreams:
    """Opens, feeds and resumes streams; between two engine processes it keeps them.

    `on_resume` is called with a request's id whenever its stream goes on in a new process.
    """

    def __init__(self, on_resume: Callable[[str], None]) -> None:
        self.on_resume = on_resume
        self._send: Send | None = None
        self._last_key = 0
        self._streams: dict[int, LiveStream] = {}
        self._in_engine: set[int] = set()
        self._bookings = Bookings()
        self._suspects: deque[LiveStream] = deque()
        self._on_trial: LiveStream | None = None

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def num_in_engine(self) -> int:
        """Streams that the engine process has to do with."""
        return len(self._in_engine)

    def is_in_engine(self, stream: LiveStream) -> bool:
        """Whether the engine process has it: there is one, and it is not held back as a suspect."""
        return stream.key in self._in_engine

    @property
    def backlog(self) -> ClassBacklogs:
        """What the engine's own report does not know yet."""
        return self._bookings.backlog

    def open(self, request: GenerationRequest) -> LiveStream:
        """A new stream, given to the engine if there is one."""
        self._last_key += 1
        stream = LiveStream(self._last_key, request)
        self._streams[stream.key] = stream
        if self._send is not None:
            self._submit(self._send, stream)
        else:
            self._bookings.book(stream.key, request)
        return stream

    def close(self, stream: LiveStream) -> None:
        """The consumer is done with a stream: cancel what still runs."""
        if self._streams.pop(stream.key, None) is None:
            return
        if self._send is None:
            self._bookings.cancel(stream.key)
        elif stream.key in self._in_engine:
            self._send(Cancel(stream.key))
        self._leave_engine(stream)

    def receive(self, events: Iterable[tuple[int, GenerationEvent]]) -> None:
        """The engine produced these. Raises ValueError when tokens before them are missing."""
        for key, event in events:
            stream = self._streams.get(key)
            if stream is None:
                continue
            stream.receive(event)
            if is_end(event):
                del self._streams[key]
                self._leave_engine(stream)
            elif self._on_trial is stream:
                self._try_next_suspect()

    def settle(self, num_submits: int) -> None:
        """The engine's own report counts the first `num_submits` requests it was given."""
        self._bookings.settle(num_submits)

    def attach(self, send: Send) -> None:
        """Another engine process: it gets what the one before has left."""
        self._send = send
        self._bookings = Bookings()
        live = list(self._streams.values())
        self._suspects = deque(one for one in live if one.num_fruitless >= _SUSPECT_CRASHES)
        for stream in live:
            if stream.num_fruitless < _SUSPECT_CRASHES:
                self._resume(send, stream)
        self._try_next_suspect()

    def detach(self) -> None:
        """The engine process died: its end counts against the streams that were in it."""
        self._send = None
        for stream in [self._streams[key] for key in self._in_engine if key in self._streams]:
            stream.num_crashes += 1
            stream.num_fruitless += 1
            guilty = stream is self._on_trial and stream.num_fruitless >= _GUILTY_CRASHES
            if guilty or stream.num_crashes >= _MAX_CRASHES:
                self._fail(stream, EngineFault("this request ended the engine process repeatedly"))
        self._in_engine.clear()
        self._on_trial = None
        self._bookings = Bookings()
        for stream in self._streams.values():
            self._bookings.book(stream.key, stream.request)

    def fail_all(self, error: EngineError) -> None:
        """Nothing will come of any of them."""
        for stream in list(self._streams.values()):
            self._fail(stream, error)

    def _submit(self, send: Send, stream: LiveStream, *, is_resubmission: bool = False) -> None:
        request = stream.remaining_request()
        send(Submit(stream.key, request, is_resubmission))
        self._in_engine.add(stream.key)
        self._bookings.book(stream.key, request)

    def _resume(self, send: Send, stream: LiveStream) -> None:
        self._submit(send, stream, is_resubmission=True)
        if stream.num_crashes:
            self.on_resume(stream.request.request_id)

    def _leave_engine(self, stream: LiveStream) -> None:
        self._in_engine.discard(stream.key)
        if self._on_trial is stream:
            self._try_next_suspect()

    def _try_next_suspect(self) -> None:
        self._on_trial = None
        while self._suspects and self._send is not None:
            stream = self._suspects.popleft()
            if stream.key in self._streams:
                self._on_trial = stream
                self._resume(self._send, stream)
                return

    def _fail(self, stream: LiveStream, error: EngineError) -> None:
        del self._streams[stream.key]
        self._bookings.cancel(stream.key)
        stream.fail(error)
