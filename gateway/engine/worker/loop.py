"""The engine process's only loop: receive, step, send.

The socket is polled between steps and waited for when there is nothing to do. What the socket
does not take is kept; when the site has not read for long, steps wait for it.
"""

from __future__ import annotations

import select
import socket
import time
from math import inf
from typing import TYPE_CHECKING

from gateway.engine.frames import Batch, Cancel, Capacity, Load, Prepare, Start, Submit
from gateway.runtime.frames import encode

if TYPE_CHECKING:
    from gateway.engine.frames import SiteFrame, WorkerFrame
    from gateway.engine.worker.engine import Engine
    from gateway.runtime.frames import FrameDecoder

_RECEIVE_BYTES = 1 << 18
_MAX_UNSENT_BYTES = 8 << 20
_LOAD_INTERVAL_S = 0.02
_STEADY_LOAD_INTERVAL_S = 0.25


class Wake:
    """Lets another thread end the loop's wait."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        """For select."""
        return self._reader.fileno()

    def set(self) -> None:
        """Wake the loop; from any thread."""
        try:
            self._writer.send(b"\0")
        except BlockingIOError:
            return  # unread wake-ups fill the pair: the loop will wake

    def clear(self) -> None:
        """Forget what was set."""
        try:
            self._reader.recv(4096)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Let go of the sockets; nobody may set it any more."""
        self._reader.close()
        self._writer.close()


class Outbox:
    """Bytes on their way to the site."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unsent = bytearray()

    @property
    def is_empty(self) -> bool:
        """Whether the socket took everything."""
        return not self._unsent

    @property
    def is_full(self) -> bool:
        """Whether the site is so far behind that nothing more should be produced."""
        return len(self._unsent) > _MAX_UNSENT_BYTES

    def put(self, frame: WorkerFrame) -> None:
        """Add a frame; `flush` sends it."""
        self._unsent += encode(frame)

    def flush(self) -> None:
        """Send what the socket takes now. Raises OSError when the site is gone."""
        while self._unsent:
            try:
                num_sent = self._sock.send(self._unsent)
            except BlockingIOError:
                return
            del self._unsent[:num_sent]


class SiteGone(Exception):
    """The site closed the connection."""


class EngineLoop:
    """Serves one site over one socket until the site is gone."""

    def __init__(
        self, sock: socket.socket, decoder: FrameDecoder[SiteFrame], engine: Engine, wake: Wake
    ) -> None:
        self._sock = sock
        self._decoder = decoder
        self._engine = engine
        self._wake = wake
        self._outbox = Outbox(sock)
        self._num_submits_seen = 0
        self._reported: tuple[object, ...] = ()
        self._reported_s = 0.0
        self._rests_until_s = 0.0

    def run(self, pending: list[SiteFrame]) -> None:
        """Handle the frames that came with Start, then loop. Returns when the site is gone."""
        try:
            self._handle(pending)
            while True:
                self._receive()
                self._engine.admit_compiled()
                if self._may_step:
                    self._step()
                elif self._rests_until_s == inf:
                    self._engine.expire()
                self._send()
        except (SiteGone, ConnectionError):
            return

    @property
    def _may_step(self) -> bool:
        return not (
            self._engine.is_idle or self._outbox.is_full or time.monotonic() < self._rests_until_s
        )

    def _step(self) -> None:
        """One step, and the rest that the site's capacity owes for it."""
        began_s = time.monotonic()
        self._engine.step()
        ended_s = time.monotonic()
        self._rests_until_s = ended_s + self._engine.pace.rest_s(ended_s - began_s)

    def _receive(self) -> None:
        """Read what is there; wait only if no step can be made."""
        waits = not self._may_step
        readers: list[socket.socket | Wake] = [self._sock, self._wake]
        writers = [] if self._outbox.is_empty else [self._sock]
        patience_s = self._patience_s if waits else 0.0
        readable, writable, _ = select.select(readers, writers, [], patience_s)
        if self._engine.is_resting and not readable and not writable:
            self._engine.measure()
        if self._wake in readable:
            self._wake.clear()
        if self._sock in readable:
            data = self._sock.recv(_RECEIVE_BYTES)
            if not data:
                raise SiteGone
            self._handle(self._decoder.feed(data))

    @property
    def _patience_s(self) -> float | None:
        """How long to wait when no step can be made."""
        if self._engine.is_resting:
            return self._engine.pace.recheck_in_s
        now_s = time.monotonic()
        waits_s = [_STEADY_LOAD_INTERVAL_S, self._engine.next_expiry_s - now_s]
        if self._rests_until_s > now_s:
            waits_s.append(self._rests_until_s - now_s)
        return max(0.0, min(waits_s))

    def _handle(self, frames: list[SiteFrame]) -> None:
        for frame in frames:
            match frame:
                case Submit(key, request, is_resubmission):
                    self._num_submits_seen += 1
                    self._engine.submit(key, request, is_resubmission=is_resubmission)
                case Prepare(constraint):
                    self._engine.prepare(constraint)
                case Capacity(ratio):
                    self._engine.pace.capacity_ratio = ratio
                    self._rests_until_s = 0.0 if ratio else inf
                case Cancel(key):
                    self._engine.cancel(key)
                case Start():
                    raise ValueError("a worker is started once")

    def _send(self) -> None:
        """One write for everything a step produced."""
        events = self._engine.take_events()
        if events:
            self._outbox.put(Batch(events))
        self._report_load()
        self._outbox.flush()

    def _report_load(self) -> None:
        """Send the load when it changed, not too often; before a wait, always.

        While there is anything to do it is sent now and then anyway: from silence the site
        concludes that the engine hangs.
        """
        engine = self._engine
        figures = (
            self._num_submits_seen,
            engine.num_measured,
            engine.scheduler.num_active,
            engine.backlog,
            engine.pace.capacity_ratio,
        )
        passed_s = time.monotonic() - self._reported_s
        changed = figures != self._reported
        if (changed and (engine.is_idle or passed_s >= _LOAD_INTERVAL_S)) or (
            not engine.is_resting and passed_s >= _STEADY_LOAD_INTERVAL_S
        ):
            self._outbox.put(Load(engine.pace.with_rests(engine.load()), self._num_submits_seen))
            self._reported, self._reported_s = figures, time.monotonic()
