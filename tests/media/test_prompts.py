"""Prompts leave as packets that are ready, and silence is not coded."""

from collections import Counter

import numpy as np
import pytest

from gateway.core.voice_line import PlayEnded
from gateway.media.frames import SoundSettings
from gateway.media.worker import rtcp
from gateway.media.worker.audio_terms import Codec
from gateway.media.worker.opus import MAX_QUIET_BYTES, OpusDecoder, OpusEncoder
from gateway.media.worker.prompts import Prompt
from tests.media.test_mouth import FRAME_BYTES, Caller, sound
from tests.media.test_voice_call import SSRC, THEIR_SSRC, Call, NotingTransport

NUM_FRAMES = 20


def tone(num_frames: int, *, from_frame: int = 0) -> bytes:
    at = (np.arange(480 * num_frames) + 480 * from_frame) / 24_000
    return (8000 * np.sin(2 * np.pi * 300 * at)).astype("<i2").tobytes()


def prompt(pcm: bytes | None = None) -> Prompt:
    return Prompt(pcm or tone(NUM_FRAMES), SoundSettings())


@pytest.fixture
def num_coded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many frames were coded since the test began, under "frames"."""
    count: Counter[str] = Counter()
    encode = OpusEncoder.encode

    def counted(self: OpusEncoder, pcm: bytes) -> bytes:
        count["frames"] += 1
        return encode(self, pcm)

    monkeypatch.setattr(OpusEncoder, "encode", counted)
    return count


def test_a_prompt_leaves_as_it_was_coded_once(num_coded: Counter[str]) -> None:
    ready, call = prompt(), Call(NotingTransport(bitrate_bps=0))
    num_coded.clear()
    call.call.say_prompt(1, ready, now_s=call.now_s)
    call.call.say(1, b"", is_last=True, now_s=call.now_s)
    call.wait(1.0)
    sent = [packet.payload for packet in call.packets[:NUM_FRAMES]]
    assert sent == list(ready.packets(Codec.OPUS, FRAME_BYTES))
    assert num_coded["frames"] == 1  # the first frame of the silence after it
    (ended,) = [event for event in call.events if isinstance(event, PlayEnded)]
    assert ended.is_whole
    assert ended.played_s == pytest.approx(0.4)


def test_a_hushed_prompt_says_how_much_of_it_was_played() -> None:
    call = Call(NotingTransport(bitrate_bps=0))
    call.call.say_prompt(1, prompt(), now_s=call.now_s)
    call.wait(0.1)
    call.call.hush(call.now_s)
    (ended,) = [event for event in call.events if isinstance(event, PlayEnded)]
    assert not ended.is_whole
    assert 0.08 <= ended.played_s <= 0.12


@pytest.mark.parametrize("codec", [Codec.PCMU, Codec.PCMA])
def test_a_telephone_gets_its_own_packets(codec: Codec) -> None:
    ready, call = prompt(), Call(NotingTransport(codec=codec))
    call.call.say_prompt(1, ready, now_s=call.now_s)
    call.wait(0.2)
    sent = [packet.payload for packet in call.packets]
    assert sent == list(ready.packets(codec, FRAME_BYTES))[: len(sent)]
    assert {len(payload) for payload in sent} == {160}


def test_a_client_of_a_narrow_or_lossy_path_gets_it_coded_for_that(
    num_coded: Counter[str],
) -> None:
    ready, narrow = prompt(), Call(NotingTransport(bitrate_bps=8000))
    lossy = Call(NotingTransport(bitrate_bps=0))
    heard = rtcp.Heard(SSRC, 0.1, 3, 10, 0)
    lossy.call.rtcp(rtcp.build(THEIR_SSRC, b"them", sent=None, heard=heard))
    for call in (narrow, lossy):
        num_coded.clear()
        call.call.say_prompt(1, ready, now_s=call.now_s)
        call.wait(0.2)
        assert num_coded["frames"] == len(call.packets) >= 9


def test_what_follows_a_prompt_sounds_as_loud_as_it_is() -> None:
    call = Call(NotingTransport(bitrate_bps=0))
    call.say(1, 10)  # so that the call's own coder remembers other sound than the prompt's
    call.wait(0.2)
    begun = len(call.packets)
    call.call.say_prompt(2, prompt(), now_s=call.now_s)
    rest = (np.frombuffer(tone(NUM_FRAMES, from_frame=NUM_FRAMES), "<i2") // 20).astype("<i2")
    call.call.say(2, rest.tobytes(), is_last=True, now_s=call.now_s)
    call.wait(2 * NUM_FRAMES * 0.02)
    decoder = OpusDecoder()
    heard = [np.frombuffer(decoder.decode(p.payload), "<i2") for p in call.packets[begun:]]
    levels = [float(np.sqrt(np.mean(np.square(frame.astype(float))))) for frame in heard]
    spoken, quiet = levels[2:NUM_FRAMES], levels[NUM_FRAMES + 2 : 2 * NUM_FRAMES]
    assert min(spoken) > 0.7 * max(spoken)
    assert max(quiet) < 2 * min(quiet)
    assert max(quiet) < 0.1 * min(spoken)


def test_silence_is_coded_once_and_then_neither_coded_nor_sent(num_coded: Counter[str]) -> None:
    call = Call(NotingTransport(bitrate_bps=0))
    num_coded.clear()
    call.call.say(1, tone(10) + bytes(100 * FRAME_BYTES), is_last=False, now_s=call.now_s)
    call.wait(110 * 0.02)
    assert num_coded["frames"] == 11
    assert len(call.packets) == 10 + 5 + 1  # its sound, some silence, and that more follows
    assert len(call.packets[-1].payload) <= MAX_QUIET_BYTES
    call.call.say(1, tone(5), is_last=True, now_s=call.now_s)
    call.wait(0.2)
    assert [packet.marker for packet in call.packets[16:21]] == [True, *[False] * 4]
    assert num_coded["frames"] == 11 + 5 + 1


def test_frames_of_a_prompt_are_ready_where_they_are_whole() -> None:
    half, caller = FRAME_BYTES // 2, Caller()
    short = prompt(sound(2.5))
    caller.mouth.say_prompt(1, short, now_s=caller.now_s)
    caller.say(1, sound(1.5))  # fills the prompt's half frame up
    caller.mouth.say_prompt(1, short, now_s=caller.now_s)
    caller.say(1, bytes(half))
    caller.mouth.say_prompt(1, short, now_s=caller.now_s)
    caller.say(1, b"", is_last=True)
    caller.wait(1.0)
    numbers = [None if one is None else one.number for one in caller.ready]
    assert numbers == [0, 1, None, None, 0, 1, None, 0, 1, None, *[None] * 2]


def test_a_prompt_in_the_middle_of_a_frame_is_coded_with_what_is_around_it() -> None:
    caller = Caller()
    caller.say(1, sound(0.5))
    caller.mouth.say_prompt(1, prompt(sound(3)), now_s=caller.now_s)
    caller.say(1, b"", is_last=True)
    caller.wait(1.0)
    assert not any(caller.ready)
