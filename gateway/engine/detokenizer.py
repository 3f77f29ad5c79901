"""Token ids to text, one token at a time, never half a character.

A token may end inside a character (byte-level and byte-fallback vocabularies split emoji, CJK and
accents), so bytes go through an incremental UTF-8 decoder that holds a character back until its
last byte is there. The cost of a token does not depend on how many came before.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.engine.tokenizer import TextTokenizer

_NOTHING: frozenset[int] = frozenset()


class IncrementalDetokenizer:
    """The text of one generation. Fed with every token, the pieces join to the decoded whole.

    Special tokens are no text, except those in `keep_special`, which appear as their strings.
    Bytes that are not UTF-8 become U+FFFD, one for each maximal subpart (Unicode 3.9, table 3-8).
    """

    def __init__(
        self, tokenizer: TextTokenizer, *, keep_special: frozenset[int] = _NOTHING
    ) -> None:
        self._tokenizer = tokenizer
        self._silent = tokenizer.special_ids - keep_special
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip_space = tokenizer.strips_leading_space

    def is_silent(self, token_id: int) -> bool:
        """Whether the token never appears as text."""
        return token_id in self._silent

    def feed(self, token_id: int) -> str:
        """The characters that this token completes; often none."""
        if token_id in self._silent:
            return ""
        text = self._decoder.decode(self._tokenizer.token_bytes(token_id))
        if self._strip_space and text:
            self._strip_space = False
            return text.removeprefix(" ")
        return text

    def flush(self) -> str:
        """The end of the text: U+FFFD for a character whose last bytes never came, or nothing."""
        return self._decoder.decode(b"", final=True)
