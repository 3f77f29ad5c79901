from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.voice_line import PlayBegan, PlayEnded
from gateway.media.worker import utterances
from gateway.media.worker.mouth import Mouth
from gateway.media.worker.prompts import ReadyFrame
from gateway.media.worker.utterances import Frame

FRAME_S, FRAME_BYTES = 0.02, 960
TAIL = 2


def sound(num_frames: float, fill: int = 1) -> bytes:
    return bytes([fill]) * round(num_frames * FRAME_BYTES)


def rounded(event: PlayBegan | PlayEnded) -> PlayBegan | PlayEnded:
    left_s = round(event.left_s, 6)
    if isinstance(event, PlayBegan):
        return PlayBegan(event.utterance, left_s)
    return PlayEnded(event.utterance, round(event.played_s, 6), event.is_whole, left_s)


@dataclass
class Caller:
    """Carries frames, hears events, and lets time pass in steps of 5 ms."""

    now_s: float = 100.0
    frames: list[tuple[float, int, bytes]] = field(default_factory=list)
    events: list[PlayBegan | PlayEnded] = field(default_factory=list)
    ready: list[ReadyFrame | None] = field(default_factory=list)
    num_pauses: int = 0
    mouth: Mouth = field(init=False)

    def __post_init__(self) -> None:
        self.mouth = Mouth(
            self,
            frame_s=FRAME_S,
            num_tail_frames=TAIL,
            tell=lambda event: self.events.append(rounded(event)),
        )
        self.mouth.open(self.now_s)

    def send(self, frame: Frame, at_s: float) -> None:
        self.frames.append((at_s, frame.utterance, frame.pcm))
        self.ready.append(frame.ready)

    def pause(self) -> None:
        self.num_pauses += 1

    def say(self, utterance: int, pcm: bytes, *, is_last: bool = False) -> None:
        self.mouth.say(utterance, pcm, is_last=is_last, now_s=self.now_s)

    def wait(self, duration_s: float) -> None:
        until_s = self.now_s + duration_s
        while self.now_s < until_s - 1e-9:
            self.now_s += 0.005
            if self.mouth.due_s <= self.now_s + 1e-9:
                self.mouth.step(self.now_s)

    @property
    def spoken(self) -> bytes:
        """All that was carried but silence."""
        return b"".join(pcm for _, _, pcm in self.frames).replace(b"\0", b"")


def test_the_first_frame_leaves_at_once_and_the_others_20_ms_apart() -> None:
    caller = Caller()
    caller.say(1, sound(3), is_last=True)
    assert [at_s for at_s, _, _ in caller.frames] == [100.0]
    caller.wait(0.3)
    times = [at_s - 100.0 for at_s, _, _ in caller.frames]
    assert times == pytest.approx([0.0, 0.02, 0.04, 0.06, 0.08])
    assert caller.events == [PlayBegan(1, 100.0), PlayEnded(1, 0.06, True, 100.04)]
    assert caller.num_pauses == 1
    assert caller.mouth.due_s == float("inf")


def test_an_end_within_a_frame_is_filled_up_and_counted_to_the_sample() -> None:
    caller = Caller()
    caller.say(1, sound(1.25), is_last=True)
    caller.wait(0.1)
    assert len(caller.frames[1][2]) == FRAME_BYTES
    assert caller.events[-1] == PlayEnded(1, 0.025, True, 100.02)


def test_an_utterance_waits_for_its_next_part_and_ends_with_the_last_though_empty() -> None:
    caller = Caller()
    caller.say(1, sound(1.5))
    caller.wait(0.2)
    assert len(caller.frames) == 1 + TAIL
    caller.say(1, sound(0.5))
    assert caller.frames[-1][0] == caller.now_s
    caller.wait(0.2)
    caller.say(1, b"", is_last=True)
    ended = caller.events[-1]
    assert ended == PlayEnded(1, 0.04, True, 100.2)


def test_a_new_utterance_ends_the_one_before() -> None:
    caller = Caller()
    caller.say(1, sound(0.5))
    caller.say(2, sound(1), is_last=True)
    caller.wait(0.2)
    assert [type(event) for event in caller.events] == [PlayBegan, PlayEnded] * 2
    assert [pcm[0] for _, _, pcm in caller.frames[:2]] == [1, 1]


