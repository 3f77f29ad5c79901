"""How fast the engine is on the shipped model, below HTTP.

Through the engine port, with the engine in its own process: tokens per second on one and on many
streams, the time to the first token of a cold prompt, of the same prompt again and of a second
turn. In this process, where the model's runs can be told from the rest of a step: what Python costs
beside them, and how many steps pass until a cancelled slot works for somebody else.

    python -m loadtests.engine_speed [--quick]
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

import msgspec
import uvloop

from gateway.config.site import SHIPPED_MODEL
from gateway.core.budget import TurnClass
from gateway.core.generation import (
    Constraint,
    ConstraintKind,
    FinishReason,
    GenerationEnd,
    GenerationRequest,
    Sampling,
    TokenFrame,
)
from gateway.engine.bundle import load_bundle
from gateway.engine.client import EngineClient
from gateway.engine.frames import Start
from gateway.engine.worker.__main__ import build_engine
from gateway.engine.worker.loop import Wake
from loadtests.command_line import parser_for
from loadtests.facts import percentile, save, summary_ms
from loadtests.host import HostMeter

if TYPE_CHECKING:
    from gateway.engine.worker.engine import Engine
    from gateway.engine.worker.model import DecoderModel
    from gateway.engine.worker.session import Session
    from gateway.engine.worker.tensors import Binding

SEED = 3
NUM_STREAMS = 32
ANSWER_TOKENS = 200
HISTORY_TOKENS, NEW_TOKENS = 200, 24
_WARM_UP_TOKENS = 32

GREEDY = Sampling(temperature=0.0)
TOP_K = Sampling(temperature=0.8, top_k=40, seed=1)
ANY_TEXT = Constraint(ConstraintKind.REGEX, "[ -~]{4000}")


def start(num_slots: int = NUM_STREAMS) -> Start:
    """The shipped model, with all cores."""
    bundle_path = str(load_bundle(SHIPPED_MODEL).root)
    return Start(bundle_path, num_slots=num_slots, spare_cores=0)


class Prompts:
    """Random prompts, no two of which begin alike."""

    def __init__(self, vocab_size: int) -> None:
        self._rng = random.Random(SEED)
        self._vocab_size = vocab_size

    def new(self, num_tokens: int) -> tuple[int, ...]:
        """A prompt nobody has seen."""
        return tuple(self._rng.choices(range(self._vocab_size), k=num_tokens))


def request(
    prompt: tuple[int, ...],
    max_tokens: int,
    sampling: Sampling = GREEDY,
    constraint: Constraint | None = None,
) -> GenerationRequest:
    """One generation of exactly `max_tokens`, if no grammar ends it."""
    return GenerationRequest(
        "speed", prompt, max_tokens, sampling, constraint, TurnClass.AGENT, ignore_end=True
    )


async def first_token_s(engine: EngineClient, prompt: tuple[int, ...]) -> tuple[float, int]:
    """The time to the first token, and how many prompt tokens were cached."""
    sent_s = time.monotonic()
    first_s, cached_tokens = 0.0, 0
    async with aclosing(engine.generate(request(prompt, 2))) as events:
        async for event in events:
            if isinstance(event, TokenFrame) and not first_s:
                first_s = time.monotonic() - sent_s
            elif isinstance(event, GenerationEnd):
                cached_tokens = event.cached_tokens
    return first_s, cached_tokens


async def tokens_per_s(engine: EngineClient, prompts: Prompts, num_streams: int) -> float:
    """Decode speed over all streams: from the last first token to the first end."""
    firsts: list[float] = []
    seen = [0] * num_streams
    at_first: list[int] = []
    ended: list[tuple[float, int]] = []

    async def one(index: int) -> None:
        asked = request(prompts.new(_WARM_UP_TOKENS), ANSWER_TOKENS)
        async with aclosing(engine.generate(asked)) as events:
            async for event in events:
                if isinstance(event, TokenFrame):
                    seen[index] += len(event.ids)
                    if event.first_index == 0:
                        firsts.append(time.monotonic())
                        at_first.append(sum(seen))
                elif not ended:
                    ended.append((time.monotonic(), sum(seen)))

    async with asyncio.TaskGroup() as group:
        for index in range(num_streams):
            group.create_task(one(index))
    end_s, num_tokens = ended[0]
    return (num_tokens - at_first[-1]) / (end_s - firsts[-1])


async def through_the_port(prompts: Prompts, *, rounds: int, turns: int) -> dict[str, Any]:
    """Speeds as a site's router sees them."""
    cold: list[float] = []
    again: list[float] = []
    second: list[float] = []
    speeds: dict[int, list[float]] = {1: [], NUM_STREAMS: []}
    spinning_speeds: dict[int, list[float]] = {1: [], NUM_STREAMS: []}
    spins = msgspec.structs.replace(start(), allow_spinning=True)
    async with EngineClient(start()) as engine, EngineClient(spins) as spinning:
        for one in (engine, spinning):
            await tokens_per_s(one, prompts, 4)
        for _ in range(rounds):
            for num_streams in speeds:
                for one, by_streams in ((engine, speeds), (spinning, spinning_speeds)):
                    taken = await tokens_per_s(one, prompts, num_streams)
                    by_streams[num_streams].append(taken)
        for _ in range(turns):
            history = prompts.new(HISTORY_TOKENS)
            whole = (*history, *prompts.new(NEW_TOKENS))
            cold.append((await first_token_s(engine, prompts.new(len(whole))))[0])
            await first_token_s(engine, history)
            second_s, num_cached = await first_token_s(engine, whole)
            if num_cached < HISTORY_TOKENS - 16:
                raise RuntimeError(f"only {num_cached} of {HISTORY_TOKENS} tokens were cached")
            second.append(second_s)
            again.append((await first_token_s(engine, whole))[0])
    ratio = percentile(second, 0.5) / percentile(cold, 0.5)
    return {
        "tokens_per_s": _speeds(speeds),
        "tokens_per_s_with_spinning_threads": _speeds(spinning_speeds),
        "ttft_ms": {
            "prompt_tokens": HISTORY_TOKENS + NEW_TOKENS,
            "cold": summary_ms(cold, SEED),
            "second_turn": summary_ms(second, SEED),
            "same_prompt_again": summary_ms(again, SEED),
            "cached_history_target": 8.0,
            "met": percentile(again, 0.5) * 1e3 <= 8.0,
        },
        "second_turn_ratio": {"p50": round(ratio, 3), "target": 0.25, "met": ratio <= 0.25},
    }


