"""One generation in the engine: the tokens it has, what of them is out, and when it is over."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from gateway.core.generation import FinishReason, GenerationEnd, Refusal, TokenFrame
from gateway.core.prompt_lookup import PromptLookup
from gateway.engine.worker.grammar import UnusableGrammar
from gateway.engine.worker.sampling import Sampler, Top, draw_together, logprob_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from gateway.core.generation import GenerationRequest, TokenLogprob
    from gateway.engine.worker.grammar import Matcher
    from gateway.engine.worker.port import Logits

_GUESSED_FROM = 16
"""Tokens of an answer."""


class Generation:
    """The state of one request between its arrival and its end.

    Tokens it has but whose keys and values are not in its row (resumed, or lost with a slot) are
    fed again one by one, without a draw, so that they are computed as they were; with
    `resumes_fast`, resumed ones are read with the prompt. Resumed tokens count as delivered. End
    tokens end the generation and are not part of the answer.
    """

    def __init__(
        self,
        key: int,
        request: GenerationRequest,
        *,
        arrived_s: float,
        max_context_tokens: int,
        resumes_fast: bool = False,
    ) -> None:
        self.key = key
        self.request = request
        self.matcher: Matcher | None = None
        self.sampler = Sampler(request.sampling, request.prompt)
        self.read_first = (*request.prompt, *request.resume) if resumes_fast else request.prompt
        """What prompt kernels read."""
        self.tokens: list[int] = []
        self.max_num_tokens = min(request.max_tokens, max_context_tokens - len(request.prompt))
        self.arrived_s = arrived_s
        self._max_context_tokens = max_context_tokens
        self.prefill_began_s: float | None = None
        self.cached_tokens = 0
        self._num_delivered = len(request.resume)
        self._logprobs: list[TokenLogprob] = []
        self._last_frame_s: float | None = None
        self._lookup: PromptLookup | None = None

    @property
    def num_left(self) -> int:
        """Tokens that it may still produce."""
        return self.max_num_tokens - len(self.tokens)

    def input_id(self, num_kv: int) -> int:
        """The token to feed to a row that holds `num_kv` positions."""
        return self.tokens[num_kv - len(self.request.prompt)]

    def next_ids(self, num_kv: int, num_ids: int, *, least_hits: float) -> Sequence[int]:
        """The token to feed to a row of `num_kv` positions, and what may be fed behind it: tokens
        it has already, or else a guess of which more than `least_hits` may hold. A short answer is
        not guessed: looking costs more than it can save."""
        known = self.tokens[num_kv - len(self.request.prompt) :][:num_ids]
        if len(known) > 1:
            return known if len(known) - 1 > least_hits else known[:1]
        if len(self.tokens) < _GUESSED_FROM:
            return known
        if self._lookup is None:
            self._lookup = PromptLookup(self.request.prompt)
        self._lookup.follow(self.tokens)
        return (*known, *self._lookup.guess(num_ids - 1, least_hits=least_hits))

    def is_known(self, num_kv: int) -> bool:
        """Whether it has the token after `num_kv` positions already."""
        return num_kv - len(self.request.prompt) < len(self.tokens)

    def unusable(self, vocab_size: int) -> GenerationEnd | None:
        """Why it ends before it begins, if it does."""
        request, context = self.request, self._max_context_tokens
        if not request.prompt:
            return self.end(FinishReason.FAILED, "the prompt has no tokens")
        if len(request.prompt) >= context:
            reason = f"the prompt has {len(request.prompt)} tokens, the context holds {context}"
            return self.end(FinishReason.FAILED, reason)
        for ids in (request.prompt, request.resume):
            if ids and not (min(ids) >= 0 and max(ids) < vocab_size):
                reason = f"a token id is outside the vocabulary of {vocab_size}"
                return self.end(FinishReason.FAILED, reason)
        if self.max_num_tokens <= len(request.resume):
            return self.end(FinishReason.LENGTH)
        return None

    def resume(self, end_ids: Collection[int]) -> GenerationEnd | None:
        """Take the request's resumed tokens as drawn; the end, if they end it."""
        end = None
        for token_id in self.request.resume:
            end = end or self._accept(token_id, end_ids) or self._append(token_id)
        return end

    def take(
        self,
        logits: Callable[[], NDArray[np.float32]],
        end_ids: Collection[int],
        *,
        top: Top | None = None,
        drawn_id: int | None = None,
    ) -> GenerationEnd | None:
        """Go on by the token that follows raw logits f32[V]; the end, if that ends it.

        All of them are read only if that is needed. `top` are the largest, where the model gives
        those. `drawn_id` was drawn already; of a grammar's tokens it is drawn again, unless it is
        the likeliest and admitted. Raises EngineFault when the logits are no numbers.
        """
        try:
            token_id = self._drawn(logits, top, drawn_id)
        except UnusableGrammar as error:
            return self._broken_off(error)
        end = self._accept(token_id, end_ids)
        if end is not None:
            return end
        num_top = self.request.sampling.top_logprobs
        if num_top is not None:
            self._logprobs.append(logprob_of(logits(), token_id, num_top))
        return self._append(token_id)

    def _drawn(
        self, logits: Callable[[], NDArray[np.float32]], top: Top | None, drawn_id: int | None
    ) -> int:
        """A new token. Raises EngineFault and UnusableGrammar."""
        matcher = self.matcher
        if drawn_id is not None and (matcher is None or matcher.admits(drawn_id)):
            return drawn_id
        allowed = None if matcher is None else matcher.allowed()
        position = len(self.tokens)
        if top is not None:
            reachable = top if allowed is None else top.only(allowed.among(top.ids))
            token_id = self.sampler.draw_from(reachable, position)
            if token_id is not None:
                return token_id
        mask = None if allowed is None else allowed.mask()
        return self.sampler.draw(logits(), position, mask)

    def _accept(self, token_id: int, end_ids: Collection[int]) -> GenerationEnd | None:
        if token_id in end_ids and not self.request.ignore_end:
            return self.end(FinishReason.STOP)
        if self.matcher is None:
            return None
        try:
            self.matcher.accept(token_id)
        except UnusableGrammar as error:
            return self._broken_off(error)
        return None

    def _broken_off(self, error: UnusableGrammar) -> GenerationEnd:
        return self.end(FinishReason.FAILED, error.message, refusal=Refusal.INVALID_SCHEMA)

    def _append(self, token_id: int) -> GenerationEnd | None:
        self.tokens.append(token_id)
        self.sampler.saw(token_id)
        if self.matcher is not None and self.matcher.is_done:
            return self.end(FinishReason.STOP)
        return self.end(FinishReason.LENGTH) if self.num_left <= 0 else None

    def end(
        self, reason: FinishReason, error: str = "", *, refusal: Refusal | None = None
    ) -> GenerationEnd:
        """The last event."""
        num_tokens = max(len(self.tokens), len(self.request.resume))
        return GenerationEnd(
            reason,
            len(self.request.prompt),
            num_tokens,
            self.cached_tokens,
            error=error,
            refusal=refusal,
        )

    def frame(self, now_s: float, *, interval_s: float) -> TokenFrame | None:
        """The tokens not delivered yet, if there are any and a frame is due.

        A generation's first frame is due at once, later ones `interval_s` after the one before.
        """
        first_index = self._num_delivered
        if len(self.tokens) <= first_index:
            return None
        is_first = self._last_frame_s is None
        if self._last_frame_s is not None and now_s - self._last_frame_s < interval_s:
            return None
        self._num_delivered = len(self.tokens)
        self._last_frame_s = now_s
        logprobs, self._logprobs = tuple(self._logprobs), []
        began_s = now_s if self.prefill_began_s is None else self.prefill_began_s
        return TokenFrame(
            first_index,
            tuple(self.tokens[first_index:]),
            logprobs,
            queue_s=began_s - self.arrived_s if is_first else 0.0,
            prefill_s=now_s - began_s if is_first else 0.0,
        )


