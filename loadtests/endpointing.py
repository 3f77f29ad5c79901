"""When does turn-taking find that a caller has finished, and what stops the agent?

Development cases of the assistant, which nobody generated and nothing was learned from, are spoken
by flite: once with a pause of 0.2 to 1.5 s between two words drawn by chance, once without. Voice
activity, turn-taking and the judgement of words are the shipped ones. The recogniser is ideal: it
knows every word as soon as it was said, so that the figures are those of endpointing alone. Short
utterances over the agent's words measure interruptions likewise.

    python -m loadtests.endpointing [--utterances 300] [--seed 1]

Nothing is timed: all figures are in media time, and the same on every machine. Needs flite. Exits
with 1 when more than 5 % of the pauses end a turn, or of the "uh-huhs" stop the agent.
"""

from __future__ import annotations

import shutil
import sys
from math import sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gateway.config.speech import SHIPPED_HEARING
from gateway.core.backchannel import read_talk
from gateway.core.completeness import judge_completeness
from gateway.core.turn_settings import Eagerness, TurnMode, TurnSettings
from gateway.core.turns import (
    Decision,
    HoldAgent,
    SpeechBegan,
    TurnEnded,
    TurnTaking,
    Understand,
    Words,
)
from gateway.core.voice_line import WINDOW_S
from gateway.session.voice.endings import load_endings
from gateway.speech.voice_activity import WINDOW_SAMPLES, VoiceActivity
from loadtests.command_line import at_least, parser_for
from loadtests.facts import conclude, summary_ms, verdict
from loadtests.synthetic_speech import VOICES, Utterance, utter
from models.subscriber_care.endings import dev_utterances

if TYPE_CHECKING:
    from collections.abc import Sequence

_PAUSES_S = (0.2, 1.5)
_BACKCHANNELS = (
    "uh huh",
    "okay",
    "yeah",
    "yeah yeah",
    "right",
    "I see",
    "oh okay",
    "sure",
    "got it",
)
_INTERRUPTIONS = (
    "no wait", "stop", "hold on please", "wait a minute", "no I meant the other one",
    "sorry what was that", "actually make it tomorrow", "can you repeat that", "no thanks",
)  # fmt: skip
_PARTIAL_LAG_S = 0.2
"""How far behind the sound the ideal recogniser's partial results are."""
_MAX_RATE = 0.05
_SETTINGS = {
    "semantic": TurnSettings(),
    "semantic_high": TurnSettings(eagerness=Eagerness.HIGH),
    "semantic_low": TurnSettings(eagerness=Eagerness.LOW),
    "fixed_500_ms": TurnSettings(mode=TurnMode.FIXED),
    "fixed_1000_ms": TurnSettings(mode=TurnMode.FIXED, silence_s=1.0),
}


class Taken(NamedTuple):
    """A decision and the media time at which it was taken."""

    at_s: float
    decision: Decision


