"""What the default recogniser makes of callers' words: the table behind the noise in training data.

    python -m models.asr_confusions

Plain sentences of the data generator are spoken by flite, in several voices, and recognised by
pocketsphinx with its general English model. Where the two differ, what was said and what was heard
instead are counted. The table is written beside the generator, which draws from it. Needs the
program `flite` and the extra `train`.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
import wave
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path

from models.subscriber_care.data.mix import dialogue
from models.subscriber_care.data.noise import CONFUSIONS_FILE
from models.subscriber_care.format import Heard

VOICES = ("slt", "rms", "awb", "kal16")
SAMPLE_HZ = 16_000
_MAX_WORDS = 3
_SEED = 4_000_000


def sentences(num_sentences: int) -> Iterator[str]:
    """Yield callers' sentences as the grammar has them, without digits, which have no one reading.

    Sentences that merely repeat words heard often add nothing: each yielded one has a word that was
    heard fewer than eight times so far.
    """
    seen: Counter[str] = Counter()
    num_found = index = 0
    while num_found < num_sentences:
        turns = dialogue(_SEED, index, style="plain")
        index += 1
        for turn in turns:
            words = _words(turn.text) if isinstance(turn, Heard) else []
            if not 3 <= len(words) <= 14 or min(seen[word] for word in words) >= 8:
                continue
            seen.update(words)
            num_found += 1
            yield " ".join(words)


def _words(text: str) -> list[str]:
    bare = re.sub(r"[^a-z' ]", " ", text.replace("wi-fi", "wifi"))
    return [] if re.search(r"[0-9$%]", text) else bare.replace(" tv", " t v").split()


def speak(text: str, voice: str, path: Path) -> bytes:
    """Return `text` as 16 kHz mono PCM; `path` is where flite may write."""
    program = shutil.which("flite")
    if program is None:
        raise FileNotFoundError("flite is not installed: apt-get install flite")
    # "wifi" is in no pronouncing dictionary; spelt apart it is said as callers say it.
    spoken = text.replace("wifi", "why fie")
    subprocess.run([program, "-voice", voice, "-t", spoken, "-o", str(path)], check=True)
    with wave.open(str(path)) as sound:
        if sound.getframerate() != SAMPLE_HZ:
            raise ValueError(f"voice {voice} speaks at {sound.getframerate()} Hz, not {SAMPLE_HZ}")
        return bytes(sound.readframes(sound.getnframes()))


def confusions(said: Sequence[str], heard: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (said, heard instead) for the stretches in which two transcripts differ.

    What was dropped was heard as nothing; longer stretches are misalignments and left out.
    """
    for what, a, b, c, d in SequenceMatcher(None, said, heard, autojunk=False).get_opcodes():
        if what in ("replace", "delete") and b - a <= _MAX_WORDS and d - c <= _MAX_WORDS:
            yield " ".join(said[a:b]), " ".join(heard[c:d])


def count(texts: Iterable[str]) -> tuple[Counter[tuple[str, str]], int, int]:
    """Return how often what was heard as what, the number of words said, and of those in error."""
    from pocketsphinx import Decoder

    decoder = Decoder(samprate=SAMPLE_HZ, loglevel="FATAL")
    table: Counter[tuple[str, str]] = Counter()
    num_words = num_wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(texts):
            pcm = speak(text, VOICES[number % len(VOICES)], Path(folder) / "spoken.wav")
            decoder.start_utt()
            decoder.process_raw(pcm, full_utt=True)
            decoder.end_utt()
            found = decoder.hyp()
            said, heard = text.split(), found.hypstr.split() if found else []
            differing = list(confusions(said, heard))
            table.update(differing)
            num_words += len(said)
            num_wrong += sum(len(words.split()) for words, _ in differing)
    return table, num_words, num_wrong


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=CONFUSIONS_FILE)
    options = parser.parse_args()
    table, num_words, num_wrong = count(sentences(options.sentences))
    rows = sorted(table.items(), key=lambda item: (item[0][0], -item[1], item[0][1]))
    lines = [f"{said}\t{heard}\t{times}" for (said, heard), times in rows]
    options.out.write_text("\n".join(["said\theard\ttimes", *lines]) + "\n", encoding="utf-8")
    print(f"{options.out}: {len(rows)} confusions; {num_wrong} of {num_words} words misheard")


if __name__ == "__main__":
    main()
