"""Finds who holds the longest common beginning with a prompt.

A trie whose edges are blocks of token ids, as in SGLang's radix cache (Zheng et al. 2023, arXiv
2312.07104) but with edges of one length: keys and values are kept in rows of their own, so nothing
is gained by splitting an edge, and a lookup is one dictionary access for each block.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_Block = tuple[int, ...]


class Match(NamedTuple):
    """The longest common beginning: its length, a multiple of the block, and who holds it."""

    num_tokens: int
    keys: tuple[int, ...]
    """The holder that was added last comes last."""


NO_MATCH = Match(0, ())


@dataclass(slots=True)
class _Node:
    children: dict[_Block, _Node] = field(default_factory=dict)
    keys: dict[int, None] = field(default_factory=dict)


class PrefixIndex:
    """Keys by the tokens they begin with, in whole blocks."""

    def __init__(self, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self._root = _Node()
        self._tokens: dict[int, Sequence[int]] = {}

    def __contains__(self, key: int) -> bool:
        return key in self._tokens

    def num_tokens(self, key: int) -> int:
        """How many tokens the key is found by; 0 for an unknown one."""
        return len(self._tokens.get(key, ()))

    def put(self, key: int, tokens: Sequence[int]) -> int:
        """Hold `tokens` under `key`, instead of what was; how many were taken: whole blocks."""
        self.remove(key)
        node, num_tokens = self._root, 0
        for block in self._blocks(tokens):
            node = node.children.setdefault(block, _Node())
            node.keys[key] = None
            num_tokens += self.block_tokens
        if num_tokens:
            self._tokens[key] = tuple(tokens[:num_tokens])
        return num_tokens

    def remove(self, key: int) -> None:
        """Forget a key; an unknown one is no error."""
        tokens = self._tokens.pop(key, None)
        if tokens is None:
            return
        node = self._root
        for block in self._blocks(tokens):
            child = node.children[block]
            del child.keys[key]
            if not child.keys:
                del node.children[block]
            node = child

    def longest(self, tokens: Sequence[int]) -> Match:
        """The longest beginning of `tokens` that somebody holds."""
        if not self._tokens:
            return NO_MATCH
        node, num_tokens = self._root, 0
        for block in self._blocks(tokens):
            child = node.children.get(block)
            if child is None:
                break
            node, num_tokens = child, num_tokens + self.block_tokens
        return Match(num_tokens, tuple(node.keys)) if num_tokens else NO_MATCH

    def _blocks(self, tokens: Sequence[int]) -> Iterator[_Block]:
        size = self.block_tokens
        for start in range(0, len(tokens) - size + 1, size):
            yield tuple(tokens[start : start + size])
