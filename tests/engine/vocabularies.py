"""Small real tokenizers of both families, and bundles around them, for the tests of this room."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from gateway.engine.bundle_facts import Bundle
from gateway.engine.tokenizer import TextTokenizer

CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
TOOL_CALL = ("<tool_call>", "</tool_call>")
LLAMA = (
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
TOOLS_FILE = Path(__file__).parents[2] / "models" / "subscriber_care" / "tools.json"
TOOLS_JSON = TOOLS_FILE.read_text("utf-8")
TOOL_NAMES = tuple(entry["function"]["name"] for entry in json.loads(TOOLS_JSON))
FIRSTHOP = (
    *("<pad>", "<s>", "<u>", "<a>", "<r>", "<e>", "<c>", "<arg>"),
    *(f"<t:{name}>" for name in TOOL_NAMES),
)

# Enough repetition for merges inside and across the bytes of a character.
_CORPUS = [
    "the router is down, 日本語の文章 日本 naïve café 👩‍👩‍👧 👍🏽 été",
    "hello hello 日本 👍🏽 e\u0301",
] * 4


@cache
def byte_level_json(special: tuple[str, ...], plain: tuple[str, ...] = ()) -> str:
    """A byte-level BPE tokenizer (GPT-2, Llama 3, Qwen); `plain` are added and not special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in plain])
    return str(tokenizer.to_str())


@cache
def byte_fallback_json(special: tuple[str, ...] = ("<s>", "</s>")) -> str:
    """A SentencePiece-like tokenizer (Llama 2, Mistral): dummy prefix, rare characters as bytes."""
    words = ["<unk>", *special, *(f"<0x{byte:02X}>" for byte in range(256))]
    words += ["▁", *(chr(c) for c in range(0x21, 0x7F)), "é", "日", "▁t", "he"]
    merges = [("▁", "t"), ("h", "e")]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={word: i for i, word in enumerate(words)},
            merges=merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in special])
    return str(tokenizer.to_str())


def text_tokenizer(folder: Path, tokenizer_json: str) -> TextTokenizer:
    """Write the tokenizer to a folder and read it back as the product does."""
    path = folder / "tokenizer.json"
    path.write_text(tokenizer_json, "utf-8")
    return TextTokenizer.from_file(path)


def bundle(folder: Path, tokenizer_json: str, chat_template: str, **facts: object) -> Bundle:
    """The facts of a model directory without a graph: all that the text side reads."""
    path = folder / "tokenizer.json"
    path.write_text(tokenizer_json, "utf-8")
    settings: dict[str, object] = {
        "root": folder,
        "layout": "firsthop",
        "name": "text-only",
        "version": "1",
        "digest": "sha256:0",
        "licence": "Apache-2.0",
        "intended_use": "tests",
        "limits": "",
        "languages": ("en",),
        "tools": "any",
        "tool_format": "hermes",
        "instructions": "any",
        "max_context_tokens": 2048,
        "kv_bytes_per_token": 1,
        "begin_token": "",
        "end_tokens": ("<|im_end|>",),
        "tokenizer_path": path,
        "chat_template": chat_template,
        "artifacts": (),
    }
    return Bundle(**(settings | facts))  # type: ignore[arg-type]
