"""Calls through real worker processes, sockets and clients."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from gateway.core.call_errors import InvalidOffer, LinesBusy, VoiceUnavailable
from gateway.core.voice_line import (
    SAID_HZ,
    CallerSound,
    ClientMessage,
    Digit,
    LineChange,
    LineEvent,
    LineState,
    PlayBegan,
    PlayEnded,
)
from gateway.media.client import VoiceWorkers
from gateway.media.frames import LaneFormat, Start
from gateway.media.lines import CallLine, WorkerLine
from gateway.media.worker.g711 import compress
from gateway.speech.resample import Resampler
from tests.media.webrtc_client import BadPath, Client, speech

pytestmark = pytest.mark.flow

MAX_WAIT_S = 60.0
TEXT = "please tell me my current balance"
START = Start("127.0.0.1", 0)


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """aioice leaves the loopback address out of the client's candidates."""

    def addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return ["127.0.0.1"]

    monkeypatch.setattr("aioice.ice.get_host_addresses", addresses)


def run(main: Coroutine[object, object, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(MAX_WAIT_S):
            await main

    asyncio.run(bounded())


def tone(duration_s: float) -> bytes:
    at = np.arange(round(SAID_HZ * duration_s)) / SAID_HZ
    return (9000 * np.sin(2 * np.pi * 440 * at)).astype("<i2").tobytes()


class Listener:
    """Takes a line's events and can be waited on."""

    def __init__(self, line: WorkerLine, tasks: asyncio.TaskGroup) -> None:
        self.events: list[LineEvent] = []
        self._news = asyncio.Event()
        self.task = tasks.create_task(self._listen(line))

    async def _listen(self, line: WorkerLine) -> None:
        async for event in line.events():
            self.events.append(event)
            self._news.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self._news.clear()
            await self._news.wait()

    def has(self, event: LineEvent) -> bool:
        return event in self.events

    @property
    def sounds(self) -> list[CallerSound]:
        return [event for event in self.events if isinstance(event, CallerSound)]

    @property
    def num_spoken(self) -> int:
        return sum(p > 0.5 for sound in self.sounds for p in sound.speech)

    @property
    def pcm(self) -> bytes:
        return b"".join(sound.pcm for sound in self.sounds)

    def ended(self, utterance: int) -> PlayEnded | None:
        ends = (event for event in self.events if isinstance(event, PlayEnded))
        return next((event for event in ends if event.utterance == utterance), None)


def accepting(workers: VoiceWorkers, lines: list[CallLine]) -> Callable[[str], Awaitable[str]]:
    async def accept(offer: str) -> str:
        line, answer = await workers.accept(offer)
        lines.append(line)
        return answer

    return accept


def test_a_call_hears_says_stops_and_ends(tmp_path: Path) -> None:
    said = speech(TEXT, tmp_path)

    async def call() -> None:
        async with VoiceWorkers([START]) as workers, asyncio.TaskGroup() as tasks:
            client, lines = Client(said), list[CallLine]()
            await client.connect(accepting(workers, lines))
            (line,) = lines
            heard = Listener(line, tasks)
            await heard.until(lambda: heard.has(LineChange(LineState.CONNECTED)))
            await heard.until(lambda: heard.num_spoken > 20)
            assert np.abs(np.frombuffer(heard.pcm, "<i2")).max() > 2000
            line.say(1, tone(20.0), is_last=True)
            await client.until(lambda: len(client.loud_s) > 40)
            line.hush()
            await heard.until(lambda: heard.ended(1) is not None)
            ended, began = heard.ended(1), heard.events
            assert ended is not None
            assert not ended.is_whole
            (start,) = [event for event in began if isinstance(event, PlayBegan)]
            # A worker that waits for a core plays less in its time, never more.
            assert 0.02 * 40 <= ended.played_s <= ended.left_s - start.left_s + 0.06
            await client.press(7)
            await heard.until(lambda: any(isinstance(event, Digit) for event in heard.events))
            line.write("to the client")
            await client.until(lambda: client.messages == ["to the client"])
            client.channel.send("to the site")
            await heard.until(lambda: heard.has(ClientMessage("to the site")))
            starts = [sound.start_s for sound in heard.sounds]
            assert starts == sorted(starts)
            line.close("done")
            await heard.task
            assert heard.events[-1] == LineChange(LineState.CLOSED, "done")
            assert [e.digit for e in heard.events if isinstance(e, Digit)] == ["7"]
            assert not workers.num_lines
            await client.close()

    run(call())


def test_speech_survives_a_bad_path(tmp_path: Path) -> None:
    said = speech(f"{TEXT} and then {TEXT}", tmp_path)

    async def call() -> None:
        async with VoiceWorkers([START]) as workers, asyncio.TaskGroup() as tasks:
            path, port = await BadPath.open(workers.ports[0], loss=0.05, jitter_s=0.02)
            client, lines = Client(said), list[CallLine]()
            await client.connect(accepting(workers, lines), through=port)
            heard = Listener(lines[0], tasks)
            await heard.until(lambda: len(heard.sounds) * 0.032 > len(said) / 16_000 + 0.5)
            assert heard.num_spoken * 0.032 > 0.5 * len(said) / 16_000
            lines[0].close()
            await heard.task
            while True:  # the worker tells once a second
                await asyncio.sleep(0.05)
                if workers.stats and workers.stats[0].num_lost:
                    break
            stats = workers.stats[0]
            assert 0 < stats.num_lost - stats.num_late_packets < 0.15 * stats.num_packets
            await client.close()
            path.close()

    run(call())


def test_a_dead_worker_ends_its_calls_and_is_started_again() -> None:
    async def call() -> None:
        async with VoiceWorkers([START]) as workers, asyncio.TaskGroup() as tasks:
            workers.keep(0, tone(0.5))
            lane = await workers.open_lane(LaneFormat.PCM)
            heard = Listener(lane, tasks)
            (pid,) = workers.pids
            os.kill(pid, signal.SIGKILL)
            await heard.task
            assert heard.events[-1] == LineChange(LineState.CLOSED, "worker lost")
            while True:
                with suppress(VoiceUnavailable):
                    again = await workers.open_lane(LaneFormat.PCM)
                    break
                await asyncio.sleep(0.02)
            assert workers.pids != (pid,)
            again.say_prompt(1, 0, tone(0.5))  # the new process has what the old one had
            assert (await again.sounds.next()).sound == tone(0.5)
            again.close()

    run(call())


def test_calls_that_cannot_be_are_refused_with_their_reason() -> None:
    async def call() -> None:
        async with VoiceWorkers([Start("127.0.0.1", 0, max_num_calls=1)]) as workers:
            with pytest.raises(InvalidOffer):
                await workers.accept("v=0\r\n")
            assert not workers.num_lines
            for _ in range(3):  # each gives its place back
                lane = await workers.open_lane(LaneFormat.PCMU)
                with pytest.raises(LinesBusy) as busy:
                    await workers.open_lane(LaneFormat.PCMU)
                assert busy.value.max_num_calls == 1
                lane.close()
                assert [event async for event in lane.events()][-1] == LineChange(LineState.CLOSED)

    run(call())


def test_a_worker_whose_port_is_taken_says_so() -> None:
    async def start(port: int) -> None:
        async with VoiceWorkers([START, Start("127.0.0.1", port)]):
            pass

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(VoiceUnavailable, match="in use"):
            run(start(taken.getsockname()[1]))


@pytest.mark.parametrize(
    ("format_", "bytes_per_s"),
    [(LaneFormat.PCM, 48_000), (LaneFormat.PCMU, 8000), (LaneFormat.PCMA, 8000)],
)
def test_a_lane_hears_speech_and_says_at_once_what_it_is_given(
    format_: LaneFormat, bytes_per_s: int, tmp_path: Path
) -> None:
    said = speech(TEXT, tmp_path)

    async def call() -> None:
        async with VoiceWorkers([START]) as workers, asyncio.TaskGroup() as tasks:
            lane = await workers.open_lane(format_)
            heard = Listener(lane, tasks)
            lane.feed(_as_fed(said, format_))
            await heard.until(lambda: heard.num_spoken > 20)
            lane.say(1, tone(2.0), is_last=True)
            sound = await lane.sounds.next()
            assert (sound.utterance, len(sound.sound)) == (1, 2 * bytes_per_s)
            await heard.until(lambda: any(isinstance(e, PlayBegan) for e in heard.events))
            lane.hold()
            lane.hush()
            await heard.until(lambda: heard.ended(1) is not None)
            ended = heard.ended(1)
            assert ended is not None
            assert ended.played_s < 2.0
            assert not ended.is_whole
            lane.close()
            await heard.task

    run(call())


@pytest.mark.parametrize("format_", list(LaneFormat))
def test_pieces_of_any_size_go_in_and_the_last_that_comes_out_is_empty(format_: LaneFormat) -> None:
    async def call() -> None:
        async with VoiceWorkers([START]) as workers:
            lane = await workers.open_lane(format_)
            for num_bytes in (4800, 962, 0, 1, 0, 3, 2):
                lane.feed(bytes(num_bytes))
            for size in (4800, 962, 0):
                lane.say(1, bytes(size), is_last=not size)
            pieces = [len((await lane.sounds.next()).sound) for _ in range(3)]
            assert min(pieces[:2]) > 0
            assert pieces[2] == 0
            assert not lane.is_closed
            lane.close()

    run(call())


def test_what_one_line_cannot_do_ends_no_other() -> None:
    async def call() -> None:
        async with VoiceWorkers([START]) as workers:
            bad, good = [await workers.open_lane(LaneFormat.PCM) for _ in range(2)]
            bad.say_prompt(1, 99, b"")  # nobody has made this prompt
            last = [event async for event in bad.events()][-1]
            assert last == LineChange(LineState.CLOSED, "the line failed")
            good.say(1, tone(0.1), is_last=True)
            assert (await good.sounds.next()).sound == tone(0.1)
            good.close()

    run(call())


def test_a_paced_lane_says_at_the_pace_of_sound() -> None:
    async def call() -> None:
        async with VoiceWorkers([START]) as workers, asyncio.TaskGroup() as tasks:
            lane = await workers.open_lane(LaneFormat.PCM, is_paced=True)
            heard = Listener(lane, tasks)
            lane.say(1, tone(0.1), is_last=True)
            pieces = [await lane.sounds.next() for _ in range(5)]
            assert b"".join(piece.sound for piece in pieces) == tone(0.1)
            await heard.until(lambda: heard.ended(1) is not None)
            began = next(event for event in heard.events if isinstance(event, PlayBegan))
            ended = heard.ended(1)
            assert ended is not None
            assert ended.is_whole
            assert ended.left_s - began.left_s > 0.07
            lane.close()
            await heard.task

    run(call())


def _as_fed(said: np.ndarray[tuple[int, ...], np.dtype[np.int16]], format_: LaneFormat) -> bytes:
    """Speech at 16 kHz in a lane's format, roughly: enough to be taken for speech."""
    pcm = np.pad(said, 8000).tobytes()
    match format_:
        case LaneFormat.PCM:
            return Resampler(16_000, 24_000).feed(pcm)
        case LaneFormat.PCMU | LaneFormat.PCMA:
            low = np.frombuffer(Resampler(16_000, 8000).feed(pcm), "<i2")
            return compress(low, "pcmu" if format_ is LaneFormat.PCMU else "pcma")
