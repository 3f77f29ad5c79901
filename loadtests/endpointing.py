"""When does turn-taking find that a caller has finished, and what stops the agent?

Development cases of the assistant, which nobody generated and nothing was learned from, are spoken
by flite: once with a pause of 0.2 to 1.5 s between two words drawn by chance, once without. Voice
activity, turn-taking and the judgement of words are the shipped ones. The recogniser is ideal: it
knows every word as soon as it was said, so that the figures are those of endpointing alone. Short
utterances over the agent's words measure interruptions likewise.

The default recogniser then hears some of the utterances, also in the voices of espeak-ng: nothing
was tuned on either, and what is misheard makes whole requests look unfinished and the reverse.

    python -m loadtests.endpointing [--utterances 300] [--recognised 100] [--seed 1]

Nothing is timed: all figures are in media time, and the same on every machine. 300 utterances take
some 5 minutes of one core, 100 recognised ones in each group of voices as long again. Needs flite
and espeak-ng. Exits with 1 when more than 5 % of the pauses end a turn, or of the "uh-huhs" stop
the agent.
"""

from __future__ import annotations

import shutil
import sys
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
from gateway.core.voice_line import HEARD_HZ, WINDOW_S
from gateway.session.voice.endings import load_endings
from gateway.speech.voice_activity import WINDOW_SAMPLES, VoiceActivity
from gateway.speech.worker.pocketsphinx_ear import PocketsphinxEar
from loadtests.command_line import at_least, parser_for
from loadtests.facts import conclude, summary_ms, verdict
from loadtests.openings import openings
from loadtests.synthetic_speech import ESPEAK_VOICES, VOICES, Utterance, utter
from models.subscriber_care.endings import dev_utterances
from models.subscriber_care.findings import wilson
from models.subscriber_care.hearing import said_words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.speech.worker.pocketsphinx_ear import PocketsphinxHearing

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
_SOON_S = 0.4
"""A turn that ended so soon was ended by its words."""
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


class IdealEar:
    """Knows every word of an utterance as soon as it was said."""

    def hear(self, said: Utterance) -> Callable[[float], str]:
        """Begin; what is returned tells the words up to a media time, which only grows."""
        return said.heard_until


class RecogniserEar:
    """The default recogniser, in this process."""

    def __init__(self) -> None:
        self._ear = PocketsphinxEar(SHIPPED_HEARING, max_num_hearings=1)
        self._last: PocketsphinxHearing | None = None

    def hear(self, said: Utterance) -> Callable[[float], str]:
        """As `IdealEar`'s; ends the hearing before."""
        if self._last is not None:
            self._last.drop()
        hearing = self._last = self._ear.begin("")
        fed = max(0, round((said.start_s - TurnSettings().prefix_padding_s) * HEARD_HZ))

        def until(media_s: float) -> str:
            nonlocal fed
            end = max(fed, round(media_s * HEARD_HZ))
            if end > fed:
                sound = np.clip(said.sound[fed:end], -1.0, 1.0) * 32767
                hearing.feed(sound.astype("<i2").tobytes())
            fed = end
            return hearing.so_far().text

        return until


class Bench:
    """Plays utterances to turn-taking."""

    def __init__(self, ear: IdealEar | RecogniserEar | None = None) -> None:
        self._ear = ear or IdealEar()
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
        text = self._ear.hear(said)

        def words(heard_s: float, until_s: float) -> Words:
            return self._words(text(heard_s), until_s, answers=answers)

        def note(decisions: list[Decision]) -> None:
            taken.extend(Taken(turns.now_s, decision) for decision in decisions)
            if any(isinstance(decision, Understand) for decision in decisions):
                note(turns.understood(words(turns.now_s, turns.now_s)))

        note(turns.agent(plays=agent_plays))
        for index, probability in enumerate(probabilities):
            note(turns.hear(index * WINDOW_S, probability))
            if agent_plays:
                heard_s = turns.now_s - _PARTIAL_LAG_S
                note(turns.understood(words(heard_s, 0.0)))
        return taken

    def _words(self, text: str, until_s: float, *, answers: bool) -> Words:
        return Words(
            read_talk(text), judge_completeness(text, self._endings, answers=answers), until_s
        )


