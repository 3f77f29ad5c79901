"""The stages of a turn, and the rule that they add up to what the client saw.

A turn's clock is a sequence of marks. Each mark says which stage the time since the last mark
belongs to, so nothing is counted twice and nothing is left over: the stages up to the first
content sum to the time to first token, all of them to the turn's duration, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import accumulate
from typing import Annotated, Final, Protocol

import msgspec
from msgspec import Meta

from gateway.core.budget import TurnClass
from gateway.core.hops import SiteName


class Stage(StrEnum):
    """What a turn's time went into."""

    INGRESS = "ingress"
    """Reading, authenticating and checking the request; of speech, the way through the media."""
    PROMPT = "prompt"
    """Rendering the chat template, tokenising, writing the grammar's text."""
    ADMISSION = "admission"
    """Estimating, deciding, booking."""
    QUEUE = "queue"
    """In the engine until a slot is given: compiling the grammar, waiting."""
    PREFILL = "prefill"
    """Running the prompt through the model, up to the first token."""
    LINK = "link"
    """Between router and engine: what the engine did not report as its own."""
    UPSTREAM = "upstream"
    """Another server was asked, up to its first content."""
    DECODE = "decode"
    """Producing tokens after the first of a generation."""
    TOOL = "tool"
    """A server-side tool ran."""
    EGRESS = "egress"
    """Turning tokens into events and writing them to the client."""
    ENDPOINT = "endpoint"
    """Waiting, after the caller's last sound, until it is clear that the turn has ended."""
    ASR = "asr"
    """Making the final text of what the caller said."""
    TTS = "tts"
    """Making the first sound of the first clause."""
    PACING = "pacing"
    """Until the first packet of that sound left."""


