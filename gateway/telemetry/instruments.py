"""Every instrument of the gateway: what it is called, what it counts, and by which attributes.

Names and buckets of `gen_ai.*` follow the OpenTelemetry semantic conventions for generative AI
(their status is Development, so the names live here and not in a dependency); everything that has
no name there is `firsthop.*`. All times are seconds.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """How the values of an instrument add up."""

    HISTOGRAM = "histogram"
    COUNTER = "counter"
    GAUGE = "gauge"


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. `buckets` are upper bounds, for histograms only."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
TOKEN_TYPE = "gen_ai.token.type"
ERROR_TYPE = "error.type"

PROVIDER_NAME = "firsthop"
OPERATION_NAME = "chat"

_GEN_AI = (OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL)

# The bounds of the conventions, with one on each default budget (0.5 s voice, 2 s agent) and more
# where a small model answers.
_FIRST_TOKEN_S = (
    0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75,
    1.0, 1.5, 2.0, 2.5, 5.0, 10.0,
)  # fmt: skip
_PER_TOKEN_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
)  # fmt: skip
_REQUEST_S = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.64, 1.0, 1.28, 2.0, 2.56, 5.12, 10.24, 20.48,
    40.96, 81.92,
)  # fmt: skip
_STAGE_S = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0,
    2.0, 5.0, 10.0,
)  # fmt: skip
_LAG_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
_TOKENS = tuple(float(4**power) for power in range(14))

TIME_TO_FIRST_TOKEN = Instrument(
    name="gen_ai.server.time_to_first_token",
    kind=Kind.HISTOGRAM,
    unit="s",
    description="Arrival of the request to the first content or tool-call delta",
    attributes=_GEN_AI,
    buckets=_FIRST_TOKEN_S,
)
TIME_PER_OUTPUT_TOKEN = Instrument(
    name="gen_ai.server.time_per_output_token",
    kind=Kind.HISTOGRAM,
    unit="s",
    description="Time per token after the first, of answered turns without server tools",
    attributes=_GEN_AI,
    buckets=_PER_TOKEN_S,
)
REQUEST_DURATION = Instrument(
    name="gen_ai.server.request.duration",
    kind=Kind.HISTOGRAM,
    unit="s",
    description="Arrival of the request to the end of the turn, whatever its outcome",
    attributes=(*_GEN_AI, ERROR_TYPE),
    buckets=_REQUEST_S,
)
TOKEN_USAGE = Instrument(
    name="gen_ai.client.token.usage",
    kind=Kind.HISTOGRAM,
    unit="{token}",
    description="Prompt and answer tokens of a turn",
    attributes=(*_GEN_AI, TOKEN_TYPE),
    buckets=_TOKENS,
)
PROMPT_TOKENS = Instrument(
    name="firsthop.prompt.tokens",
    kind=Kind.COUNTER,
    unit="{token}",
    description=(
        "Prompt tokens by where their keys and values came from: computed, or cached from an "
        "earlier prompt. The prefix hit ratio is the rate of source=cached over the rate of all"
    ),
    attributes=("source",),
)
TURN_DURATION = Instrument(
    name="firsthop.turn.duration",
    kind=Kind.HISTOGRAM,
    unit="s",
    description="Time of a turn spent in one stage; a turn's stages sum to its duration",
    attributes=("class", "stage"),
    buckets=_STAGE_S,
)
FIRST_CONTENT = Instrument(
    name="firsthop.turn.first_content",
    kind=Kind.HISTOGRAM,
    unit="s",
    description="Arrival of the request to the first content, by class",
    attributes=("class",),
    buckets=_FIRST_TOKEN_S,
)
LOOP_LAG = Instrument(
    name="firsthop.loop.lag",
    kind=Kind.HISTOGRAM,
    unit="s",
    description="How late the site's event loop came to a timer; every turn waits as long",
    buckets=_LAG_S,
)
SLO_ATTAINMENT = Instrument(
    name="firsthop.slo.attainment",
    kind=Kind.COUNTER,
    unit="{turn}",
    description=(
        "Turns with a first-token budget, by whether they met it; shed and failed turns did not. "
        "Attainment is the rate of met=true over the rate of all"
    ),
    attributes=("class", "site", "met"),
)
SLO_OBJECTIVE = Instrument(
    name="firsthop.slo.objective",
    kind=Kind.GAUGE,
    unit="1",
    description="Which part of the turns with a budget is to meet it",
    attributes=("class",),
)
SLO_BURN_RATE = Instrument(
    name="firsthop.slo.burn_rate",
    kind=Kind.GAUGE,
    unit="1",
    description=(
        "How many times faster than the objective allows turns miss their budget, over the last "
        "10s, 1m, 5m, 30m, 1h and 6h; absent while there were none"
    ),
    attributes=("class", "window"),
)
SLO_BURNING = Instrument(
    name="firsthop.slo.burning",
    kind=Kind.GAUGE,
    unit="1",
    description="1 while both windows of a burn-rate rule are above its rate, else 0",
    attributes=("class", "rule"),
)
ROUTE_DECISIONS = Instrument(
    name="firsthop.route.decisions",
    kind=Kind.COUNTER,
    unit="{decision}",
    description="Routing decisions by what was done (local, forward, escalate, shed) and why",
    attributes=("outcome", "reason"),
)
SHED = Instrument(
    name="firsthop.shed",
    kind=Kind.COUNTER,
    unit="{turn}",
    description="Turns refused because they could not be served in time",
    attributes=("reason",),
)
FORWARD = Instrument(
    name="firsthop.forward",
    kind=Kind.COUNTER,
    unit="{turn}",
    description="Turns given to a peer site",
    attributes=("site",),
)
ESCALATE = Instrument(
    name="firsthop.escalate",
    kind=Kind.COUNTER,
    unit="{turn}",
    description="Turns given to the core tier",
)
EARLY_ANSWERS = Instrument(
    name="firsthop.early_answers",
    kind=Kind.COUNTER,
    unit="{answer}",
    description="Answers begun when the caller had probably finished: kept, or discarded",
    attributes=("outcome",),
)
TRACES_DROPPED = Instrument(
    name="firsthop.traces.dropped",
    kind=Kind.COUNTER,
    unit="{turn}",
    description="Turns whose trace was wanted but not built, because too many were",
)
RECORDS_DROPPED = Instrument(
    name="firsthop.records.dropped",
    kind=Kind.COUNTER,
    unit="{turn}",
    description="Turns whose record is not on disk, because it was full, slow or not there",
)
TURNS_ACTIVE = Instrument(
    name="firsthop.turns.active",
    kind=Kind.GAUGE,
    unit="{turn}",
    description="Turns under way at this site",
)
ENGINE_ACTIVE = Instrument(
    name="firsthop.engine.active",
    kind=Kind.GAUGE,
    unit="{generation}",
    description="Generations that hold a slot of the engine",
)
ENGINE_QUEUED = Instrument(
    name="firsthop.engine.queued",
    kind=Kind.GAUGE,
    unit="{generation}",
    description="Generations that wait for a slot of the engine",
)
ENGINE_RESTARTS = Instrument(
    name="firsthop.engine.restarts",
    kind=Kind.COUNTER,
    unit="{restart}",
    description="How often the engine process was started again",
)
VOICE_LINES = Instrument(
    name="firsthop.voice.lines",
    kind=Kind.GAUGE,
    unit="{line}",
    description="Calls and connections with sound under way, by voice worker",
    attributes=("worker",),
)
VOICE_DATAGRAMS = Instrument(
    name="firsthop.voice.datagrams",
    kind=Kind.COUNTER,
    unit="{datagram}",
    description=(
        "Packets of callers' sound that came (heard), did not (lost) or came too late to be used "
        "(late), datagrams of no call (stranger), and those that were sent"
    ),
    attributes=("worker", "kind"),
)
VOICE_LATENESS = Instrument(
    name="firsthop.voice.lateness",
    kind=Kind.COUNTER,
    unit="{event}",
    description=(
        "Frames that left more than a frame after their time, and times that the worker's timer "
        "came late: it has too much to do, or too little of a core"
    ),
    attributes=("worker", "kind"),
)
VOICE_CPU = Instrument(
    name="firsthop.voice.cpu",
    kind=Kind.COUNTER,
    unit="s",
    description="CPU time of a voice worker's process",
    attributes=("worker",),
)
VOICE_RESTARTS = Instrument(
    name="firsthop.voice.restarts",
    kind=Kind.COUNTER,
    unit="{restart}",
    description="How often a voice worker was started again",
)

INSTRUMENTS: tuple[Instrument, ...] = (
    TIME_TO_FIRST_TOKEN,
    TIME_PER_OUTPUT_TOKEN,
    REQUEST_DURATION,
    TOKEN_USAGE,
    PROMPT_TOKENS,
    TURN_DURATION,
    FIRST_CONTENT,
    LOOP_LAG,
    SLO_ATTAINMENT,
    SLO_OBJECTIVE,
    SLO_BURN_RATE,
    SLO_BURNING,
    ROUTE_DECISIONS,
    SHED,
    FORWARD,
    ESCALATE,
    EARLY_ANSWERS,
    TRACES_DROPPED,
    RECORDS_DROPPED,
    TURNS_ACTIVE,
    ENGINE_ACTIVE,
    ENGINE_QUEUED,
    ENGINE_RESTARTS,
    VOICE_LINES,
    VOICE_DATAGRAMS,
    VOICE_LATENESS,
    VOICE_CPU,
    VOICE_RESTARTS,
)
