"""A site in virtual time: the shipped admission before its engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from gateway.core.credit_brake import CreditBrake
from loadtests.sim.admission import admit
from loadtests.sim.engine import Ended, Engine, EngineEffect, EngineEvent, FirstToken, Submit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.budget import TurnClass
    from gateway.core.generation import EngineLoad
    from gateway.core.step_time import StepTimes

DRAINING = "draining"


class SiteSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a site is made of. Raises ValueError for sizes that hold nothing."""

    profile: str
    num_slots: int = 16
    chunk_tokens: int = 256
    max_num_queued: int = 64
    grid_tokens: int = 16
    """Where prompts may be cut, so that a chunk fits beside running streams; the default is an
    engine's whose rounding allows it. `chunk_tokens`: only there."""

    def __post_init__(self) -> None:
        """Refuse a site that cannot serve anything."""
        for field in ("num_slots", "chunk_tokens", "max_num_queued", "grid_tokens"):
            if getattr(self, field) < 1:
                raise ValueError(f"`{field}` must be at least 1")
        if self.chunk_tokens % self.grid_tokens:
            raise ValueError("`chunk_tokens` must be a multiple of `grid_tokens`")


class Shed(msgspec.Struct, frozen=True, gc=False):
    """The site did not take it, and why."""

    key: int
    at_s: float
    reason: str


SiteEffect = EngineEffect | Shed


class Site:
    """A `core` machine: `Submit` is an offer, decided at once."""

    __slots__ = ("_due", "_slowness", "_spec", "_times", "brake", "engine", "is_draining")

    def __init__(self, spec: SiteSpec, times: StepTimes) -> None:
        self._spec = spec
        self._times = times
        self.is_draining = False
        self._slowness = 1.0
        self.engine = self._new_engine()
        self.brake = CreditBrake()
        self._due: dict[int, tuple[TurnClass, float]] = {}
        """Of turns without a first token: class and deadline."""

    @property
    def wake_at_s(self) -> float:
        """When the engine's step or stretch is over."""
        return self.engine.wake_at_s

    def receive(self, event: EngineEvent, now_s: float) -> Sequence[SiteEffect]:
        """Admit or shed a submission; pass a cancellation on."""
        if isinstance(event, Submit):
            if self.is_draining:
                return (Shed(event.key, now_s, DRAINING),)
            deadline_s = event.deadline_s
            admission = admit(
                self.engine.load(now_s),
                turn_class=event.turn_class,
                prompt_tokens=event.prompt_tokens,
                remaining_s=None if deadline_s is None else deadline_s - now_s,
                max_num_queued=self.engine.max_num_queued,
            )
            if not admission.admitted:
                return (Shed(event.key, now_s, admission.reason),)
            if deadline_s is not None:
                self._due[event.key] = event.turn_class, deadline_s
        else:
            self._due.pop(event.key, None)
        return self._judged(self.engine.receive(event, now_s))

    def wake(self, now_s: float) -> Sequence[SiteEffect]:
        """The engine's step or stretch is over."""
        return self._judged(self.engine.wake(now_s))

    def load(self, now_s: float) -> EngineLoad:
        """The engine's exact load."""
        return self.engine.load(now_s)

    def kill(self) -> tuple[int, ...]:
        """Lose everything; what comes back is a new engine. Returns the generations lost."""
        lost = self.engine.keys()
        self.engine = self._new_engine()
        self.brake = CreditBrake()
        self._due.clear()
        return lost

    def set_slowness(self, factor: float, now_s: float, *, is_known: bool) -> None:
        """The machine runs at 1/`factor` of its speed; see `Engine.set_slowness`."""
        self._slowness = factor
        self.engine.set_slowness(factor, now_s, is_known=is_known)

    def _judged(self, effects: Sequence[EngineEffect]) -> Sequence[EngineEffect]:
        """Turns that begin or have expired are held against their deadlines."""
        for effect in effects:
            if not isinstance(effect, Ended) and (due := self._due.pop(effect.key, None)):
                turn_class, deadline_s = due
                is_met = isinstance(effect, FirstToken) and effect.at_s <= deadline_s
                self.brake.add(turn_class, is_met=is_met, now_s=effect.at_s)
        return effects

    def _new_engine(self) -> Engine:
        """An engine just started; what ails the machine ails it too, and it has measured that."""
        engine = Engine(
            self._times,
            num_slots=self._spec.num_slots,
            chunk_tokens=self._spec.chunk_tokens,
            max_num_queued=self._spec.max_num_queued,
            grid_tokens=self._spec.grid_tokens,
        )
        engine.set_slowness(self._slowness, 0.0, is_known=True)
        return engine
