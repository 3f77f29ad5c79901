"""How frames share the messages of a link."""

from __future__ import annotations

from gateway.core.generation import Constraint, ConstraintKind, GenerationRequest, Sampling
from gateway.core.hops import Hops
from gateway.core.load_report import MODEL_KEY_BYTES
from gateway.wire.peer_frames import (
    MAX_MESSAGE_BYTES,
    WINDOW_TOKENS,
    Beat,
    CallerFrame,
    Offer,
    caller_frames,
    messages,
)

MAX_BODY_BYTES = 1 << 21
MAX_CONTEXT_TOKENS = 1 << 20
"""The largest of each that a configuration may ask for."""


def offer(key: int, request: GenerationRequest) -> Offer:
    hops = Hops(("edge-a",), 1)
    return Offer(key, request, 500.0, hops, b"m" * MODEL_KEY_BYTES, WINDOW_TOKENS)


def schema(num_bytes: int) -> Constraint:
    return Constraint(ConstraintKind.JSON_SCHEMA, "x" * num_bytes)


def test_the_largest_request_fits_a_message() -> None:
    prompt = (1 << 20,) * MAX_CONTEXT_TOKENS
    largest = GenerationRequest("id", prompt, 1, constraint=schema(MAX_BODY_BYTES))
    (message,) = messages([offer(1, largest)])
    assert len(message) < MAX_MESSAGE_BYTES


def test_large_requests_that_leave_together_have_messages_of_their_own() -> None:
    biases = Sampling(logit_bias=dict.fromkeys(range(100_000), 1.5))
    requests = [
        GenerationRequest("prompt", (1 << 20,) * 200_000, 1),
        GenerationRequest("schema", (1,), 1, constraint=schema(1_000_000)),
        GenerationRequest("biases", (1,), 1, sampling=biases),
        GenerationRequest("resumed", (1,), 1, resume=(1 << 20,) * 200_000),
    ]
    frames: list[CallerFrame] = [offer(key, request) for key, request in enumerate(requests, 1)]
    frames += [Beat(1), offer(5, GenerationRequest("small", (1,), 1)), Beat(2)]
    parts = list(messages(frames))
    assert len(parts) == len(requests)
    assert all(len(part) < 1.5e6 for part in parts)
    reader = caller_frames()
    assert [frame for part in parts for frame in reader.read(part)] == frames
