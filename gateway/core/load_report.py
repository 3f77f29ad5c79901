"""What a site tells a peer about its load: small enough to ride on every answer.

The figures are the site's own: predicted waits by class at the speed it measured of itself. All
are whole numbers in the unit the field names, so that a report stays near 100 bytes. No clocks
are compared: `age_us` is how old the figures were when they left, and the reader adds what it
knows of the way.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.estimate import first_token_s, num_free_slots, slot_interval_s, step_s, token_s
from gateway.core.generation import CLASS_RANK, SERVICE_ORDER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.core.credit_brake import CreditBrake
    from gateway.core.generation import EngineLoad

MAX_REPORT_BYTES = 256
"""No report is longer; an ordinary one with one model has about 100."""
MODEL_KEY_BYTES = 8
MAX_NUM_MODELS = 8
_MAX_US = 3_600_000_000
_MAX_NS = 10_000_000_000
_MAX_COUNT = 1_000_000

Micros = Annotated[int, msgspec.Meta(ge=0, le=_MAX_US)]
Count = Annotated[int, msgspec.Meta(ge=0, le=_MAX_COUNT)]
Total = Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1)]
ModelKey = Annotated[bytes, msgspec.Meta(min_length=MODEL_KEY_BYTES, max_length=MODEL_KEY_BYTES)]


class SiteState(IntEnum):
    """Whether a site wants work."""

    READY = 0
    DEGRADED = 1
    """It works, but not as it should: its engine restarts, or its machine is sick."""
    DRAINING = 2
    """It finishes what it has and takes nothing new."""


class Received(NamedTuple):
    """All work of one class that a site has received from one peer in this epoch."""

    num_turns: Total = 0
    prompt_tokens: Total = 0


ByClass = tuple[Received, Received, Received]
NOTHING_RECEIVED: ByClass = (Received(), Received(), Received())


class LoadReport(msgspec.Struct, frozen=True, array_like=True):
    """One site's figures for one reader, in `SERVICE_ORDER` where there is one for each class.

    Decoding one with a figure out of range raises msgspec.ValidationError.
    """

    epoch: Total
    """Grows with each start of the site (Unix time in ms); counters begin anew with it."""
    seq: Total
    """Grows with each report of an epoch."""
    age_us: Micros
    state: SiteState
    capacity_permille: Annotated[int, msgspec.Meta(ge=0, le=1000)]
    """What the operator leaves of the site's capacity now."""
    num_slots: Annotated[int, msgspec.Meta(ge=1, le=_MAX_COUNT)]
    num_free: Count
    """Slots nobody holds."""
    num_ahead: tuple[Count, Count, Count]
    """Turns that wait for a slot before a new one of the class."""
    wait_us: tuple[Micros, Micros, Micros]
    """Until the prompt of a new turn of the class would be next."""
    credit_us: tuple[Micros, Micros, Micros]
    """Work of the class that it will still accept."""
    prefill_ns_per_token: Annotated[int, msgspec.Meta(ge=0, le=_MAX_NS)]
    """At present, beside the rows that decode."""
    step_us: Micros
    """The decode step a prefill may have to wait for; 0 while nothing runs."""
    slot_us: Micros
    """Mean time between two slots becoming free."""
    received: ByClass = NOTHING_RECEIVED
    """From the reader. Refused turns count: what the reader sent has arrived."""
    models: Annotated[tuple[ModelKey, ...], msgspec.Meta(max_length=MAX_NUM_MODELS)] = ()


class Credits(msgspec.Struct, frozen=True):
    """How long a turn of each class may have to wait for a site to still take it, in seconds.

    Beyond the class's usual budget a wait is worth nothing to anybody.
    """

    voice_s: float = 0.5
    agent_s: float = 2.0
    batch_s: float = 60.0

    def of(self, turn_class: TurnClass) -> float:
        """The longest wait worth offering."""
        match turn_class:
            case TurnClass.VOICE:
                return self.voice_s
            case TurnClass.AGENT:
                return self.agent_s
            case TurnClass.BATCH:
                return self.batch_s

    def granted(self, brake: CreditBrake, now_s: float) -> Credits:
        """What is left of them at a site that is late."""
        voice_s, agent_s, batch_s = (
            self.of(turn_class) * brake.ratio(turn_class, now_s) for turn_class in SERVICE_ORDER
        )
        return Credits(voice_s, agent_s, batch_s)


def model_key(digest: str) -> bytes:
    """The first bytes of a model's digest, given in hexadecimal with or without an algorithm.

    Raises ValueError for what is no such digest.
    """
    key = bytes.fromhex(digest.rpartition(":")[2][: 2 * MODEL_KEY_BYTES])
    if len(key) != MODEL_KEY_BYTES:
        raise ValueError(f"a model digest has at least {2 * MODEL_KEY_BYTES} hexadecimal digits")
    return key


def report_load(
    load: EngineLoad,
    *,
    now_s: float,
    epoch: int,
    seq: int,
    max_num_queued: int,
    credits: Credits,
    state: SiteState = SiteState.READY,
    capacity_ratio: float = 1.0,
    received: ByClass = NOTHING_RECEIVED,
    models: tuple[bytes, ...] = (),
) -> LoadReport:
    """The report of a site whose engine says `load`, at `now_s` on the clock of its `as_of_s`.

    A class has no credit while its queue is full, the site drains or its capacity is cut to
    nothing.
    """
    last_s = step_s(load)
    waits_s = [first_token_s(load, 0, rank) - last_s for rank in CLASS_RANK.values()]
    num_ahead = [load.ahead_of(turn_class).num_queued for turn_class in SERVICE_ORDER]
    num_free = num_free_slots(load)
    takes_work = state is not SiteState.DRAINING and capacity_ratio > 0.0
    credits_s = (
        credits.of(turn_class) - wait_s
        if takes_work and (num < max_num_queued or num < num_free)
        else 0.0
        for turn_class, wait_s, num in zip(SERVICE_ORDER, waits_s, num_ahead, strict=True)
    )
    return LoadReport(
        epoch=epoch,
        seq=seq,
        age_us=_micros(now_s - load.as_of_s),
        state=state,
        capacity_permille=round(1000 * min(1.0, max(0.0, capacity_ratio))),
        num_slots=load.num_slots,
        num_free=num_free,
        num_ahead=_three(min(_MAX_COUNT, num) for num in num_ahead),
        wait_us=_three(map(_micros, waits_s)),
        credit_us=_three(map(_micros, credits_s)),
        prefill_ns_per_token=min(_MAX_NS, round(token_s(load) * 1e9)),
        step_us=_micros(last_s),
        slot_us=_micros(slot_interval_s(load)),
        received=received,
        models=models,
    )


def with_turn(received: ByClass, turn_class: TurnClass, prompt_tokens: int) -> ByClass:
    """What has been received from a peer, with one more turn."""
    counted = list(received)
    rank = CLASS_RANK[turn_class]
    num_turns, tokens = counted[rank]
    counted[rank] = Received(num_turns + 1, tokens + prompt_tokens)
    voice, agent, batch = counted
    return (voice, agent, batch)


def _micros(seconds: float) -> int:
    return min(_MAX_US, max(0, round(seconds * 1e6)))


def _three(values: Iterable[int]) -> tuple[int, int, int]:
    one, two, three = values
    return (one, two, three)
