"""A tokenizer with one token per byte, so that any text round-trips: for test models.

Ids 0..255 are the bytes, then come the special tokens, then (when a benchmark needs a vocabulary
of real size) filler words that decode to text but never come out of encoding.
"""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE

BEGIN = "<s>"
END = "<e>"
PAD = "<pad>"
SPECIAL_TOKENS = (BEGIN, END, PAD, "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
MIN_VOCAB_SIZE = 256 + len(SPECIAL_TOKENS)


def special_id(token: str) -> int:
    """The id of a special token."""
    return 256 + SPECIAL_TOKENS.index(token)


def byte_tokenizer_json(vocab_size: int = MIN_VOCAB_SIZE) -> str:
    """Return tokenizer.json. Raises ValueError when bytes and special tokens do not fit."""
    if vocab_size < MIN_VOCAB_SIZE:
        raise ValueError(f"vocab_size {vocab_size} is below {MIN_VOCAB_SIZE}")
    words = [*_byte_characters(), *SPECIAL_TOKENS]
    words += [f"Ġw{number}" for number in range(vocab_size - len(words))]
    tokenizer = Tokenizer(BPE(vocab={word: id_ for id_, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in SPECIAL_TOKENS])
    return str(tokenizer.to_str())


def _byte_characters() -> list[str]:
    """The printable character that stands for each byte in byte-level BPE (GPT-2)."""
    printable = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(256, 512))
    return [chr(byte if byte in printable else next(spare)) for byte in range(256)]
