"""What a model is asked for and what it answers, in token ids.

These values cross the rooms between session and engine and, as MessagePack arrays, the socket to
the engine process; later the link to a peer site. Text exists only above this border: prompt
rendering, detokenisation, stop strings and tool-call parsing belong to the turn's origin.
"""

from __future__ import annotations

import math
from enum import StrEnum

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.errors import InvalidRequest

MAX_TOP_LOGPROBS = 20
"""As in the OpenAI API."""
_MAX_TOKEN_ID = 1 << 24


class FinishReason(StrEnum):
    """Why a generation ended."""

    STOP = "stop"
    """An end token or the end of the grammar."""
    LENGTH = "length"
    """`max_tokens` or the context is used up."""
    CANCELLED = "cancelled"
    """The caller went away or the session cut it off (stop string, barge-in)."""
    EXPIRED = "expired"
    """The first-token deadline passed in the queue."""
    FAILED = "failed"
    """The engine refused or failed it; `GenerationEnd.error` says why."""


class Refusal(StrEnum):
    """What a generation lacked that ended without the model's doing."""

    QUEUE_FULL = "queue_full"
    """EXPIRED without having waited: too many waited already."""
    INVALID_SCHEMA = "invalid_schema"
    """FAILED: the constraint cannot be used."""


class Sampling(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """How the next token is drawn from the logits.

    The order is fixed: grammar mask, logit bias, penalties, temperature, top-k, top-p, min-p,
    Gumbel-max draw with noise keyed by (seed, position, token id). `temperature` 0 is greedy.
    Penalties follow the OpenAI API (presence and frequency are subtracted from the logits of
    generated tokens) and CTRL for `repetition_penalty` (arXiv 1909.05858; prompt and generated).
    Raises InvalidRequest for values out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0
    logit_bias: dict[int, float] = {}
    top_logprobs: int | None = None
    """None: no logprobs. n: the drawn token's logprob and the n likeliest alternatives."""

    def __post_init__(self) -> None:
        """Hold every field to its range."""
        _in_range("temperature", self.temperature, 0.0, 2.0)
        _in_range("top_k", self.top_k, 0, 1 << 20)
        _in_range("top_p", self.top_p, 0.0, 1.0, low_open=True)
        _in_range("min_p", self.min_p, 0.0, 1.0)
        _in_range("presence_penalty", self.presence_penalty, -2.0, 2.0)
        _in_range("frequency_penalty", self.frequency_penalty, -2.0, 2.0)
        _in_range("repetition_penalty", self.repetition_penalty, 0.01, 10.0)
        _in_range("seed", self.seed, -(1 << 63), (1 << 63) - 1)
        if self.top_logprobs is not None:
            _in_range("top_logprobs", self.top_logprobs, 0, MAX_TOP_LOGPROBS)
        for token_id, bias in self.logit_bias.items():
            if not 0 <= token_id <= _MAX_TOKEN_ID:
                raise InvalidRequest(f"logit_bias names no token: {token_id}", param="logit_bias")
            _in_range("logit_bias", bias, -100.0, 100.0)


def _in_range(param: str, value: float, low: float, high: float, *, low_open: bool = False) -> None:
    if math.isfinite(value) and (low < value if low_open else low <= value) and value <= high:
        return
    raise InvalidRequest(
        f"{param} must be {'above' if low_open else 'at least'} {_plain(low)} and at most "
        f"{_plain(high)}, not {_plain(value)}",
        param=param,
    )


def _plain(number: float) -> str:
    """Whole numbers in all their digits."""
    return str(number) if isinstance(number, int) else f"{number:g}"


class ConstraintKind(StrEnum):
    """The language a constraint is written in."""

    JSON_SCHEMA = "json_schema"
    REGEX = "regex"
    LARK = "lark"
    """llguidance's Lark dialect; special tokens as `<name>`."""


class Constraint(msgspec.Struct, frozen=True, array_like=True):
    """A grammar the answer must follow."""

    kind: ConstraintKind
    text: str


class GenerationRequest(msgspec.Struct, frozen=True, array_like=True):
    """One generation, whole: a restarted engine or a peer can serve it from this alone."""

    request_id: str
    prompt: tuple[int, ...]
    max_tokens: int
    """Upper bound on tokens generated, those in `resume` included."""
    sampling: Sampling = Sampling()
    constraint: Constraint | None = None
    turn_class: TurnClass = TurnClass.AGENT
    first_token_deadline_s: float | None = None
    """Monotonic clock of this host; queued past it, the generation ends EXPIRED."""
    resume: tuple[int, ...] = ()
    """Tokens already delivered: replayed through decode, never delivered again."""
    ignore_end: bool = False
    """Do not stop at end tokens (load tests that need an exact output length)."""


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """The natural log-probability of one drawn token and of the likeliest alternatives."""

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


class TokenFrame(msgspec.Struct, frozen=True, array_like=True, tag="t"):
    """Some consecutive tokens of one generation.

    `first_index` counts generated tokens from 0, so that a frame delivered twice is recognised.
    `queue_s` and `prefill_s` are set on the first frame of a generation: what it waited in the
    engine's queue and what its prefill took, the first token's sampling included.
    """

    first_index: int
    ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()
    queue_s: float = 0.0
    prefill_s: float = 0.0


class GenerationEnd(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """The last event of a generation, with its counts."""

    reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    error: str = ""
    """For FAILED: one line for the caller."""
    refusal: Refusal | None = None
    """Set when the engine would not begin, or gave up on the constraint later."""


GenerationEvent = TokenFrame | GenerationEnd


SERVICE_ORDER = (TurnClass.VOICE, TurnClass.AGENT, TurnClass.BATCH)
"""Whoever comes earlier here is served first, whatever waits of the later ones."""

CLASS_RANK = {turn_class: rank for rank, turn_class in enumerate(SERVICE_ORDER)}
"""Place in `SERVICE_ORDER`."""


class Backlog(msgspec.Struct, frozen=True, array_like=True):
    """Work that the engine has not done yet."""

    num_queued: int = 0
    """Generations without a slot."""
    prompt_tokens: int = 0
    """Prompt tokens not prefilled yet, in the queue and in slots."""

    def __add__(self, other: Backlog) -> Backlog:
        return Backlog(self.num_queued + other.num_queued, self.prompt_tokens + other.prompt_tokens)

    def __sub__(self, other: Backlog) -> Backlog:
        return Backlog(self.num_queued - other.num_queued, self.prompt_tokens - other.prompt_tokens)


ClassBacklogs = tuple[Backlog, Backlog, Backlog]
"""One for each class, in `SERVICE_ORDER`."""

NO_BACKLOG: ClassBacklogs = (Backlog(), Backlog(), Backlog())


def add_backlogs(some: ClassBacklogs, more: ClassBacklogs) -> ClassBacklogs:
    """Both together, class by class."""
    return (some[0] + more[0], some[1] + more[1], some[2] + more[2])


def subtract_backlogs(some: ClassBacklogs, less: ClassBacklogs) -> ClassBacklogs:
    """What is left of `some`, class by class."""
    return (some[0] - less[0], some[1] - less[1], some[2] - less[2])


def backlog_of(request: GenerationRequest) -> ClassBacklogs:
    """What one request adds to the queue."""
    added = list(NO_BACKLOG)
    added[CLASS_RANK[request.turn_class]] = Backlog(1, len(request.prompt))
    voice, agent, batch = added
    return (voice, agent, batch)


class EngineLoad(msgspec.Struct, frozen=True, array_like=True):
    """What an engine has to do, and how fast it does it, at `as_of_s` (monotonic clock).

    The speeds are the engine's own measurements (exponentially weighted), so that a machine that
    became slower says so.
    """

    as_of_s: float
    num_slots: int
    num_active: int
    """Generations that hold a slot, prefilling or decoding."""
    prefill_s_per_token: float
    decode_step_s: float
    """One batched decode step at the present number of rows."""
    mean_remaining_tokens: float
    """Tokens a running generation is expected to produce still, at most its `max_tokens`; while
    none runs, the same as `answer_tokens`."""
    answer_tokens: float
    """Tokens a generation that has no slot yet is expected to produce."""
    backlog: ClassBacklogs = NO_BACKLOG
    available_in_s: float = 0.0
    """Expected time until the engine works again; 0 while it does."""
    chunk_tokens: int = 0
    """The most prompt tokens of one step; 0: whole prompts."""
    cached_ratio: float = 0.0
    """Prompt tokens that were not prefilled because they were cached, of all that came lately."""

    @property
    def num_queued(self) -> int:
        """Generations without a slot, of all classes."""
        return sum(one.num_queued for one in self.backlog)

    @property
    def queued_prompt_tokens(self) -> int:
        """Prompt tokens not prefilled yet, of all classes."""
        return sum(one.prompt_tokens for one in self.backlog)

    def ahead_of(self, turn_class: TurnClass) -> Backlog:
        """What a new turn of this class has to wait for: its own class and those before it."""
        num_queued = prompt_tokens = 0
        for backlog in self.backlog[: CLASS_RANK[turn_class] + 1]:
            num_queued += backlog.num_queued
            prompt_tokens += backlog.prompt_tokens
        return Backlog(num_queued, prompt_tokens)