def test_what_is_held_is_kept_and_said_when_it_goes_on() -> None:
    caller = Caller()
    caller.say(1, sound(2, 1) + sound(2, 2), is_last=True)
    caller.wait(0.02)
    caller.mouth.hold()
    caller.wait(1.0)
    assert len(caller.frames) == 2
    caller.mouth.go_on(caller.now_s)
    caller.wait(0.5)
    assert caller.spoken == sound(2, 1) + sound(2, 2)
    assert caller.events[-1] == PlayEnded(1, 0.08, True, 101.04)


def test_what_nobody_hears_waits_until_somebody_does() -> None:
    caller = Caller()
    caller.mouth.shut()
    caller.say(1, sound(2), is_last=True)
    caller.mouth.go_on(caller.now_s)
    caller.wait(1.0)
    assert not caller.frames
    caller.mouth.hold()
    caller.mouth.open(caller.now_s)
    assert not caller.frames, "what the conversation holds stays held"
    caller.mouth.go_on(caller.now_s)
    caller.wait(0.2)
    assert caller.events == [PlayBegan(1, 101.0), PlayEnded(1, 0.04, True, 101.02)]


def test_hushed_utterances_say_how_far_they_came_and_take_no_more() -> None:
    caller = Caller()
    caller.say(1, sound(10), is_last=True)
    caller.say(2, sound(10))
    caller.wait(0.04)
    caller.mouth.hush(caller.now_s)
    assert caller.events[1:] == [
        PlayEnded(1, 0.06, False, 100.04),
        PlayEnded(2, 0.0, False, 100.04),
    ]
    caller.say(2, sound(5), is_last=True)
    caller.wait(0.2)
    assert len(caller.frames) == 3
    caller.say(3, sound(1), is_last=True)
    assert len(caller.frames) == 4, "hush ends a hold and the next utterance begins at once"


def test_a_late_timer_delays_one_frame_and_a_long_stop_begins_anew() -> None:
    caller = Caller()
    caller.say(1, sound(30), is_last=True)
    caller.mouth.step(100.05)
    assert [at_s - 100.0 for at_s, _, _ in caller.frames] == pytest.approx([0.0, 0.02, 0.04])
    assert caller.mouth.num_late == 1
    caller.mouth.step(101.0)
    assert len(caller.frames) == 4
    assert caller.mouth.due_s == pytest.approx(101.02)


def test_more_than_five_minutes_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utterances, "MAX_QUEUED_BYTES", 3 * FRAME_BYTES)
    caller = Caller()
    caller.mouth.hold()
    caller.say(1, sound(5), is_last=True)
    caller.mouth.go_on(caller.now_s)
    caller.wait(1.0)
    assert caller.events[-1] == PlayEnded(1, 0.06, False, 100.04)
    caller.say(2, sound(3), is_last=True)
    caller.wait(1.0)
    ended = caller.events[-1]
    assert isinstance(ended, PlayEnded)
    assert ended.is_whole


actions = st.one_of(
    st.tuples(st.just("say"), st.integers(0, 3), st.floats(0.0, 4.0), st.booleans()),
    st.tuples(st.sampled_from(["hold", "go_on", "hush"])),
    st.tuples(st.just("wait"), st.sampled_from([0.005, 0.02, 0.1])),
)


@given(st.lists(actions, max_size=40))
def test_each_utterance_begins_and_ends_at_most_once_in_order(
    script: list[tuple[object, ...]],
) -> None:
    caller = Caller()
    number = 0
    for name, *rest in script:
        if name == "say":
            step, num_frames, is_last = rest
            number += step == 3
            assert isinstance(num_frames, float)
            caller.say(number, sound(num_frames), is_last=bool(is_last))
        elif name == "wait":
            (duration_s,) = rest
            assert isinstance(duration_s, float)
            caller.wait(duration_s)
        elif name == "hold":
            caller.mouth.hold()
        elif name == "go_on":
            caller.mouth.go_on(caller.now_s)
        else:
            caller.mouth.hush(caller.now_s)
    caller.mouth.go_on(caller.now_s)
    caller.wait(4.0)
    caller.mouth.hush(caller.now_s)
    began = [event.utterance for event in caller.events if isinstance(event, PlayBegan)]
    ended = [event for event in caller.events if isinstance(event, PlayEnded)]
    numbers = [event.utterance for event in ended]
    assert began == sorted(set(began))
    assert numbers == sorted(set(numbers))
    assert set(began) <= set(numbers)
    played_bytes = sum(round(event.played_s * 48_000) for event in ended)
    assert abs(played_bytes - len(caller.spoken)) <= len(ended)
    times = [at_s for at_s, _, _ in caller.frames]
    assert all(later - earlier > FRAME_S - 0.002 for earlier, later in pairwise(times))
