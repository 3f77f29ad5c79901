"""What typing and speech recognition do to a sentence, without changing what it asks for."""

import re
from functools import cache
from pathlib import Path
from random import Random
from typing import Literal, TypeAlias

from models.subscriber_care.data.places import proper_names

Style: TypeAlias = Literal["neat", "sloppy", "transcript", "plain"]
"""`plain`: as the grammar has it."""

CONFUSIONS_FILE = Path(__file__).parent / "asr_confusions.tsv"

_QUESTION = re.compile(
    r"^(so |and |hi |hello |hey |well )?(is|are|can|could|would|will|do|does|did|what|what's|how|"
    r"how's|when|where|why|who|which|may|am|have|has|should)\b"
)
_KEEP_CASE = {"tv": "TV", "sim": "SIM", "i": "I", "i'm": "I'm", "i'd": "I'd", "i've": "I've",
              "i'll": "I'll", "uk": "UK", "usa": "USA", "uae": "UAE", "ai": "AI",
              "nz": "NZ"}  # fmt: skip
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_KEPT = frozenset(
    "today tomorrow monday tuesday wednesday thursday friday saturday sunday morning afternoon "
    "evening lost stolen current last basic plus unlimited no not".split()
)
"""Words that decide on a call: misheard, they leave nothing to learn."""
_DROPPABLE = frozenset("the a an my to please is can would of i and".split())
_FILLERS = ("um", "uh", "er", "like", "you know", "well", "so", "okay", "i mean", "hmm", "erm")
_MISHEARD = {
    "wifi": ("wi fi", "why fi", "wife i"), "wi-fi": ("wi fi", "wifi"),
    "router": ("rooter", "rotor", "writer"), "modem": ("mode m", "modern", "motem"),
    "bill": ("bell", "bills", "build"), "sim": ("sym", "seem", "sin"), "tv": ("t v", "tee vee"),
    "plan": ("plane", "plans"), "outage": ("out age", "outrage"), "roaming": ("roman", "romping"),
    "technician": ("tech nation", "technicians"), "password": ("pass word", "passwords"),
    "internet": ("inter net", "internets"), "restart": ("re start", "restarts"),
    "unlimited": ("un limited",), "pause": ("paws", "pores"), "guests": ("guest", "guess"),
    "kids": ("kid's", "kits"), "balance": ("balanced",), "data": ("date a", "dater"),
    "reboot": ("re boot", "robot"), "stolen": ("stole in",), "speed": ("speeds",),
    "dollars": ("dollar",), "want": ("wanna", "won't"), "phone": ("fone", "phones"),
    "cancel": ("council", "cancelled"), "usage": ("use age",), "payment": ("pavement",),
}  # fmt: skip


_SOUNDS = (
    ("ph", "f"), ("ea", "ee"), ("ee", "ea"), ("ai", "ay"), ("ck", "k"), ("qu", "kw"), ("wh", "w"),
    ("ght", "t"), ("tion", "shun"), ("ould", "ud"), ("ll", "l"), ("ss", "s"), ("tt", "t"),
    ("ie", "ei"), ("ei", "ie"), ("ou", "u"), ("er", "or"), ("or", "er"), ("ar", "er"), ("th", "f"),
    ("ce", "se"), ("cy", "sy"), ("ch", "sh"), ("oo", "u"), ("ow", "o"), ("i", "e"), ("e", "i"),
    ("a", "e"), ("o", "u"), ("y", "ie"), ("k", "c"), ("z", "s"), ("c", "k"), ("ing", "in"),
    ("ll", "l"), ("m", "mm"), ("l", "ll"), ("the", "teh"), ("an", "na"), ("on", "no"),
)  # fmt: skip
"""What is written instead by ear, or by fingers that are too fast."""


def restyle(text: str, style: Style, rng: Random) -> str:
    """Return lower-case grammar text as a caller of this style would send it."""
    if style == "neat":
        return _neat(text, rng)
    if style == "sloppy":
        return _sloppy(text, rng)
    if style == "plain":
        return text
    return _transcript(text, rng)


