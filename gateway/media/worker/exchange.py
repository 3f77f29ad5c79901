"""What the worker does at the site's word, and what it says to the site."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from gateway.core.call_errors import LinesBusy, OfferRefused
from gateway.core.voice_line import LineChange, LineState
from gateway.media.frames import (
    NUM_SPARE_LINES,
    Answer,
    Close,
    Feed,
    GoOn,
    Happened,
    Hold,
    Hush,
    Keep,
    Offer,
    OpenLane,
    Say,
    SayPrompt,
    Start,
    WorkerStats,
    Write,
)
from gateway.media.refusals import refused
from gateway.media.worker.judge import Judge
from gateway.media.worker.lane import Lane
from gateway.media.worker.lines import Lines
from gateway.media.worker.prompts import Prompt
from gateway.media.worker.voice_call import VoiceCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.core.voice_line import LineEvent
    from gateway.media.frames import SiteFrame, WorkerFrame
    from gateway.media.worker.lines import Line
    from gateway.media.worker.udp_port import UdpPort

    _LineFrame = Feed | Say | SayPrompt | Hold | GoOn | Hush | Write | Close


class Exchange:
    """Connects the site's frames with lines. `send` takes frames for the site.

    Events of one round of the loop leave in one frame.
    """

    def __init__(self, start: Start, port: UdpPort, send: Callable[[WorkerFrame], None]) -> None:
        self._start = start
        self._port = port
        self._send = send
        self._lines = Lines(Judge(max_num_lines=start.max_num_calls + NUM_SPARE_LINES), self._tell)
        self._spare: set[int] = set()
        self._prompts: dict[int, Prompt] = {}
        self._events: list[tuple[int, LineEvent]] = []
        self._ended_packets = [0, 0, 0]
        """Received, lost and late of calls that have ended."""
        self._ended_late_frames = 0

    def receive(self, frames: list[SiteFrame]) -> None:
        """Frames came. Raises ValueError for such as make no sense."""
        for frame in frames:
            match frame:
                case Offer():
                    self._offer(frame)
                case OpenLane():
                    self._open_lane(frame)
                case Keep(number, pcm):
                    self._prompts[number] = Prompt(pcm, self._start.sound)
                case Start():
                    raise ValueError("the worker has been started")
                case _:
                    self._have_done(frame)

    def stats(self) -> WorkerStats:
        """Counts for the site."""
        packets, late_frames = list(self._ended_packets), self._ended_late_frames
        for line in self._lines.all():
            late_frames += line.mouth.num_late
            _add_packets(packets, line)
        return WorkerStats(
            num_lines=len(self._lines),
            num_packets=packets[0],
            num_lost=packets[1],
            num_late_packets=packets[2],
            num_strangers=self._port.counters.strangers,
            num_sent=self._port.counters.sent,
            num_late_frames=late_frames,
            num_late_ticks=self._lines.num_late_ticks,
            cpu_s=time.process_time(),
        )

    def close(self) -> None:
        """End all lines."""
        self._lines.close("the site ends")

    def _have_done(self, frame: _LineFrame) -> None:
        """Do it on its line, if that has not just ended; where it fails, that line alone ends."""
        line = self._lines.get(frame.call)
        if line is None:
            return
        try:
            if isinstance(frame, SayPrompt):
                prompt = self._prompts[frame.prompt]
                line.say_prompt(frame.utterance, prompt, now_s=time.monotonic())
            else:
                _command(line, frame)
        except Exception:  # noqa: BLE001 (what a caller sends shall not end other calls)
            self._lines.abandon(frame.call, line)

    def _offer(self, offer: Offer) -> None:
        number, sdp = offer.call, offer.sdp
        line = self._lines.get(number)
        try:
            answer = self._accept(offer) if line is None else line.restart(sdp)
        except OfferRefused as error:
            self._send(refused(number, error))
        else:
            self._send(Answer(number, answer))

    def _accept(self, offer: Offer) -> str:
        number = offer.call
        self._check_room(is_spare=offer.is_spare)
        call = VoiceCall(self._start.sound, lambda event: self._tell(number, event))
        peer = self._port.accept(offer.sdp, call, call_id=str(number))
        call.begin(peer)
        self._lines.add(number, call)
        if offer.is_spare:
            self._spare.add(number)
        return peer.answer_sdp

    def _open_lane(self, frame: OpenLane) -> None:
        number = frame.call
        try:
            self._check_room()
        except LinesBusy as error:
            self._send(refused(number, error))
            return
        self._send(Answer(number))
        lane = Lane(
            number,
            frame.format,
            is_paced=frame.is_paced,
            deliver=self._send,
            tell=lambda event: self._tell(number, event),
        )
        self._lines.add(number, lane)

    def _check_room(self, *, is_spare: bool = False) -> None:
        max_num, num_spare = self._start.max_num_calls, len(self._spare)
        has_room = (
            num_spare < NUM_SPARE_LINES if is_spare else len(self._lines) - num_spare < max_num
        )
        if not has_room:
            raise LinesBusy(max_num_calls=max_num)

    def _tell(self, number: int, event: LineEvent) -> None:
        if not self._events:
            asyncio.get_running_loop().call_soon(self._flush)
        self._events.append((number, event))
        if isinstance(event, LineChange) and event.state is LineState.CLOSED:
            self._forget(number)

    def _forget(self, number: int) -> None:
        line = self._lines.get(number)
        if line is not None:
            self._ended_late_frames += line.mouth.num_late
            _add_packets(self._ended_packets, line)
            self._lines.remove(number)
            self._spare.discard(number)

    def _flush(self) -> None:
        events, self._events = self._events, []
        self._send(Happened(tuple(events)))


def _command(line: Line, frame: _LineFrame) -> None:
    match frame:
        case Say(_, utterance, pcm, is_last):
            line.say(utterance, pcm, is_last=is_last, now_s=time.monotonic())
        case Feed(_, sound):
            if not isinstance(line, Lane):
                raise ValueError("only lanes are fed")
            line.feed(sound)
        case Hold():
            line.hold()
        case GoOn():
            line.mouth.go_on(time.monotonic())
        case Hush():
            line.hush(time.monotonic())
        case Write(_, text):
            line.write(text)
        case Close(_, reason):
            line.close(reason)


def _add_packets(packets: list[int], line: Line) -> None:
    if isinstance(line, VoiceCall):
        counters = line.counters
        packets[0] += counters.received
        packets[1] += counters.lost
        packets[2] += counters.late