def main() -> int:
    """Run it and save the result."""
    parser = parser_for("endpointing", __doc__)
    parser.add_argument("--utterances", type=at_least(1), default=300)
    parser.add_argument("--recognised", type=at_least(1), default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    for program in ("flite", "espeak-ng"):
        if shutil.which(program) is None:
            print(f"endpointing: apt-get install {program}", file=sys.stderr)
            return 1
    rng = np.random.default_rng(args.seed)
    bench = Bench()
    turns = _turns(bench, args.utterances, rng, args.seed)
    interruptions = _interruptions(bench, rng, args.seed)
    hearing, as_shipped = Bench(RecogniserEar()), {"semantic": _SETTINGS["semantic"]}
    recognised = {
        name: _turns(hearing, args.recognised, rng, args.seed, settings=as_shipped, voices=voices)
        for name, voices in (("flite", VOICES), ("espeak-ng", ESPEAK_VOICES))
    }
    missed = [
        f"{name}: pauses inside an utterance end more than 5 % of the turns"
        for name, found in {"ideal": turns, **recognised}.items()
        if found["semantic"]["false_ends"]["rate"] > _MAX_RATE
    ]
    if interruptions["backchannels_that_stop"]["rate"] > _MAX_RATE:
        missed.append("more than 5 % of the backchannels stop the agent")
    command = f"python -m loadtests.endpointing --utterances {args.utterances}"
    return conclude(
        "endpointing",
        args.seed,
        {
            "command": f"{command} --recognised {args.recognised} --seed {args.seed}",
            "turns_ideally_heard": turns,
            "turns_recognised": recognised,
            "interruptions": interruptions,
            **verdict([], missed=missed),
        },
    )


def _turns(
    bench: Bench,
    num: int,
    rng: np.random.Generator,
    seed: int,
    *,
    settings: Mapping[str, TurnSettings] = _SETTINGS,
    voices: Sequence[str] = VOICES,
) -> dict[str, Any]:
    """By settings: how often a pause ended the turn, and how soon an utterance was over."""
    cases = [(text, answers) for text, answers in dev_utterances() if len(text.split()) > 2]
    whole_requests = {said_words(opening.text) for opening in openings() if opening.is_whole}
    found: dict[str, list[_Outcome]] = {name: [] for name in settings}
    for index in range(num):
        text, answers = cases[int(rng.integers(len(cases)))]
        words, voice = text.split(), voices[index % len(voices)]
        cut = int(rng.integers(1, len(words)))
        parts = [" ".join(words[:cut]), " ".join(words[cut:])]
        halting = utter(parts, float(rng.uniform(*_PAUSES_S)), voice, rng)
        fluent = utter([text], 0.0, voice, rng)
        judged = bench.probabilities(halting), bench.probabilities(fluent)
        for name, ways in settings.items():
            taken = bench.play(halting, judged[0], ways, answers=answers)
            is_false_end = _ends_s(taken)[0] < (halting.resumes_s or 0.0)
            taken = bench.play(fluent, judged[1], ways, answers=answers)
            wait_s = _ends_s(taken)[-1] - fluent.end_s
            found[name].append(_Outcome(is_false_end, wait_s, text in whole_requests))
    return {name: _figures(outcomes, seed) for name, outcomes in found.items()}


class _Outcome(NamedTuple):
    """Of an utterance: whether its pause ended the turn; without a pause, how long its end took."""

    is_false_end: bool
    wait_s: float
    is_whole_request: bool


def _figures(outcomes: Sequence[_Outcome], seed: int) -> dict[str, Any]:
    soon = [one for one in outcomes if one.wait_s < _SOON_S]
    whole = [one for one in outcomes if one.is_whole_request]
    return {
        "false_ends": _rate(sum(one.is_false_end for one in outcomes), len(outcomes)),
        "ended_within_400_ms": _rate(len(soon), len(outcomes)),
        "whole_requests_ended_within_400_ms": _rate(
            sum(one.is_whole_request for one in soon), len(whole)
        ),
        "end_of_speech_to_end_of_turn_ms": summary_ms([one.wait_s for one in outcomes], seed),
        "of_those_within_400_ms": summary_ms([one.wait_s for one in soon], seed),
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
    """A share with its 95 % Wilson interval; n alone of nothing."""
    if not num:
        return {"n": 0}
    bounds = [round(bound, 4) for bound in wilson(count, num)]
    return {"n": num, "rate": round(count / num, 4), "ci95": bounds}


if __name__ == "__main__":
    sys.exit(main())
