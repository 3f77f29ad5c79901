"""What the shipped assistant's callers say, as a recogniser wants it: language model, dictionary.

    python -m models.subscriber_care.hearing          # writes them, from the data generator
    python -m models.subscriber_care.hearing --check  # exits with 1 when they are not up to date

The words and their order come from the generator of the training dialogues, pronunciations from the
dictionary that pocketsphinx brings. A word in neither that dictionary nor `_PRONUNCIATIONS` is left
out with its sentence: nobody could say it to the recogniser. Needs the extra `voice`.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pocketsphinx

from gateway.core.confirmation import phrases
from gateway.core.spoken_text import spoken
from models.subscriber_care.data.mix import dialogue
from models.subscriber_care.format import Heard
from models.trigrams import arpa

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HERE = Path(__file__).parent / "hearing"
DICTIONARY_FILE = HERE / "words.dict"
LANGUAGE_FILE = HERE / "language.lm.bin"

_SEED = 7_000_000
_NUM_DIALOGUES = 40_000
_MIN_TIMES = 4
"""A word that the generator says more seldom is not worth the confusion it brings."""
_PHRASE_WEIGHT = 0.01
"""Yes, no and their like follow read-backs, which the generator has few of."""

_PRONUNCIATIONS = """
autopay AO T OW P EY
bissau B IH S AW
czechia CH EH K IY AH
dodgy D AA JH IY
eswatini EH S W AA T IY N IY
faroe F EH R OW
gb JH IY B IY
gigabit G IH G AH B IH T
grenadines G R EH N AH D IY N Z
hiya HH AY AH
hmm HH M
instalments IH N S T AO L M AH N T S
itemised AY T AH M AY Z D
kaput K AH P UH T
laggy L AE G IY
leste L EH S T EY
mallorca M AH Y AO R K AH
mbits M EH G AH B IH T S
megabits M EH G AH B IH T S
megs M EH G Z
nauru N AA UW R UW
nz EH N Z EH D
organise AO R G AH N AY Z
passcode P AE S K OW D
passphrase P AE S F R EY Z
pickpocketed P IH K P AA K AH T IH D
rebooting R IY B UW T IH NG
resetting R IY S EH T IH NG
summarise S AH M ER AY Z
tenerife T EH N ER IY F
treacle T R IY K AH L
turkiye T ER K IY EH
uae Y UW EY IY
uh AH
unblock AH N B L AA K
wifi W AY F AY
"""
"""Of words that callers of this assistant use and the general dictionary has not, in ARPAbet."""
_NOT_SAID = frozenset("mins hrs pls gb mbits".split())
"""Written forms that are read as other words."""


def sentences(seed: int, *, num_dialogues: int) -> Iterator[str]:
    """Yield what callers say, in the words that are spoken: lower case, no digits, no marks."""
    for index in range(num_dialogues):
        for turn in dialogue(seed, index, style="plain"):
            if isinstance(turn, Heard) and (said := said_words(turn.text)):
                yield said


def said_words(text: str) -> str:
    """Return the words a caller says for `text`, as the recogniser writes them."""
    plain = spoken(text).lower().replace("’", "'").replace("wi-fi", "wifi")
    words = re.sub(r"[^a-z' ]", " ", plain).split()
    stripped = (word.strip("'") for word in words)
    return " ".join(word for word in stripped if word)


def pronunciations() -> dict[str, list[str]]:
    """Return the ways to say each word: the general dictionary's, and those it lacks."""
    ways: dict[str, list[str]] = {}
    general = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict"))
    for line in (*general.read_text(encoding="utf-8").splitlines(), *_own_lines()):
        entry, _, phones = line.partition(" ")
        ways.setdefault(entry.partition("(")[0], []).append(phones.strip())
    return ways


def _own_lines() -> list[str]:
    return [line for line in _PRONUNCIATIONS.splitlines() if line]


def build() -> tuple[str, str]:
    """Return the language model (ARPA) and the dictionary as text."""
    ways = pronunciations()
    said = Counter(sentences(_SEED, num_dialogues=_NUM_DIALOGUES))
    extra = _PHRASE_WEIGHT * said.total()
    for phrase in phrases():
        said[said_words(phrase)] += max(1, int(extra / len(phrases())))
    times: Counter[str] = Counter()
    for sentence, count in said.items():
        for word in sentence.split():
            times[word] += count
    words = {word for word in times if times[word] >= _MIN_TIMES and word in ways} - _NOT_SAID
    known = {s: n for s, n in said.items() if words.issuperset(s.split())}
    return arpa(known), _dictionary(sorted(words), ways)


def _dictionary(words: Iterable[str], ways: dict[str, list[str]]) -> str:
    lines = []
    for word in words:
        for number, phones in enumerate(ways[word], 1):
            lines.append(f"{word}{f'({number})' if number > 1 else ''} {phones}")
    return "\n".join(lines) + "\n"


def write(directory: Path) -> None:
    """Write both files; the language model as pocketsphinx loads it fastest."""
    language, dictionary = build()
    directory.mkdir(exist_ok=True)
    (directory / DICTIONARY_FILE.name).write_text(dictionary, "utf-8")
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".arpa") as text:
        text.write(language)
        text.flush()
        config = pocketsphinx.Config(loglevel="FATAL")
        model = pocketsphinx.NGramModel(config, pocketsphinx.LogMath(), text.name)
    model.write(str(directory / LANGUAGE_FILE.name))


def is_current(directory: Path) -> bool:
    """Say whether the files there are what `write` would write."""
    with tempfile.TemporaryDirectory() as scratch:
        write(Path(scratch))
        return all(
            (directory / file.name).read_bytes() == (Path(scratch) / file.name).read_bytes()
            for file in (LANGUAGE_FILE, DICTIONARY_FILE)
        )


def main() -> int:
    """Write the files, or compare them with what they would be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.check:
        return 0 if is_current(HERE) else 1
    write(HERE)
    for file in (LANGUAGE_FILE, DICTIONARY_FILE):
        print(f"{file.name}: {file.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
