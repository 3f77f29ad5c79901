"""How well and how fast the speech engines hear and speak.

Utterances are hand-written ones of the assistant's development cases and ones of an unused seed of
its data generator; both are made of sound by flite and espeak-ng. They go through the recogniser's
own process in pieces of 100 ms, each heard before the next, as with a caller who speaks no faster
than the engine listens: so the time to finish is what a caller waits for after the last sound. WER
is the word error rate, RTF the engine's processor time for a second of sound. Synthetic voices say
nothing about people: accuracy with human speech is unmeasured.

    python -m loadtests.speech_engines [--utterances N] [--quick]
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from gateway.config.speech import Speech
from gateway.core.voice_line import HEARD_HZ, SAID_HZ
from gateway.speech.client import SpeechService
from loadtests.command_line import at_least, parser_for
from loadtests.facts import percentile, save, summary_ms
from loadtests.host import HostMeter
from loadtests.utterances import sound_of
from models.subscriber_care.cases import read_cases
from models.subscriber_care.format import Heard as Said
from models.subscriber_care.hearing import said_words, sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.speech.client import ProcessRecogniser, ProcessSynthesiser

SEED = 99
CALLERS = (
    "flite:slt",
    "flite:rms",
    "flite:awb",
    "espeak-ng:en-us",
    "espeak-ng:en-us+f3",
    "espeak-ng:en-gb",
)
VOICES: Final[tuple[Literal["flite", "espeak-ng"], ...]] = ("flite", "espeak-ng")
CLAUSES = (
    "Sure.",
    "Your balance is $64, and it is due on December 1st.",
    "Just to confirm: I will pay $24 towards your bill. Shall I go ahead?",
    "There is an outage of the internet in your area.",
    "Done, a technician comes tomorrow morning.",
    "Okay, I'm putting you through now.",
)
FINISH_TARGET_S = 0.060
FIRST_AUDIO_TARGET_S = 0.030
TURNS_OF_A_CALL = 5
"""Utterances of one call: the recogniser knows voice and line better with each."""
_PIECE_BYTES = 2 * HEARD_HZ // 10
_MARGIN = bytes(2 * HEARD_HZ // 5)
"""0.2 s of silence on both sides, as voice activity leaves it."""


def utterances(num: int) -> list[str]:
    """The same every time: one half hand-written, one half of the generator."""
    written = {
        said_words(turn.text)
        for case in read_cases()
        for turn in case.turns
        if isinstance(turn, Said)
    }
    of_cases = sorted(text for text in written if 0 < len(text.split()) <= 25)
    random.Random(SEED).shuffle(of_cases)
    generated = islice(sentences(SEED, num_dialogues=num), num - num // 2)
    return [*of_cases[: num // 2], *generated]


def num_errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Words to replace, insert or delete, at least (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            best = min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
            diagonal, row[j] = row[j], best
    return row[-1]


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def recognise(recogniser: ProcessRecogniser, caller: str, texts: list[str]) -> dict[str, Any]:
    """One caller's row."""
    errors = words = num_exact = 0
    finish_s: list[float] = []
    sound_s = 0.0
    hearing = None
    used_s = -cpu_s(recogniser.pids[0])
    for number, text in enumerate(texts):
        pcm = _MARGIN + await asyncio.to_thread(sound_of, text, caller) + _MARGIN
        is_first = number % TURNS_OF_A_CALL == 0
        hearing = recogniser.open(after=None if is_first else hearing)
        for at in range(0, len(pcm), _PIECE_BYTES):
            hearing.feed(pcm[at : at + _PIECE_BYTES])
            await hearing.so_far()
        began_s = time.monotonic()
        heard = await hearing.finish()
        finish_s.append(time.monotonic() - began_s)
        wrong = num_errors(text.split(), heard.text.split())
        errors, words, num_exact = (
            errors + wrong,
            words + len(text.split()),
            num_exact + (not wrong),
        )
        sound_s += len(pcm) / 2 / HEARD_HZ
    used_s += cpu_s(recogniser.pids[0])
    return {
        "caller": caller,
        "num_utterances": len(texts),
        "word_error_ratio": round(errors / words, 4),
        "exact_ratio": round(num_exact / len(texts), 4),
        "real_time_factor": round(used_s / sound_s, 4),
        "finish_ms": summary_ms(finish_s, SEED),
        "meets_finish_target": percentile(finish_s, 0.99) <= FINISH_TARGET_S,
    }


async def speak(synthesiser: ProcessSynthesiser, rounds: int) -> dict[str, Any]:
    """One voice's row; the clauses interleave, so that a busy moment of the machine hits all."""
    first_s: list[float] = []
    num_bytes = 0
    used_s = -cpu_s(synthesiser.pids[0])
    for clause in CLAUSES * rounds:
        began_s, is_first = time.monotonic(), True
        async for piece in synthesiser.say(clause):
            if is_first:
                first_s.append(time.monotonic() - began_s)
                is_first = False
            num_bytes += len(piece.pcm)
    used_s += cpu_s(synthesiser.pids[0])
    sound_s = num_bytes / 2 / SAID_HZ
    return {
        "voice": synthesiser.name,
        "first_audio_ms": summary_ms(first_s, SEED),
        "meets_first_audio_target": percentile(first_s, 0.5) <= FIRST_AUDIO_TARGET_S,
        # The program espeak-ng counts for itself; only flite works in the measured process.
        "real_time_factor": round(used_s / sound_s, 4),
    }


async def measure(num_utterances: int, rounds: int) -> dict[str, Any]:
    """Every caller and every voice."""
    texts = utterances(num_utterances)
    async with SpeechService(Speech(voice="none", max_num_hearings=1)) as service:
        if service.recogniser is None:
            raise SystemExit(service.recogniser_state.problem)
        name, grade = service.recogniser.name, service.recogniser.grade.value
        heard = [await recognise(service.recogniser, caller, texts) for caller in CALLERS]
    said = []
    for voice in VOICES:
        async with SpeechService(Speech(recogniser="none", voice=voice)) as service:
            if service.synthesiser is None:
                raise SystemExit(service.voice_state.problem)
            said.append(await speak(service.synthesiser, rounds))
    return {
        "recogniser": name,
        "grade": grade,
        "targets": {
            "finish_p99_ms": FINISH_TARGET_S * 1e3,
            "first_audio_p50_ms": FIRST_AUDIO_TARGET_S * 1e3,
        },
        "heard": heard,
        "said": said,
    }


def main() -> None:
    """Run it and save the result."""
    parser = parser_for("speech_engines", __doc__)
    parser.add_argument("--utterances", type=at_least(2), default=200, metavar="N")
    parser.add_argument("--quick", action="store_true", help="few samples, not saved")
    options = parser.parse_args()
    meter = HostMeter()
    num, rounds = (10, 2) if options.quick else (options.utterances, 20)
    body = asyncio.run(measure(num, rounds)) | {"host_busy_ratio": meter.busy_ratio()}
    if options.quick:
        print(body)
    else:
        save("speech_engines", SEED, body)


if __name__ == "__main__":
    main()
