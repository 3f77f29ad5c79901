"""When a packet of sound is used: the jitter buffer of a line whose listener is a machine.

A loudspeaker needs a frame every 20 ms, so its buffer delays all frames by what the slowest needs.
Recognisers and voice activity need them only in order. So a frame that is next is used when it
comes, and only a missing one is waited for, as long as packets of late were late (the target).
After that its sound is taken from the next packet (Opus in-band FEC, RFC 6716 section 2.1.7) or
concealed. Nothing is ever held back, so there is no delay to shrink again.

Where nothing comes at all the clock goes on, or nobody would notice the end of a turn: at once
after a packet that announced silence (DTX), after `OUTAGE_S` otherwise. What an outage held up is
still used when it comes, later than it was said: words are worth more than the clock.

Packets are what RFC 3550 says of them: sequence numbers and timestamps that wrap, begin anywhere
and may begin anew. `ticks` are units of the timestamp.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from typing import Final, NamedTuple

OUTAGE_S: Final = 0.2
"""Silence of the network that is not taken for silence of the caller."""
MAX_TARGET_S: Final = 0.2
MAX_NUM_HELD: Final = 100
"""Packets that wait for a missing one; with more it is given up."""
MAX_DROPOUT: Final = 500
"""A packet so many numbers ahead is a new beginning (RFC 3550, appendix A.1), once its successor
has come too."""
MAX_MISORDER: Final = 100
"""Likewise one so many numbers behind."""
_MIN_TARGET_S = 0.02  # a frame: the next packet shows the gap no earlier
_MAX_NUM_CONCEALED = 5  # longer, and concealment is noise
_MAX_GAP_S = 5.0
_CLOCK_JUMP_S = 2.0
_LATE_QUANTILE = 0.99
_NUM_TRANSITS = 200
_JUDGE_EVERY = 8


class StepKind(Enum):
    """What to do for the next stretch of sound."""

    PLAY = auto()
    """Decode the payload."""
    RECOVER = auto()
    """Decode the sound of the lost packet before this payload from its redundancy."""
    CONCEAL = auto()
    """Make up what was lost."""
    SILENCE = auto()
    """Nothing was sent."""


class Step(NamedTuple):
    """The next stretch of sound, `ticks` long."""

    kind: StepKind
    ticks: int
    payload: bytes = b""
    arrived_s: float = 0.0
    """When the payload's packet came in."""


class _Packet(NamedTuple):
    timestamp: int
    ticks: int
    payload: bytes
    arrived_s: float
    announces_silence: bool


