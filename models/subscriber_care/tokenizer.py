"""The tokenizer: byte-level BPE over the generator's own text, every digit a token of its own.

python -m models.subscriber_care.tokenizer    # writes build/subscriber_care/tokenizer.json
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from models.subscriber_care.data.mix import dialogues
from models.subscriber_care.format import Called, Turn, render, special_tokens

VOCABULARY_SIZE = 2048
BUILD_DIR = Path("build/subscriber_care")


def train_tokenizer(*, num_dialogues: int, seed: int) -> Tokenizer:
    """Train on the first `num_dialogues` of the generator; any UTF-8 text round-trips.

    The whole byte alphabet is in the vocabulary, so unseen text costs more tokens, never an
    unknown one. Markers come first: their ids do not depend on the data.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    markers = [AddedToken(token, special=True, normalized=False) for token in special_tokens()]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=markers,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_plain_text(num_dialogues, seed), trainer)
    return tokenizer


def _plain_text(num_dialogues: int, seed: int) -> Iterator[str]:
    stream = dialogues(seed)
    for _ in range(num_dialogues):
        for turn in next(stream):
            yield from _words(turn)


def _words(turn: Turn) -> Iterator[str]:
    if isinstance(turn, Called):
        yield from (str(value) for value in turn.arguments.values())
    else:
        yield render([turn])[len("<s><u>") :].removesuffix("<e>")


def main() -> None:
    """Write `tokenizer.json` into the build folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=BUILD_DIR)
    parser.add_argument("--dialogues", type=int, default=60_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(num_dialogues=options.dialogues, seed=options.seed)
    tokenizer.save(str(options.out / "tokenizer.json"))
    print(f"{options.out / 'tokenizer.json'}: {tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