class StageSpan(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A stretch of a turn: offset from its start and duration, in seconds."""

    stage: Stage
    offset_s: float
    duration_s: float

    @property
    def end_s(self) -> float:
        """Where the stretch ends, as an offset from the turn's start."""
        return self.offset_s + self.duration_s


class SiteStages(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What another site's part of a turn took, on that site's own clock."""

    site: SiteName
    took_us: Annotated[tuple[int, ...], Meta(max_length=32)]
    """Microseconds for each `Stage`, in the order of their declaration."""

    @classmethod
    def of(cls, site: str, clock: StageClock) -> SiteStages:
        """From the clock of the part this site did."""
        took_s = clock.durations_s()
        return cls(site, tuple(round(took_s.get(stage, 0.0) * 1e6) for stage in Stage))

    def durations_s(self) -> dict[Stage, float]:
        """Seconds by stage; those that took none are left out."""
        return {
            stage: took_us / 1e6
            for stage, took_us in zip(Stage, self.took_us, strict=False)
            if took_us > 0
        }


_EGRESS: Final = Stage.EGRESS  # CPython 3.11 takes 0.2 us to find a member by its class
_STREAMED: Final = frozenset({Stage.DECODE, Stage.LINK, Stage.EGRESS})
"""Stages that alternate once per token frame while an answer streams."""


@dataclass(slots=True)
class StageClock:
    """Attributes a turn's time to stages. Instants are monotonic seconds.

    Spans are contiguous, in order and at least 0 s long. While an answer streams, the stages that
    alternate with every frame are folded into one span each, so that a record's size does not
    grow with the answer's length: their durations are exact, the places within the stretch are
    not. No span reaches across the first content.
    """

    started_s: float
    first_content_s: float | None = None
    """The instant of the first content or tool-call delta, once it is out."""
    _at_s: float = field(init=False)
    _stages: list[Stage] = field(init=False, default_factory=list)
    _durations_s: list[float] = field(init=False, default_factory=list)
    """As long as `_stages`: spans are contiguous, so their offsets follow."""
    _growing: dict[Stage, int] = field(init=False, default_factory=dict)
    """The spans that may still grow, by stage; those before them are final."""
    _is_at_speech: bool = field(init=False, default=False)
    """Sound is being made of what there is: other marks wait."""

    def __post_init__(self) -> None:
        """Start at the turn's start."""
        self._at_s = self.started_s

    @property
    def spans(self) -> tuple[StageSpan, ...]:
        """The turn so far."""
        offsets_s = accumulate(self._durations_s, initial=0.0)
        return tuple(map(StageSpan, self._stages, offsets_s, self._durations_s))

    @property
    def elapsed_s(self) -> float:
        """From the turn's start to the last mark: what all spans sum to."""
        return self._at_s - self.started_s

    def mark(self, stage: Stage, now_s: float) -> None:
        """All time since the last mark was spent in `stage`."""
        if not self._is_at_speech:
            self._append(stage, now_s)

    def mark_parts(self, parts: tuple[tuple[Stage, float], ...], rest: Stage, now_s: float) -> None:
        """The time since the last mark was spent in `parts`, as another process measured them.

        What the parts do not explain is `rest`'s, and comes first. Parts that claim more than
        passed are scaled down, because the sum rule holds always; one that claims less than
        nothing, or no number, claims nothing.
        """
        passed_s = now_s - self._at_s
        if self._is_at_speech or not passed_s > 0.0:
            return
        claims_s = [min(max(0.0, duration_s), passed_s) for _, duration_s in parts]
        left_s = sum(claims_s)
        scale = passed_s / max(passed_s, left_s)
        self._append(rest, now_s - left_s * scale)
        for index, (stage, _) in enumerate(parts, start=1):
            self._append(stage, now_s - sum(claims_s[index:]) * scale)

    def mark_first_content(self, now_s: float) -> None:
        """Content left the gateway: the time since the last mark was egress.

        Only the first call sets the time to first content; calling it for later content is fine.
        """
        self.mark(_EGRESS, now_s)
        if self.first_content_s is None:
            self.first_content_s = self._at_s
            self._growing.clear()

    def hand_to_speech(self, now_s: float) -> None:
        """The first clause of an answer goes to the synthesiser.

        From here to `mark_first_sound` the caller waits for sound; that the rest of the text is
        made meanwhile costs him nothing, so that marks are left out.
        """
        if self.first_content_s is None and not self._is_at_speech:
            self.mark(Stage.EGRESS, now_s)
            self._is_at_speech = True

    def mark_first_sound(self, made_s: float, left_s: float) -> None:
        """The first content that can be heard: made by the synthesiser, and gone to the caller."""
        self._is_at_speech = False
        self.mark(Stage.TTS, made_s)
        self.mark(Stage.PACING, left_s)
        if self.first_content_s is None:
            self.first_content_s = self._at_s
            self._growing.clear()

    def end(self, now_s: float) -> None:
        """The turn is over: what is left is egress or, where no sound came, the synthesiser's."""
        stage = Stage.TTS if self._is_at_speech else Stage.EGRESS
        self._is_at_speech = False
        self.mark(stage, now_s)

    @property
    def ttft_s(self) -> float | None:
        """Time to first content, or None while there is none."""
        return None if self.first_content_s is None else self.first_content_s - self.started_s

    def durations_s(self) -> dict[Stage, float]:
        """Total per stage so far."""
        totals: dict[Stage, float] = {}
        for stage, duration_s in zip(self._stages, self._durations_s, strict=True):
            totals[stage] = totals.get(stage, 0.0) + duration_s
        return totals

    def ttft_durations_s(self) -> dict[Stage, float]:
        """Total per stage up to the first content; they sum to `ttft_s`."""
        ttft_s, totals = self.ttft_s or 0.0, dict[Stage, float]()
        for span in self.spans:
            if span.offset_s + span.duration_s / 2 < ttft_s:
                totals[span.stage] = totals.get(span.stage, 0.0) + span.duration_s
        return totals

    def _append(self, stage: Stage, until_s: float) -> None:
        duration_s = until_s - self._at_s
        if not duration_s > 0.0:
            return
        self._at_s = until_s
        at = self._growing.get(stage)
        if at is not None and (stage in _STREAMED or at == len(self._stages) - 1):
            self._durations_s[at] += duration_s
            return
        if stage not in _STREAMED:
            self._growing.clear()
        self._growing[stage] = len(self._stages)
        self._stages.append(stage)
        self._durations_s.append(duration_s)


class Outcome(StrEnum):
    """How a turn ended, for metrics and records."""

    ANSWERED = "answered"
    SHED = "shed"
    REJECTED = "rejected"
    """The caller's fault: bad request, key or limit."""
    ABANDONED = "abandoned"
    """The client went away, stalled, or its deadline passed."""
    FAILED = "failed"
    DISCARDED = "discarded"
    """Begun before the caller had finished for certain, and he went on: work for nothing. What he
    said in the end is another turn with a record of its own."""


_UNJUDGED: Final = frozenset({Outcome.REJECTED, Outcome.DISCARDED})
_MISSED: Final = frozenset({Outcome.SHED, Outcome.FAILED})


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """One place the turn could have gone, and what the decision thought of it."""

    site: str
    predicted_s: float
    margin_s: float
    reason: str
    report_age_s: float | None = None
    """Age of the load figures the estimate was made from; None when it is not known."""


class RouteDecision(msgspec.Struct, frozen=True, gc=False):
    """What the router decided and why, in the words of the trace attributes."""

    chosen: str
    """A site id, or "" when the turn was shed."""
    reason: str
    budget_s: float | None
    remaining_s: float | None
    candidates: tuple[Candidate, ...] = ()


@dataclass(slots=True)
class TurnTrail:
    """What is known of a turn while it runs. Rooms that do work add to it; edge closes it."""

    request_id: str
    clock: StageClock
    turn_class: TurnClass = TurnClass.AGENT
    tenant: str = ""
    caller: str = ""
    """A pseudonym of whom the tenant's client speaks for; empty: it did not say."""
    session: str = ""
    """The conversation it is part of; empty: it stands alone."""
    interface: str = ""
    """Where it came in: "openai", "grpc"."""
    traceparent: str = ""
    """The caller's W3C trace context in version 00; empty when there was none, or no valid one."""
    allowed_regions: tuple[str, ...] | None = None
    """Where the turn may be answered; None: anywhere."""
    allowed_sites: tuple[str, ...] | None = None
    """By whom its tenant's turns may be answered; None: by all."""
    budget_s: float | None = None
    site: str = ""
    """Who generated."""
    path: list[str] = field(default_factory=list)
    requested_model: str = ""
    model: str = ""
    """What answered: `name@digest`, or the name alone where another server has the model."""
    escalation: str = ""
    """Why the turn went to the core tier, or should have gone; empty when it stayed."""
    escalation_error: str = ""
    """The code of what kept the core tier from answering."""
    decisions: list[RouteDecision] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    num_resumes: int = 0
    """How often the stream went on in another engine."""
    num_left_out: int = 0
    """Messages that were not read, because there was no time for all of them."""
    tools_run: list[str] = field(default_factory=list)
    begun_early: bool = False
    """The answer was begun when the caller had probably finished."""
    is_certain: bool = True
    """Whether he has: what is begun early and never becomes certain is discarded."""
    peer_stages: list[SiteStages] = field(default_factory=list)
    """What the parts of other sites took, one entry for each site and generation."""

    def close(self, outcome: Outcome, finish: str, now_s: float, *, error: str = "") -> TurnRecord:
        """The record of the turn; time since the last mark goes to egress."""
        self.clock.end(now_s)
        outcome = outcome if self.is_certain else Outcome.DISCARDED
        return TurnRecord(
            request_id=self.request_id,
            turn_class=self.turn_class,
            tenant=self.tenant,
            caller=self.caller,
            session=self.session,
            interface=self.interface,
            traceparent=self.traceparent,
            site=self.site,
            path=tuple(self.path),
            requested_model=self.requested_model,
            model=self.model,
            escalation=self.escalation,
            escalation_error=self.escalation_error,
            outcome=outcome,
            finish=finish,
            error=error,
            started_s=self.clock.started_s,
            ttft_s=self.clock.ttft_s,
            duration_s=self.clock.elapsed_s,
            budget_s=self.budget_s,
            spans=self.clock.spans,
            decisions=tuple(self.decisions),
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            completion_tokens=self.completion_tokens,
            num_resumes=self.num_resumes,
            num_left_out=self.num_left_out,
            tools_run=tuple(self.tools_run),
            begun_early=self.begun_early,
            peer_stages=tuple(self.peer_stages),
        )


PEER_INTERFACE: Final = "peer"
"""Of a record that is of a part: what a site did of a turn that another site handed to it."""
ORIGIN_LOST: Final = "origin_lost"
"""The error of a part whose turn's own site was lost while it ran."""


class TurnRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The compact, final record of a turn: the one source of spans, histograms and `explain`."""

    request_id: str
    turn_class: TurnClass
    tenant: str
    interface: str
    traceparent: str
    site: str
    path: tuple[str, ...]
    requested_model: str
    model: str
    escalation: str
    escalation_error: str
    outcome: Outcome
    finish: str
    error: str
    started_s: float
    """Monotonic clock of the site that kept the record."""
    ttft_s: float | None
    duration_s: float
    budget_s: float | None
    spans: tuple[StageSpan, ...]
    decisions: tuple[RouteDecision, ...]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    num_resumes: int
    tools_run: tuple[str, ...]
    peer_stages: tuple[SiteStages, ...] = ()
    caller: str = ""
    session: str = ""
    num_left_out: int = 0
    begun_early: bool = False

    @property
    def within_budget(self) -> bool | None:
        """Whether the turn met its budget; None when it had none or cannot be judged.

        Shed and failed turns missed, however early their first content was. An answer without
        content is out when the turn ends. A client that went away before any content judges
        nothing while the budget lasted, and a miss after that.
        """
        budget_s, outcome, ttft_s = self.budget_s, self.outcome, self.ttft_s
        if budget_s is None or outcome in _UNJUDGED:
            return None
        if outcome in _MISSED:
            return False
        if ttft_s is not None:
            return ttft_s <= budget_s
        in_time = self.duration_s <= budget_s
        return None if in_time and outcome is Outcome.ABANDONED else in_time


class TurnSink(Protocol):
    """Takes the record of every turn, whatever its outcome."""

    def record(self, record: TurnRecord) -> None:
        """Keep it; never waits, never raises."""
        ...
