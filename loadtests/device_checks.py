"""Is what a device computes right, and how exact is it? Against the CPU's fp32, and against itself.

Both are asked the same questions token by token: the device is fed the CPU's own greedy tokens,
behind ragged prompts that it prefilled in one padded batch, and decodes all rows together. Its
choice may differ where two tokens are all but equally likely; what is held to a bound is by how
much the CPU finds the device's choice less likely, and how far the distributions are apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from gateway.core.generation import GenerationRequest, Sampling, TokenFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from gateway.engine.worker.engine import Engine
    from gateway.engine.worker.model import DecoderModel

    Floats = NDArray[np.float32]

MAX_REGRET: Final = 0.1
"""In logits; random weights give logits of unit size, the likeliest of which leads by 0.2."""
MAX_DIVERGENCE: Final = 1e-3
"""Mean Kullback-Leibler divergence from the CPU's fp32, in nats."""
_ANSWER_TOKENS: Final = 24
_GREEDY: Final = Sampling(temperature=0.0)

Ids = list[list[int]]


class Reference(NamedTuple):
    """What the CPU answers greedily to a prompt, and the logits f32[tokens, V] it chose from."""

    tokens: list[int]
    logits: Floats


def reference(model: DecoderModel, prompts: Ids, num_tokens: int) -> list[Reference]:
    """One prompt at a time."""
    found = []
    for prompt in prompts:
        logits = np.empty((num_tokens, model.layout.vocab_size), np.float32)
        logits[0] = model.prefill(0, prompt, 0)[0]
        tokens = [int(logits[0].argmax())]
        for nth in range(1, num_tokens):
            logits[nth] = model.decode(tokens[-1:], [len(prompt) + nth - 1])[0]
            tokens.append(int(logits[nth].argmax()))
        found.append(Reference(tokens, logits))
    return found


def divergence(model: DecoderModel, prompts: Ids, expected: Sequence[Reference]) -> dict[str, Any]:
    """How far the device is from the reference, fed with its tokens, all rows in one batch."""
    num_tokens = len(expected[0].tokens)
    same, regrets, kls, apart = 0, [], [], 0.0
    logits = model.prefill_together(0, prompts)
    for nth in range(num_tokens):
        if nth:
            lengths = [len(prompt) + nth - 1 for prompt in prompts]
            logits = model.decode([one.tokens[nth - 1] for one in expected], lengths)
        chosen = model.top(len(prompts)).ids[:, 0].tolist()
        for row, one in enumerate(expected):
            values = one.logits[nth]
            same += chosen[row] == one.tokens[nth]
            regrets.append(float(values.max() - values[chosen[row]]))
            kls.append(_divergence(values, logits[row]))
            apart = max(apart, float(np.abs(values - logits[row]).max()))
    total = num_tokens * len(expected)
    return {
        "tokens": total,
        "same_choice_ratio": round(same / total, 4),
        "worst_regret": round(max(regrets), 4),
        "mean_divergence_nats": float(f"{np.mean(kls):.3g}"),
        "largest_difference": round(apart, 4),
    }


def _divergence(expected: Floats, found: Floats) -> float:
    p, q = (values.astype(np.float64) - _log_sum(values) for values in (expected, found))
    return float((np.exp(p) * (p - q)).sum())


def _log_sum(values: Floats) -> float:
    peak = float(values.max())
    return peak + float(np.log(np.exp(values.astype(np.float64) - peak).sum()))


def faults(found: dict[str, Any]) -> list[str]:
    """What of a divergence is out of bounds."""
    missed = []
    if not found["worst_regret"] <= MAX_REGRET:
        missed.append("choices as likely as the CPU's fp32's")
    if not found["mean_divergence_nats"] <= MAX_DIVERGENCE:
        missed.append("distributions close to the CPU's fp32")
    return missed


def exactness(make: Callable[[], Engine], prompts: Ids) -> dict[str, Any]:
    """How many tokens are those of a generation alone in a fresh engine, by what is different.

    Only as many as come before the first other one count: what follows has another past.
    """
    asked = [_request(key, prompt) for key, prompt in enumerate(prompts)]
    alone = [served(make(), [one])[0] for one in asked]
    resumed = [_request(key, prompt, alone[key][:9]) for key, prompt in enumerate(prompts)]
    cached = make()
    served(cached, asked)
    found = {
        "again": [served(make(), [one])[0] for one in asked],
        "batched": served(make(), asked),
        "cached": served(cached, asked),
        "resumed": [served(make(), [one])[0] for one in resumed],
        "resumed_in_a_batch": served(make(), resumed),
    }
    return {name: _likeness(alone, answers) for name, answers in found.items()}


def _likeness(expected: Ids, answers: Ids) -> dict[str, Any]:
    alike = [
        next((nth for nth, (a, b) in enumerate(zip(*pair, strict=True)) if a != b), len(pair[0]))
        for pair in zip(expected, answers, strict=True)
    ]
    return {
        "answers": len(answers),
        "identical": sum(map(_ANSWER_TOKENS.__eq__, alike)),
        "tokens_ratio": round(sum(alike) / (_ANSWER_TOKENS * len(answers)), 4),
    }


def _request(key: int, prompt: list[int], resume: Sequence[int] = ()) -> GenerationRequest:
    return GenerationRequest(
        str(key),
        tuple(prompt),
        _ANSWER_TOKENS,
        _GREEDY,
        resume=tuple(resume),
        ignore_end=True,
    )


def served(engine: Engine, requests: Sequence[GenerationRequest]) -> Ids:
    """The whole answers to requests that come all at once."""
    for key, request in enumerate(requests):
        engine.submit(key, request)
    answers = [list(request.resume) for request in requests]
    while not engine.is_idle:
        engine.step()
        for key, event in engine.take_events():
            if isinstance(event, TokenFrame):
                answers[key] += event.ids
            elif event.error:
                raise RuntimeError(event.error)
    return answers
