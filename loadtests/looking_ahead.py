"""What it is worth that one stream's next tokens are guessed and checked several at a time.

Two engines with the shipped model, one of them without guesses, answer the same requests in turns,
one request at a time: long answers to random prompts, which repeat themselves as small models do,
and the assistant's own short answers. Both must give the same tokens.

    python -m loadtests.looking_ahead [--quick]
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop

from gateway.config.site import SHIPPED_MODEL
from gateway.core.generation import GenerationRequest, Sampling, TokenFrame
from gateway.engine.bundle import load_bundle
from gateway.engine.client import EngineClient
from gateway.engine.text_model import TextModel
from loadtests.command_line import parser_for
from loadtests.engine_speed import ANSWER_TOKENS, GREEDY, SEED, Prompts, request, start
from loadtests.facts import save
from loadtests.host import HostMeter
from models.subscriber_care.cases import read_cases
from models.subscriber_care.served import messages_of

if TYPE_CHECKING:
    from collections.abc import Sequence

PROMPT_TOKENS = 32
WARM = Sampling(temperature=0.7, top_k=40, seed=SEED)
MAX_ANSWER_TOKENS = 96


def assistant_requests() -> list[GenerationRequest]:
    """The assistant's evaluation conversations, each up to its turn, in random order."""
    text = TextModel.from_bundle(load_bundle(SHIPPED_MODEL))
    prompts = [
        tuple(text.render(messages_of(case.turns), text.fixed_tools)) for case in read_cases()
    ]
    random.Random(SEED).shuffle(prompts)
    return [GenerationRequest("ahead", prompt, MAX_ANSWER_TOKENS, GREEDY) for prompt in prompts]


async def answer(engine: EngineClient, asked: GenerationRequest) -> tuple[list[int], float, int]:
    """The tokens, and over how many seconds how many of them came behind the first."""
    tokens: list[int] = []
    first_s = last_s = time.monotonic()
    num_first = 0
    async with aclosing(engine.generate(asked)) as events:
        async for event in events:
            if isinstance(event, TokenFrame):
                last_s = time.monotonic()
                tokens += event.ids
                if not num_first:
                    first_s, num_first = last_s, len(tokens)
    return tokens, last_s - first_s, len(tokens) - num_first


async def compare(
    engines: Sequence[EngineClient], rounds: Sequence[Sequence[GenerationRequest]]
) -> dict[str, Any]:
    """Tokens per second behind the first ones, with guesses and without, by round."""
    speeds: tuple[list[float], list[float]] = ([], [])
    for requests in rounds:
        taken = [[0.0, 0.0], [0.0, 0.0]]
        for nth, asked in enumerate(requests):
            answers: dict[int, list[int]] = {}
            for which in (0, 1) if nth % 2 else (1, 0):  # who goes first finds the caches cold
                answers[which], took_s, count = await answer(engines[which], asked)
                taken[which][0] += took_s
                taken[which][1] += count
            if answers[0] != answers[1]:
                raise RuntimeError(f"guesses changed the answer to {asked.prompt}")
        for kept, (spent_s, num_tokens) in zip(speeds, taken, strict=True):
            kept.append(num_tokens / spent_s)
    with_guesses, without = speeds
    ratios = [one / other for one, other in zip(with_guesses, without, strict=True)]
    return {
        "tokens_per_s": round(statistics.median(with_guesses)),
        "tokens_per_s_without": round(statistics.median(without)),
        "ratio": {
            "rounds": [round(ratio, 3) for ratio in ratios],
            "median": round(statistics.median(ratios), 3),
        },
    }


async def measure(num_rounds: int, num_requests: int) -> dict[str, Any]:
    """All kinds of answers."""
    plain = msgspec.structs.replace(start(1), looks_ahead=False)
    async with EngineClient(start(1)) as guessing, EngineClient(plain) as stepping:
        engines = guessing, stepping
        prompts = Prompts(guessing.facts.vocab_size)
        told = assistant_requests()
        kinds = {
            name: [
                [
                    request(prompts.new(PROMPT_TOKENS), ANSWER_TOKENS, sampling)
                    for _ in range(num_requests)
                ]
                for _ in range(num_rounds)
            ]
            for name, sampling in (("long_greedy", GREEDY), ("long_by_chance", WARM))
        }
        share = len(told) // num_rounds
        kinds["assistant"] = [told[nth * share :][:share] for nth in range(num_rounds)]
        return {name: await compare(engines, rounds) for name, rounds in kinds.items()}


def main() -> None:
    """Run it and save the result."""
    parser = parser_for("looking_ahead", __doc__)
    parser.add_argument("--quick", action="store_true", help="few samples, not saved")
    quick = parser.parse_args().quick
    meter = HostMeter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        kinds = runner.run(measure(*((2, 2) if quick else (7, 10))))
    body = {"answers": kinds, "host_busy_ratio": meter.busy_ratio()}
    if quick:
        print(body)
    else:
        save("looking_ahead", SEED, body)


if __name__ == "__main__":
    main()
