"""Which sites are likely to have the beginning of a prompt in their cache."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from gateway.core.prefix_index import PrefixIndex

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_NUM_PROMPTS = 64
"""About what an engine keeps beside its slots; older ones are likely gone."""
_BLOCK_TOKENS = 64
"""Less is not worth going anywhere for."""


class PromptHomes:
    """The last prompts that this site has answered or given away, and where each was prefilled."""

    def __init__(self) -> None:
        self._index = PrefixIndex(_BLOCK_TOKENS)
        self._sites: dict[int, str] = {}
        """By number, the oldest first."""
        self._numbers = itertools.count()

    def add(self, prompt: Sequence[int], site: str) -> None:
        """A site has taken a turn with this prompt; shorter ones it continues are in it."""
        num_tokens, begun = self._index.longest(prompt)
        for number in begun:
            if self._sites[number] == site and self._index.num_tokens(number) == num_tokens:
                self._remove(number)
        number = next(self._numbers)
        if not self._index.put(number, prompt):
            return
        self._sites[number] = site
        if len(self._sites) > _MAX_NUM_PROMPTS:
            self._remove(next(iter(self._sites)))

    def of(self, prompt: Sequence[int]) -> tuple[int, tuple[str, ...]]:
        """How many tokens of the prompt's beginning are cached, and where: the newest place first.

        The last token is never found: its logits are needed.
        """
        num_tokens, numbers = self._index.longest(prompt[:-1])
        sites = dict.fromkeys(self._sites[number] for number in reversed(numbers))
        return num_tokens, tuple(sites)

    def _remove(self, number: int) -> None:
        self._index.remove(number)
        del self._sites[number]
