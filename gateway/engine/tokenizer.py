"""Text to token ids and token ids to bytes, from a model's own tokenizer.json.

Prompts are encoded whole, as the chat template rendered them, so the markers the template wrote
become special tokens. What people wrote must not: `inert` puts a cut inside every marker string in
a message before it is rendered, and `encode` cuts the text there, so that no piece holds a marker.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Self

import msgspec
from tokenizers import Tokenizer

from gateway.core.errors import InvalidRequest
from gateway.engine.bundle_facts import BundleUnreadable

if TYPE_CHECKING:
    from pathlib import Path

CUT = "\ufdd0"
"""A noncharacter, which Unicode keeps for such internal use; `inert` takes it out of messages."""

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class _Pattern(msgspec.Struct, frozen=True):
    String: str = ""


class _Decoder(msgspec.Struct):
    """The parts of tokenizer.json's `decoder` that say how tokens spell bytes."""

    type: str
    decoders: list[_Decoder] = []
    pattern: _Pattern = _Pattern()
    content: str = ""
    start: int = 0
    replacement: str = "▁"
    prepend_scheme: str = "always"


class _AddedToken(msgspec.Struct):
    id: int
    content: str
    special: bool


class _Facts(msgspec.Struct):
    decoder: _Decoder | None = None
    added_tokens: list[_AddedToken] = []


class TextTokenizer:
    """A model's tokenizer: immutable, shared by all turns.

    `special_ids` are the tokens that are never text of their own; `added` maps the string of
    every added token, special or not, to its id. `strips_leading_space` says that the first
    token's leading space is an artefact of the encoding (SentencePiece's dummy prefix).
    """

    def __init__(self, tokenizer: Tokenizer, facts: _Facts, source: Path) -> None:
        self._tokenizer = tokenizer
        self._added_bytes = {t.id: t.content.encode() for t in facts.added_tokens}
        self.added = {t.content: t.id for t in facts.added_tokens}
        self.special_ids = frozenset(t.id for t in facts.added_tokens if t.special)
        self._special_cutter = _MarkerCutter([t.content for t in facts.added_tokens if t.special])
        self._added_cutter = _MarkerCutter([t.content for t in facts.added_tokens])
        steps = _decoder_steps(facts.decoder)
        types = {step.type for step in steps}
        self._is_byte_level = "ByteLevel" in types
        if not self._is_byte_level and types.isdisjoint({"ByteFallback", "Metaspace"}):
            raise BundleUnreadable(
                source,
                f"has decoder {', '.join(sorted(types)) or 'none'}; only byte-level and "
                "byte-fallback tokenizers are served",
            )
        self._space = _space_of(steps)
        self.strips_leading_space = any(map(_strips_leading_space, steps))
        self._bytes_by_id: dict[int, bytes] = {}

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a tokenizer.json. Raises BundleUnreadable."""
        try:
            content = path.read_bytes()
            facts = msgspec.json.decode(content, type=_Facts)
            tokenizer = Tokenizer.from_buffer(content)
        except (OSError, msgspec.DecodeError) as error:
            raise BundleUnreadable(path, f"cannot be read ({error})") from error
        except Exception as error:  # all the library raises for bad content
            raise BundleUnreadable(path, f"is not a tokenizer ({error})") from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(tokenizer, facts, path)

    @cached_property
    def longest_token_chars(self) -> int:
        """No token stands for more characters of text: a bound on a text's number of tokens."""
        return max(map(len, self._tokenizer.get_vocab()), default=1)

    @cached_property
    def vocab_size(self) -> int:
        """How many tokens there are, added ones included."""
        return int(self._tokenizer.get_vocab_size())

    def token_id(self, token: str) -> int | None:
        """The id of a token given by its string, or None."""
        return self._tokenizer.token_to_id(token)

    def inert(self, text: str, *, all_markers: bool) -> str:
        """`text` with a cut in every special token's string, for `encode` to take apart.

        `all_markers` also cuts the strings of added tokens that are not special, such as
        ``<tool_call>`` in many vocabularies. Raises InvalidRequest for text that is not valid
        Unicode.
        """
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InvalidRequest("a message is not valid Unicode text") from error
            text = text.replace(CUT, "\ufffd")
        return (self._added_cutter if all_markers else self._special_cutter).cut(text)

    def encode(self, text: str) -> list[int]:
        """Token ids of a rendered prompt; cut pieces are encoded apart, nothing is added."""
        if CUT not in text:
            return self._tokenizer.encode(text, add_special_tokens=False).ids
        return [
            token_id
            for piece in text.split(CUT)
            for token_id in self._tokenizer.encode(piece, add_special_tokens=False).ids
        ]

    def token_bytes(self, token_id: int) -> bytes:
        """What a token spells: whole characters or a part of one; nothing for an unknown id."""
        spelt = self._bytes_by_id.get(token_id)
        if spelt is None:
            spelt = self._bytes_by_id[token_id] = self._spell(token_id)
        return spelt

    def _spell(self, token_id: int) -> bytes:
        if (added := self._added_bytes.get(token_id)) is not None:
            return added
        token = self._tokenizer.id_to_token(token_id)
        if token is None:
            return b""
        if self._is_byte_level:
            try:
                return bytes(_BYTE_OF[char] for char in token)
            except KeyError:
                return token.encode()
        if match := _BYTE_TOKEN.fullmatch(token):
            return bytes.fromhex(match[1])
        return token.replace(self._space, " ").encode()


class _MarkerCutter:
    """Puts a cut after the first character of each marker in a text."""

    def __init__(self, markers: list[str]) -> None:
        # A marker of one character has no inside to cut: it is replaced as a whole.
        self._single = str.maketrans(dict.fromkeys((m for m in markers if len(m) == 1), "\ufffd"))
        self._first_chars = {marker[0] for marker in markers if marker}
        # The lookahead also finds markers that overlap.
        alternatives = "|".join(re.escape(marker) for marker in markers if len(marker) > 1)
        self._starts = re.compile(f"(?=(?:{alternatives}))(.)", re.DOTALL) if alternatives else None

    def cut(self, text: str) -> str:
        if not any(char in text for char in self._first_chars):
            return text
        text = text.translate(self._single)
        return self._starts.sub(rf"\1{CUT}", text) if self._starts else text


def _decoder_steps(decoder: _Decoder | None) -> list[_Decoder]:
    if decoder is None:
        return []
    return [step for part in decoder.decoders for step in _decoder_steps(part)] or [decoder]


def _space_of(steps: list[_Decoder]) -> str:
    for step in steps:
        if step.type == "Metaspace":
            return step.replacement
        if step.type == "Replace" and step.content == " " and step.pattern.String:
            return step.pattern.String
    return " "


def _strips_leading_space(step: _Decoder) -> bool:
    if step.type == "Metaspace":
        return step.prepend_scheme != "never"
    return step.type == "Strip" and step.content == " " and step.start > 0


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 bytes are themselves, the others U+0100 onwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    shifted = {chr(0x100 + index): byte for index, byte in enumerate(others)}
    return {chr(byte): byte for byte in printable} | shifted


_BYTE_OF = _byte_alphabet()
