"""How often a stream that is taken up in its middle goes on in other words than an unbroken one.

The shipped model answers, and answers again from a quarter, a half and three quarters of what it
said, by both settings of `model.resume`. Asked are the assistant's own cases, which end by
themselves, and long answers to noise, where the likeliest tokens are close together: the worst
case there is.

    python -m loadtests.resume_divergence
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop

from gateway.engine.client import EngineClient
from loadtests.command_line import parser_for
from loadtests.engine_speed import ANSWER_TOKENS, GREEDY, SEED, Prompts, request, start
from loadtests.facts import conclude, verdict
from loadtests.looking_ahead import PROMPT_TOKENS, WARM, answer, assistant_requests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.generation import GenerationRequest

NUM_REQUESTS = 40
PARTS = (0.25, 0.5, 0.75)
MODES = ("exact", "fast")


async def compare(
    engines: Sequence[EngineClient], requests: Sequence[GenerationRequest]
) -> dict[str, Any]:
    """By mode, how many of the streams that were taken up went on differently."""
    num_streams, num_differing = 0, dict.fromkeys(MODES, 0)
    for asked in requests:
        said, _, _ = await answer(engines[0], asked)
        for part in PARTS:
            known = int(part * len(said))
            if not known:
                continue
            resumed = msgspec.structs.replace(asked, resume=tuple(said[:known]))
            num_streams += 1
            for mode, engine in zip(MODES, engines, strict=True):
                rest, _, _ = await answer(engine, resumed)
                num_differing[mode] += rest != said[known:]
    ratios = {mode: round(num / num_streams, 4) for mode, num in num_differing.items()}
    return {"streams": num_streams, "differing_ratio": ratios}


async def measure(num_requests: int) -> dict[str, Any]:
    """All kinds of answers."""
    fast = msgspec.structs.replace(start(1), resumes_fast=True)
    async with EngineClient(start(1)) as exactly, EngineClient(fast) as soon:
        prompts = Prompts(exactly.facts.vocab_size)
        kinds = {
            name: [
                request(prompts.new(PROMPT_TOKENS), ANSWER_TOKENS, sampling)
                for _ in range(num_requests)
            ]
            for name, sampling in (("long_greedy", GREEDY), ("long_by_chance", WARM))
        }
        kinds["assistant"] = assistant_requests()[:num_requests]
        return {name: await compare((exactly, soon), asked) for name, asked in kinds.items()}


def main() -> int:
    """Run it and save the result; 1 when streams that are taken up exactly differ."""
    parser_for("resume_divergence", __doc__).parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        kinds = runner.run(measure(NUM_REQUESTS))
    missed = [name for name, one in kinds.items() if one["differing_ratio"]["exact"]]
    return conclude("resume_divergence", SEED, {"answers": kinds, **verdict((), missed=missed)})


if __name__ == "__main__":
    raise SystemExit(main())