def _speeds(speeds: dict[int, list[float]]) -> dict[str, Any]:
    return {
        "one_stream": _speed(speeds[1], 1500.0),
        f"{NUM_STREAMS}_streams": _speed(speeds[NUM_STREAMS], 6000.0),
    }


def _speed(taken: list[float], target: float) -> dict[str, Any]:
    median = percentile(taken, 0.5)
    return {
        "rounds": [round(value) for value in taken],
        "median": round(median),
        "target": target,
        "met": median >= target,
    }


class TimedSession:
    """Adds up what the model's own runs take."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.taken_s = 0.0

    def io_binding(self) -> Binding:
        """As the session's."""
        return self._session.io_binding()

    def run_with_iobinding(self, binding: Binding, options: object = None) -> None:
        """As the session's, on the clock."""
        began_s = time.perf_counter()
        self._session.run_with_iobinding(binding, options)
        self.taken_s += time.perf_counter() - began_s


def python_share(
    engine: Engine, prompts: Prompts, num_rows: int, asked: tuple[Sampling, Constraint | None]
) -> dict[str, float]:
    """The part of decode steps that is not the model's run."""
    for key in range(num_rows):
        engine.submit(key, request(prompts.new(_WARM_UP_TOKENS), ANSWER_TOKENS, *asked))
    while not all(generation.tokens for generation in engine._generations.values()):
        engine.admit_compiled()
        engine.step()
    engine.take_events()
    model = cast("DecoderModel", engine.model)
    session = model._session = TimedSession(model._session)
    began_s, num_steps = time.perf_counter(), 0
    while num_steps < ANSWER_TOKENS // 2 and not engine.is_resting:
        engine.step()
        engine.take_events()
        num_steps += 1
    step_s = (time.perf_counter() - began_s) / num_steps
    run_s = session.taken_s / num_steps
    model._session = session._session
    for key in range(num_rows):
        engine.cancel(key)
    engine.take_events()
    return {
        "step_ms": round(step_s * 1e3, 3),
        "python_us": round((step_s - run_s) * 1e6, 1),
        "python_ratio": round(1 - run_s / step_s, 4),
    }