class Bench:
    """Plays utterances to turn-taking."""

    def __init__(self) -> None:
        self._activity = VoiceActivity(max_num_calls=1)
        self._endings = load_endings(SHIPPED_HEARING)

    def probabilities(self, said: Utterance) -> list[float]:
        """The network's judgement of each window."""
        row = self._activity.open()
        windows = said.sound[: len(said.sound) // WINDOW_SAMPLES * WINDOW_SAMPLES]
        judged = [
            float(self._activity.judge(window[None], [row])[0])
            for window in windows.reshape(-1, WINDOW_SAMPLES)
        ]
        self._activity.close(row)
        return judged

    def play(
        self,
        said: Utterance,
        probabilities: Sequence[float],
        settings: TurnSettings,
        *,
        answers: bool = False,
        agent_plays: bool = False,
    ) -> list[Taken]:
        """What is decided while it is heard."""
        turns = TurnTaking(settings)
        taken: list[Taken] = []

        def note(decisions: list[Decision]) -> None:
            taken.extend(Taken(turns.now_s, decision) for decision in decisions)
            if any(isinstance(decision, Understand) for decision in decisions):
                note(turns.understood(self._words(said, turns.now_s, turns.now_s, answers)))

        note(turns.agent(plays=agent_plays))
        for index, probability in enumerate(probabilities):
            note(turns.hear(index * WINDOW_S, probability))
            if agent_plays:
                heard_s = turns.now_s - _PARTIAL_LAG_S
                note(turns.understood(self._words(said, heard_s, 0.0, answers)))
        return taken

    def _words(self, said: Utterance, heard_s: float, until_s: float, answers: bool) -> Words:
        text = said.heard_until(heard_s)
        return Words(
            read_talk(text), judge_completeness(text, self._endings, answers=answers), until_s
        )


def main() -> int:
    """Run it and save the result."""
    parser = parser_for("endpointing", __doc__)
    parser.add_argument("--utterances", type=at_least(1), default=300)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    if shutil.which("flite") is None:
        print("endpointing: flite is missing; apt install flite", file=sys.stderr)
        return 1
    rng = np.random.default_rng(args.seed)
    bench = Bench()
    turns = _turns(bench, args.utterances, rng, args.seed)
    interruptions = _interruptions(bench, rng, args.seed)
    missed = []
    if turns["semantic"]["false_ends"]["rate"] > _MAX_RATE:
        missed.append("pauses inside an utterance end more than 5 % of the turns")
    if interruptions["backchannels_that_stop"]["rate"] > _MAX_RATE:
        missed.append("more than 5 % of the backchannels stop the agent")
    command = f"python -m loadtests.endpointing --utterances {args.utterances} --seed {args.seed}"
    return conclude(
        "endpointing",
        args.seed,
        {
            "command": command,
            "recogniser": "ideal",
            "turns": turns,
            "interruptions": interruptions,
            **verdict([], missed=missed),
        },
    )


def _turns(bench: Bench, num: int, rng: np.random.Generator, seed: int) -> dict[str, Any]:
    """By settings: how often a pause ended the turn, and how soon a whole request ended."""
    cases = [(text, answers) for text, answers in dev_utterances() if len(text.split()) > 2]
    false_ends = {name: 0 for name in _SETTINGS}
    ends_s: dict[str, list[float]] = {name: [] for name in _SETTINGS}
    short = {name: 0 for name in _SETTINGS}
    for index in range(num):
        text, answers = cases[int(rng.integers(len(cases)))]
        words, voice = text.split(), VOICES[index % len(VOICES)]
        cut = int(rng.integers(1, len(words)))
        parts = [" ".join(words[:cut]), " ".join(words[cut:])]
        halting = utter(parts, float(rng.uniform(*_PAUSES_S)), voice, rng)
        fluent = utter([text], 0.0, voice, rng)
        judged = bench.probabilities(halting), bench.probabilities(fluent)
        for name, settings in _SETTINGS.items():
            taken = bench.play(halting, judged[0], settings, answers=answers)
            false_ends[name] += _ends_s(taken)[0] < (halting.resumes_s or 0.0)
            taken = bench.play(fluent, judged[1], settings, answers=answers)
            ends_s[name].append(_ends_s(taken)[-1] - fluent.end_s)
            short[name] += ends_s[name][-1] < 0.4
    return {
        name: {
            "false_ends": _rate(false_ends[name], num),
            "ended_within_400_ms": _rate(short[name], num),
            "end_of_speech_to_end_of_turn_ms": summary_ms(ends_s[name], seed),
            "of_those_within_400_ms": summary_ms([s for s in ends_s[name] if s < 0.4], seed),
        }
        for name in _SETTINGS
    }


def _ends_s(taken: Sequence[Taken]) -> list[float]:
    """When turns ended; never, if none did."""
    ends = [at_s for at_s, decision in taken if isinstance(decision, TurnEnded)]
    return ends or [float("inf")]


def _interruptions(bench: Bench, rng: np.random.Generator, seed: int) -> dict[str, Any]:
    """What stops the agent, and how soon it is silent."""
    holds_s: list[float] = []
    stopped: dict[str, list[str]] = {"backchannels": [], "interruptions": []}
    num = {"backchannels": 0, "interruptions": 0}
    for name, texts in (("backchannels", _BACKCHANNELS), ("interruptions", _INTERRUPTIONS)):
        for text in texts:
            for voice in VOICES:
                said = utter([text], 0.0, voice, rng)
                judged = bench.probabilities(said)
                taken = bench.play(said, judged, TurnSettings(), agent_plays=True)
                num[name] += 1
                if any(isinstance(one.decision, SpeechBegan) for one in taken):
                    stopped[name].append(f"{text} ({voice})")
                held_s = [at_s for at_s, one in taken if isinstance(one, HoldAgent)]
                holds_s += [at_s - said.start_s for at_s in held_s[:1]]
    return {
        "backchannels_that_stop": _rate(len(stopped["backchannels"]), num["backchannels"]),
        "stopped_by": stopped["backchannels"],
        "interruptions_that_stop": _rate(len(stopped["interruptions"]), num["interruptions"]),
        "onset_to_hold_ms": summary_ms(holds_s, seed),
    }


def _rate(count: int, num: int) -> dict[str, Any]:
    """A share with its 95 % Wilson interval."""
    z, share = 1.96, count / num
    middle = (share + z * z / (2 * num)) / (1 + z * z / num)
    half = z * sqrt(share * (1 - share) / num + z * z / (4 * num * num)) / (1 + z * z / num)
    bounds = [round(max(0.0, middle - half), 4), round(min(1.0, middle + half), 4)]
    return {"n": num, "rate": round(share, 4), "ci95": bounds}


if __name__ == "__main__":
    sys.exit(main())