def _neat(text: str, rng: Random) -> str:
    words = [_KEEP_CASE.get(word, word) for word in text.split(" ")]
    text = re.sub(r"\bwifi\b", rng.choice(("Wi-Fi", "WiFi", "wifi", "wi-fi")), " ".join(words))
    text = proper(text)
    text = text[:1].upper() + text[1:]
    if text[-1:] not in ".?!":
        text += "?" if _QUESTION.match(text.lower()) else rng.choice((".", ".", "!", ""))
    return text


def proper(text: str) -> str:
    """Return `text` with days and country names capitalised."""
    return _names().sub(lambda match: _title(match[0]), text)


@cache
def _names() -> re.Pattern[str]:
    names = "|".join(re.escape(name) for name in (*_DAYS, *proper_names()))
    return re.compile(rf"(?<![\w-])(?:{names})(?![\w-])")


def _title(name: str) -> str:
    small = {"and", "of", "the"}
    return " ".join(word if word in small else word[:1].upper() + word[1:] for word in name.split())


def _sloppy(text: str, rng: Random) -> str:
    if rng.random() < 0.6:
        text = text.replace("'", "")
    if rng.random() < 0.5:
        text = text.replace(",", "")
    if rng.random() < 0.3:
        text = re.sub(r"\byou\b", "u", re.sub(r"\bplease\b", rng.choice(("pls", "plz")), text))
    level = rng.choice((0.0, 0.03, 0.1, 0.25, 0.4))
    words = [_typo(word, rng) if rng.random() < level else word for word in text.split(" ")]
    text = " ".join(words)
    if rng.random() < 0.2:
        text = text[:1].upper() + text[1:]
    return text + rng.choice(("", "", "", "?" if _QUESTION.match(text) else ".", "!!"))


def _typo(word: str, rng: Random) -> str:
    if len(word) < 4 or not word.isalpha():
        return word
    if rng.random() < 0.45:
        return _respelt(word, rng)
    at = rng.randrange(1, len(word) - 1)
    kind = rng.random()
    if kind < 0.3:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind < 0.5:
        return re.sub("[aeiou]", lambda _: rng.choice("aeiou"), word, count=1)
    return word[:at] + rng.choice(("", word[at] * 2)) + word[at + 1 :]


def _respelt(word: str, rng: Random) -> str:
    """Write a word by its sound, or without its vowels."""
    if rng.random() < 0.15:
        return word[0] + re.sub("[aeiou]", "", word[1:])
    fitting = [(old, new) for old, new in _SOUNDS if old in word]
    if not fitting:
        return word
    old, new = rng.choice(fitting)
    return word.replace(old, new, 1)


def _transcript(text: str, rng: Random) -> str:
    text = re.sub(r"[?!,]|\.(?!\d)", "", text.lower())
    if rng.random() < 0.25:
        text = text.replace("-", " ")
    level = rng.choice((0.0, 0.02, 0.05, 0.12))
    words: list[str] = [rng.choice(_FILLERS)] if rng.random() < 0.12 else []
    for word in _misheard(text.split(), rng.choice((0.0, 0.0, 0.1, 0.25)), rng):
        draw = rng.random()
        if draw < level * 0.8 and word in _DROPPABLE:
            continue
        if word in _MISHEARD and rng.random() < 4 * level:
            word = rng.choice(_MISHEARD[word])
        words.append(word)
        if draw > 1 - level:
            words.append(rng.choice((*_FILLERS, word)) if word.isalpha() else "um")
    return " ".join(words)


def _misheard(words: list[str], level: float, rng: Random) -> list[str]:
    """Put what the recogniser heard in place of what was said, `level` of the times it might."""
    heard: list[str] = []
    at = 0
    while at < len(words):
        for length in (3, 2, 1):
            said = " ".join(words[at : at + length])
            if said in _confusions() and rng.random() < level and _KEPT.isdisjoint(said.split()):
                instead, weights = _confusions()[said]
                heard += rng.choices(instead, weights)[0].split()
                at += length
                break
        else:
            heard.append(words[at])
            at += 1
    return heard


@cache
def _confusions() -> dict[str, tuple[list[str], list[int]]]:
    """What was said, in up to three words, to what was heard instead and how often."""
    table: dict[str, tuple[list[str], list[int]]] = {}
    for line in CONFUSIONS_FILE.read_text(encoding="utf-8").splitlines()[1:]:
        said, heard, times = line.split("\t")
        instead, weights = table.setdefault(said, ([], []))
        instead.append(heard)
        weights.append(int(times))
    return table