class JitterBuffer:
    """Puts one stream's packets in order; see the module.

    `begun_s` is the instant from which silence counts while no packet has come. Counters only
    grow: `num_packets` that were of use, `num_lost` whose sound was recovered or concealed,
    `num_late` of these that came after all, `num_duplicates`.
    """

    __slots__ = (
        "_clock_hz",
        "_frame_ticks",
        "_given_up",
        "_held",
        "_is_quiet",
        "_newcomer",
        "_next_sequence",
        "_next_timestamp",
        "_num_concealed",
        "_transits",
        "num_duplicates",
        "num_late",
        "num_lost",
        "num_packets",
    )

    def __init__(self, *, clock_hz: int, frame_ticks: int, begun_s: float) -> None:
        self.num_packets = self.num_lost = self.num_late = self.num_duplicates = 0
        self._clock_hz = clock_hz
        self._frame_ticks = frame_ticks
        self._transits = _Transits(begun_s)
        self._held: dict[int, _Packet] = {}
        self._given_up: deque[int] = deque(maxlen=MAX_MISORDER)
        self._next_sequence: int | None = None
        self._next_timestamp = 0
        self._newcomer: int | None = None
        self._is_quiet = True
        self._num_concealed = 0

    @property
    def target_s(self) -> float:
        """How long a missing packet is waited for beyond the quickest way of late."""
        return self._transits.target_s

    @property
    def is_waiting(self) -> bool:
        """Whether packets wait for a missing one."""
        return bool(self._held)

    @property
    def jitter_s(self) -> float:
        """Mean difference of successive transit times (RFC 3550 section 6.4.1)."""
        return self._transits.jitter_s

    @property
    def highest_sequence(self) -> int:
        """The highest sequence number so far, counting wraps."""
        return max(self._held, default=(self._next_sequence or 0) - 1)

    def restart(self) -> None:
        """Another stream takes this one's place: the next packet begins it."""
        self._held.clear()
        self._next_sequence = None

    def put(
        self,
        sequence: int,
        timestamp: int,
        payload: bytes,
        *,
        ticks: int,
        arrived_s: float,
        announces_silence: bool = False,
    ) -> None:
        """A packet with `ticks` of sound came in; `sequence` and `timestamp` as they were sent."""
        if self._next_sequence is None:
            self._begin(sequence, timestamp)
        ahead = _nearest(sequence, self._next_sequence or 0, 16) - (self._next_sequence or 0)
        if not -MAX_MISORDER <= ahead <= MAX_DROPOUT:
            if sequence != self._newcomer:
                self._newcomer = (sequence + 1) & 0xFFFF
                return
            self._begin(sequence, timestamp)
            ahead = 0
        self._newcomer = None
        number = (self._next_sequence or 0) + ahead
        position = _nearest(timestamp, self._next_timestamp, 32)
        if ahead < 0 or number in self._held:
            if number not in self._given_up:
                self.num_duplicates += 1
                return
            self._given_up.remove(number)
            self.num_late += 1
        else:
            self.num_packets += 1
            self._held[number] = _Packet(position, ticks, payload, arrived_s, announces_silence)
        self._transits.add(arrived_s - position / self._clock_hz)

    def take(self, now_s: float) -> Step | None:
        """The next step, or None while there is none. Ask again until there is none."""
        if not self._held:
            return self._pause(now_s)
        number = self._next_sequence or 0
        packet = self._held.get(number)
        if packet is not None:
            return self._reach(number, packet)
        # A stream whose timestamps make no sense may be due never.
        patience_s = next(iter(self._held.values())).arrived_s + MAX_TARGET_S
        if len(self._held) <= MAX_NUM_HELD and now_s < min(self._due_s(), patience_s):
            return None
        return self._bridge(number, min(self._held))

    def _begin(self, sequence: int, timestamp: int) -> None:
        self._held.clear()
        self._given_up.clear()
        self._next_sequence = sequence
        self._next_timestamp = timestamp
        self._is_quiet = False
        self._transits = _Transits()

    def _due_s(self) -> float:
        """When the next packet should have come, were it as late as such are."""
        line = self._transits
        return line.quickest_s + line.target_s + self._next_timestamp / self._clock_hz

    def _reach(self, number: int, packet: _Packet) -> Step:
        """The packet that is next has come: what its timestamp leaves out before it is silence."""
        gap = packet.timestamp - self._next_timestamp
        if 0 < gap <= _MAX_GAP_S * self._clock_hz:
            return self._step(StepKind.SILENCE, gap)
        if gap < 0:
            # Silence has taken its time. Were the old line kept, silence would do so again.
            self._transits.restart(packet.arrived_s - packet.timestamp / self._clock_hz)
        del self._held[number]
        self._next_sequence = number + 1
        self._next_timestamp = packet.timestamp
        self._frame_ticks = packet.ticks
        self._is_quiet = packet.announces_silence
        self._num_concealed = 0
        return self._step(StepKind.PLAY, packet.ticks, packet)

    def _bridge(self, number: int, first: int) -> Step:
        """Packets from `number` to before `first` are given up."""
        after, frame = self._held[first], self._frame_ticks
        gap = after.timestamp - self._next_timestamp
        silence = gap - (first - number) * frame
        if self._is_quiet and 0 < silence <= _MAX_GAP_S * self._clock_hz:
            return self._step(StepKind.SILENCE, silence)
        self._given_up.append(number)
        self._next_sequence = number + 1
        self.num_lost += 1
        self._num_concealed += 1
        if gap < frame:  # the timestamps leave no room for what the numbers say is missing
            self._given_up.extend(range(number + 1, first))
            self.num_lost += first - number - 1
            return self._reach(first, after)
        if number + 1 == first:
            return self._step(StepKind.RECOVER, frame, after)
        if self._num_concealed > _MAX_NUM_CONCEALED:
            return self._step(StepKind.SILENCE, frame)
        return self._step(StepKind.CONCEAL, frame)

    def _pause(self, now_s: float) -> Step | None:
        """Nothing came: silence, as far as the clock is."""
        overdue_s = now_s - self._due_s() - (0.0 if self._is_quiet else OUTAGE_S)
        if overdue_s < 0.0:
            return None
        self._is_quiet = True
        num_frames = 1 + int(overdue_s * self._clock_hz) // self._frame_ticks
        return self._step(StepKind.SILENCE, num_frames * self._frame_ticks)

    def _step(self, kind: StepKind, ticks: int, packet: _Packet | None = None) -> Step:
        self._next_timestamp += ticks
        if packet is None:
            return Step(kind, ticks)
        return Step(kind, ticks, packet.payload, packet.arrived_s)


class _Transits:
    """How late packets are: the newest transit times, up to an offset between two clocks.

    The quickest of the newest is the line from timestamps to instants; as only the newest count, it
    follows clocks that drift apart and paths that change.
    """

    __slots__ = ("_newest", "_num", "jitter_s", "quickest_s", "target_s")

    def __init__(self, quickest_s: float = float("inf")) -> None:
        self.quickest_s = quickest_s
        self.target_s = _MIN_TARGET_S
        self.jitter_s = 0.0
        self._newest: deque[float] = deque(maxlen=_NUM_TRANSITS)
        self._num = 0

    def add(self, transit_s: float) -> None:
        if self._newest and abs(transit_s - self._newest[-1]) > _CLOCK_JUMP_S:
            self.restart(transit_s)
        if self._newest:
            self.jitter_s += (abs(transit_s - self._newest[-1]) - self.jitter_s) / 16
        self._newest.append(transit_s)
        self.quickest_s = min(self.quickest_s, transit_s)
        self._num += 1
        if self._num % _JUDGE_EVERY == 0:
            self._judge()

    def restart(self, transit_s: float) -> None:
        """The line is another one from here on."""
        self._newest.clear()
        self.quickest_s = transit_s

    def _judge(self) -> None:
        ordered = sorted(self._newest)
        self.quickest_s = ordered[0]
        late_s = ordered[int(_LATE_QUANTILE * (len(ordered) - 1))] - ordered[0]
        self.target_s = min(MAX_TARGET_S, max(_MIN_TARGET_S, late_s))


def _nearest(value: int, near: int, bits: int) -> int:
    """The number nearest to `near` whose low `bits` bits are `value`."""
    half = 1 << bits - 1
    return near + ((value - near + half) & (1 << bits) - 1) - half