def drawn_together(
    generations: Sequence[Generation], logits: Logits, top: Top | None
) -> dict[int, int]:
    """The next tokens, by row, of those that are drawn without regard to anything but logits.

    Rows whose logits are no numbers are left out.
    """
    greedy = [row for row, one in enumerate(generations) if one.sampler.is_plain_greedy]
    if top is None:
        likeliest = [(row, logits[row], int(logits[row].argmax())) for row in greedy]
        return {row: id_ for row, values, id_ in likeliest if isfinite(values.item(id_))}
    drawn: dict[int, int] = {}
    if greedy:
        ids, values = top.ids[:, 0].tolist(), top.values[:, 0].tolist()
        drawn = {row: ids[row] for row in greedy if isfinite(values[row])}
    reach = top.ids.shape[1]
    rows = [
        row
        for row, one in enumerate(generations)
        if one.matcher is None and one.sampler.is_plain_top_k_within(reach)
    ]
    if rows:
        sums = top.values.sum(axis=1).tolist()
        rows = [row for row in rows if isfinite(sums[row])]
    if rows:
        samplers = [generations[row].sampler for row in rows]
        positions = [len(generations[row].tokens) for row in rows]
        ids = draw_together(samplers, positions, Top(top.values[rows], top.ids[rows]))
        drawn.update(zip(rows, ids, strict=True))
    return drawn
