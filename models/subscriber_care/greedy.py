"""Greedy decoding of a bundle's graph, one conversation at a time: for evaluation and tests.

Without a grammar nothing constrains what is generated: an invalid call counts against the model.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from tokenizers import Tokenizer

from gateway.engine.bundle import load_bundle
from gateway.engine.worker.grammar import Matcher
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
        self.end_id = int(self._tokenizer.encode(END).ids[0])
        self.vocab_size = self._tokenizer.get_vocab_size()
        self._outputs = [output.name for output in self._session.get_outputs()]
        past = [i for i in self._session.get_inputs() if i.name.startswith("past_key_values")]
        self._empty = {i.name: np.zeros((1, i.shape[1], 0, i.shape[3]), np.float32) for i in past}

    def reply(self, turns: Iterable[Turn]) -> Said | Called:
        """Return the assistant's next turn; raises `MalformedCallError` for an invalid call."""
        return parse_reply(self.complete(render(turns, generate=True)))

    def complete(self, prompt: str) -> str:
        """Return the text, markers included, that follows `prompt`, without the end token."""
        tokens = self._tokenizer.encode(prompt).ids
        return self._tokenizer.decode(self.generate(tokens), skip_special_tokens=False)

    def generate(self, prompt: Sequence[int], matcher: Matcher | None = None) -> list[int]:
        """Return the tokens that follow `prompt`, without the end token, held to a grammar."""
        fed, cache = list(prompt), self._empty
        reply: list[int] = []
        while len(reply) < MAX_REPLY_TOKENS and not (matcher and matcher.is_done):
            logits, cache = self._step(fed, cache, len(prompt) + len(reply))
            if matcher is not None:
                logits = np.where(matcher.allowed().mask(), logits, -np.inf)
            token = int(np.argmax(logits))
            if token == self.end_id:
                break
            if matcher is not None:
                matcher.accept(token)
            reply.append(token)
            fed = [token]
        return reply

    def _step(
        self, tokens: list[int], cache: dict[str, NDArray[np.float32]], length: int
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Feed `tokens`; return the logits of the next and the caches, now `length` long."""
        feed = {
            "input_ids": np.array([tokens], np.int64),
            "attention_mask": np.ones((1, length), np.int64),
            **cache,
        }
        values = dict(zip(self._outputs, self._session.run(None, feed), strict=True))
        logits = values.pop("logits")[0, -1]
        return logits, {n.replace("present.", "past_key_values."): v for n, v in values.items()}
