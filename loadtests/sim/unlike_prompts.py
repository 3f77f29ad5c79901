"""The prefix index of an engine whose prompts all begin differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.prefix_index import NO_MATCH, Match, PrefixIndex

if TYPE_CHECKING:
    from collections.abc import Sequence


class UnlikePrompts(PrefixIndex):
    """A `PrefixIndex` for prompts of which one is the beginning of the other if they begin with
    the same token, and which have nothing in common if not. No block of them is looked at.
    """

    def __init__(self, block_tokens: int) -> None:
        super().__init__(block_tokens)
        self._holders: dict[int, dict[int, None]] = {}
        """By first token."""

    def put(self, key: int, tokens: Sequence[int]) -> int:
        """Hold `tokens` under `key`, instead of what was; how many were taken: whole blocks."""
        self.remove(key)
        num_tokens = len(tokens) - len(tokens) % self.block_tokens
        if num_tokens:
            self._tokens[key] = tokens[:num_tokens]
            self._holders.setdefault(tokens[0], {})[key] = None
        return num_tokens

    def remove(self, key: int) -> None:
        """Forget a key; an unknown one is no error."""
        tokens = self._tokens.pop(key, None)
        if tokens is None:
            return
        holders = self._holders[tokens[0]]
        del holders[key]
        if not holders:
            del self._holders[tokens[0]]

    def longest(self, tokens: Sequence[int]) -> Match:
        """The longest beginning of `tokens` that somebody holds."""
        holders = self._holders.get(tokens[0]) if tokens else None
        if holders is None:
            return NO_MATCH
        held_tokens = max(len(self._tokens[key]) for key in holders)
        num_tokens = min(held_tokens, len(tokens) - len(tokens) % self.block_tokens)
        if not num_tokens:
            return NO_MATCH
        keys = tuple(key for key in holders if len(self._tokens[key]) >= num_tokens)
        return Match(num_tokens, keys)