def steps_until_reused(engine: Engine, prompts: Prompts, rounds: int) -> int:
    """The most steps between a cancellation and the next request's work in the freed slot."""
    worst = 0
    for _ in range(rounds):
        for key in range(engine.scheduler.num_slots + 1):
            engine.submit(key, request(prompts.new(_WARM_UP_TOKENS), ANSWER_TOKENS))
        while engine.load().num_queued > 1 or any(
            not one.tokens for one in list(engine._generations.values())[:-1]
        ):
            engine.step()
        engine.cancel(random.Random(SEED).randrange(engine.scheduler.num_slots))
        steps = 0
        while engine.load().num_queued:
            engine.step()
            steps += 1
        worst = max(worst, steps)
        for key in range(engine.scheduler.num_slots + 1):
            engine.cancel(key)
        ends = [event for _, event in engine.take_events() if isinstance(event, GenerationEnd)]
        if any(end.reason is not FinishReason.CANCELLED for end in ends):
            raise RuntimeError("a generation ended by itself")
    return worst


def in_this_process(prompts: Prompts, rounds: int) -> dict[str, Any]:
    """What a step of one token is made of."""
    engine, _ = build_engine(msgspec.structs.replace(start(), looks_ahead=False), Wake())
    kinds: dict[str, tuple[Sampling, Constraint | None]] = {
        "greedy": (GREEDY, None),
        "top_k": (TOP_K, None),
        "grammar": (GREEDY, ANY_TEXT),
    }
    shares = {
        name: {f"{rows}_rows": python_share(engine, prompts, rows, asked) for rows in (1, 8, 32)}
        for name, asked in kinds.items()
    }
    steps = steps_until_reused(engine, prompts, rounds)
    engine.close()
    return {
        "python_beside_the_model": shares,
        "steps_until_a_cancelled_slot_works_again": {
            "worst": steps,
            "target": 1,
            "met": steps <= 1,
        },
    }


def main() -> None:
    """Run it and save the result."""
    parser = parser_for("engine_speed", __doc__)
    parser.add_argument("--quick", action="store_true", help="few samples, not saved")
    quick = parser.parse_args().quick
    bundle = load_bundle(SHIPPED_MODEL)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        prompts = Prompts(runner.run(_vocab_size()))
        meter = HostMeter()
        rounds, turns = (1, 5) if quick else (7, 200)
        port = runner.run(through_the_port(prompts, rounds=rounds, turns=turns))
    body = {
        "model": f"{bundle.name} {bundle.version} {bundle.artifact('cpu').precision}",
        **port,
        **in_this_process(prompts, 3 if quick else 50),
        "host_busy_ratio": meter.busy_ratio(),
    }
    if quick:
        print(body)
    else:
        save("engine_speed", SEED, body)


async def _vocab_size() -> int:
    async with EngineClient(start(1)) as engine:
        return engine.facts.vocab_size


if __name__ == "__main__":
    main()
