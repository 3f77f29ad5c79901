"""Greedy decoding of the shipped graph, one conversation at a time: for evaluation and tests.

Nothing constrains what is generated: an invalid call counts against the model.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from gateway.engine.bundle import load_bundle
from models.subscriber_care.format import END, Called, Said, Turn, parse_reply, render

MAX_REPLY_TOKENS = 96


class GreedyModel:
    """A bundle's CPU graph and tokenizer. Raises `BundleError` for a bundle that is not sound."""

    def __init__(self, bundle_dir: Path, *, num_threads: int = 1) -> None:
        bundle = load_bundle(bundle_dir)
        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads
        artifact = bundle.artifact("cpu")
        self._session = ort.InferenceSession(
            str(artifact.path), options, providers=["CPUExecutionProvider"]
        )
        self.precision = artifact.precision
        self.digest = bundle.digest
        self._tokenizer = Tokenizer.from_file(str(bundle_dir / "tokenizer.json"))
        self._end = self._tokenizer.token_to_id(END)
        self._outputs = [output.name for output in self._session.get_outputs()]
        past = [i for i in self._session.get_inputs() if i.name.startswith("past_key_values")]
        self._empty = {i.name: np.zeros((1, i.shape[1], 0, i.shape[3]), np.float32) for i in past}

    def reply(self, turns: Iterable[Turn]) -> Said | Called:
        """Return the assistant's next turn; raises `MalformedCallError` for an invalid call."""
        return parse_reply(self.complete(render(turns, generate=True)))

    def complete(self, prompt: str) -> str:
        """Return the text, markers included, that follows `prompt`, without the end token."""
        tokens = self._tokenizer.encode(prompt).ids
        fed, cache = list(tokens), self._empty
        reply: list[int] = []
        while len(reply) < MAX_REPLY_TOKENS:
            token, cache = self._step(fed, cache, len(tokens) + len(reply))
            if token == self._end:
                break
            reply.append(token)
            fed = [token]
        return self._tokenizer.decode(reply, skip_special_tokens=False)

    def _step(
        self, tokens: list[int], cache: dict[str, NDArray[np.float32]], length: int
    ) -> tuple[int, dict[str, NDArray[np.float32]]]:
        """Feed `tokens`; return the likeliest next one and the caches, now `length` long."""
        feed = {
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, length), np.int64),
            **cache,
        }
        values = dict(zip(self._outputs, self._session.run(None, feed), strict=True))
        token = int(np.argmax(values.pop("logits")[0, -1]))
        return token, {n.replace("present.", "past_key_values."): v for n, v in values.items()}
