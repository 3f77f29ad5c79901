"""How long callers of a site wait for an answer, from the last sample they spoke to sound.

A whole site (`firsthop up`, the shipped assistant, the default speech engines) is called over
WebRTC by callers of this process. They say the hand-written openings of the assistant's development
cases in flite's voices. A turn begins with the sample at which the speech in the recording ends and
ends with the arrival of the first packet that can be heard: the packet's sound is decoded, the
instant is the kernel's. The tools that a turn needs run at the site (`x-firsthop-tools: server`).

    python -m loadtests.voice_turns [--rounds 60] [--max-callers 10] [--quick]

Phases, in one run at one site: one caller; ten whose utterances end spread over a second; ten who
end at the same instant; ten who pause inside their utterance for 0.2 to 1.5 s; ten who talk over
the answer. Reported apart: what are whole requests, what lacks something the assistant must ask
for, turns in which a tool ran, turns that went to the core tier (a second site that repeats what it
is asked), whose acknowledgement is not their content. The stages of each turn, as the site tells
them, are held against what the caller measured. Needs flite. Exits with 1 when the run does not
count or misses a target of the project.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import numpy as np
import uvloop

from gateway.media.worker.secure import Identity
from loadtests.clients.talker import Recording, Talker, keep_pace
from loadtests.command_line import at_least, parser_for
from loadtests.facts import conclude, verdict
from loadtests.host import HostGuard
from loadtests.local_site import SiteFailed, running_site
from loadtests.openings import openings
from loadtests.priority import CLIENTS, hurry
from loadtests.synthetic_speech import VOICES, utter
from loadtests.voice_turn_figures import SEED, Turn, figures, missed_by, over_figures
from models.make_tiny import write_tiny_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_SPREAD_S: Final = 1.0
_PAUSES_S: Final = (0.2, 1.5)
_TURN_LIMIT_S: Final = 8.0
_TALKS_OVER_AFTER_S: Final = 0.7
_SILENT_S: Final = 0.3
"""An agent that cannot be heard for so long has stopped."""
_PREPARE_S: Final = 0.3
_NUM_RECORDINGS: Final = 100
_INTERRUPTIONS: Final = ("no wait", "stop", "hold on please", "sorry what was that", "no thanks")
_SIGNS: Final = ("uh huh", "okay", "yeah", "right", "I see")


@dataclass(frozen=True, slots=True)
class Line:
    """What a caller says."""

    recording: Recording
    is_whole: bool = True
    """A request that the assistant can act on or answer; else it has to ask for something."""


@dataclass(frozen=True, slots=True)
class Phase:
    """How the callers of a phase talk."""

    name: str
    num_callers: int
    num_rounds: int
    spread_s: float = _SPREAD_S
    pauses: bool = False
    over: tuple[str, ...] = ()
    """What they say over the answer."""


class Lines:
    """The recordings, drawn by chance and the same in every run."""

    def __init__(self, num: int) -> None:
        self._chance = np.random.default_rng(SEED)
        cases = openings()
        self._chance.shuffle(cases)
        self._cases = cases[:num]
        self._fluent = [
            Line(self._record([text], 0.0, index), is_whole)
            for index, (text, is_whole) in enumerate(self._cases)
        ]
        self._halting: list[Line] = []
        self._over: dict[str, list[Recording]] = {}

    def fluent(self) -> Iterator[Line]:
        """For ever."""
        return self._for_ever(self._fluent)

    def halting(self) -> Iterator[Line]:
        """For ever, with a pause between two words drawn by chance."""
        if not self._halting:
            for index, (text, is_whole) in enumerate(self._cases):
                words = text.split()
                if len(words) > 1:
                    cut = int(self._chance.integers(1, len(words)))
                    parts = [" ".join(words[:cut]), " ".join(words[cut:])]
                    pause_s = float(self._chance.uniform(*_PAUSES_S))
                    self._halting.append(Line(self._record(parts, pause_s, index), is_whole))
        return self._for_ever(self._halting)

    def over(self, text: str) -> Recording:
        """Short words, in one of the voices."""
        if text not in self._over:
            voices = range(len(VOICES))
            self._over[text] = [self._record([text], 0.0, index) for index in voices]
        return self._over[text][int(self._chance.integers(len(VOICES)))]

    def _for_ever(self, lines: Sequence[Line]) -> Iterator[Line]:
        while True:
            for index in self._chance.permutation(len(lines)):
                yield lines[index]

    def _record(self, parts: list[str], pause_s: float, index: int) -> Recording:
        return Recording.of(utter(parts, pause_s, VOICES[index % len(VOICES)], self._chance))


async def run_phase(phase: Phase, lines: Lines, url: str) -> list[Turn]:
    """The turns of a phase, of calls of their own."""
    source = lines.halting() if phase.pauses else lines.fluent()
    turns: list[Turn] = []
    async with (
        httpx.AsyncClient(base_url=url, timeout=_TURN_LIMIT_S) as http,
        asyncio.TaskGroup() as tasks,
    ):
        talkers = [Talker(_IDENTITY) for _ in range(phase.num_callers)]
        for talker in talkers:
            await talker.call(lambda offer: _place(http, offer))
        pacing = tasks.create_task(keep_pace(talkers))
        for number in range(phase.num_rounds):
            said = [next(source) for _ in talkers]
            over = lines.over(phase.over[number % len(phase.over)]) if phase.over else None
            longest_s = max(line.recording.said.end_s for line in said)
            ends_s = time.monotonic() + _PREPARE_S + longest_s
            async with asyncio.TaskGroup() as round_of:
                taken = [
                    round_of.create_task(
                        _turn(talker, line, ends_s + phase.spread_s * place / len(talkers), over)
                    )
                    for place, (talker, line) in enumerate(zip(talkers, said, strict=True))
                ]
            turns += [one.result() for one in taken]
        pacing.cancel()
        for talker in talkers:
            talker.close()
    return turns


async def _place(http: httpx.AsyncClient, offer: str) -> str:
    placed = await http.post(
        "/v1/realtime/calls",
        content=offer,
        headers={"content-type": "application/sdp", "x-firsthop-tools": "server"},
    )
    if placed.status_code != httpx.codes.CREATED:
        raise SiteFailed(f"no call was placed: {placed.text}")
    return placed.text


async def _turn(talker: Talker, line: Line, ends_s: float, over: Recording | None) -> Turn:
    """Say a line so that its speech ends then, and wait for what comes of it."""
    await asyncio.sleep(max(0.0, ends_s - line.recording.said.end_s - time.monotonic()))
    talker.forget()
    saying = talker.say(line.recording)
    turn = Turn(line.is_whole)
    try:
        async with asyncio.timeout(line.recording.said.end_s + _TURN_LIMIT_S):
            ended_s = await saying.over()
            done = await _answered(talker, ended_s)
            while talker.heard_from(ended_s) is None:
                await talker.news()
            _note(turn, talker, line, ended_s, done)
            if over is not None and turn.answer_s is not None:
                await _talk_over(turn, talker, over)
    except TimeoutError:
        pass  # a turn without an answer counts as one
    _forget_all(talker)
    return turn


async def _answered(talker: Talker, since_s: float) -> dict[str, Any]:
    """The end of the answer to what was said; what the site says of its own accord is none."""
    while True:
        done = await talker.told("response.done", since_s=since_s)
        if "endpoint" in done["response"].get("firsthop", {}).get("stages", {}):
            return done
        since_s = next(at_s for at_s, event in talker.events if event is done) + 1e-6


def _note(turn: Turn, talker: Talker, line: Line, ended_s: float, done: dict[str, Any]) -> None:
    """What came of a turn whose response is done and can be heard."""
    word = done["response"].get("firsthop", {})
    turn.stages_ms = word.get("stages", {})
    turn.is_escalated = bool(word.get("escalation"))
    items = done["response"]["output"]
    turn.tools = tuple(item["name"] for item in items if item["type"] == "mcp_call")
    stops = [at_s for at_s, event in talker.events if event["type"] == _STOPPED]
    resumes_s = line.recording.said.resumes_s
    until_s = ended_s
    if resumes_s is not None and talker.saying is not None:
        until_s = talker.saying.at_s(resumes_s) or ended_s
    turn.is_false_end = any(at_s < until_s for at_s in stops) or len(stops) > 1
    if turn.is_false_end:
        return
    turn.first_packet_s = next(at_s for at_s, _ in talker.frames if at_s >= ended_s) - ended_s
    turn.answer_s = (talker.heard_from(ended_s) or ended_s) - ended_s
    if word.get("ttft_ms") is not None:
        turn.told_s = word["ttft_ms"] / 1e3
    began = [at_s for at_s, event in talker.events if event["type"] == _BEGAN]
    if turn.is_escalated and len(began) > 1:
        # The acknowledgement and the answer are one stream of sound: the event parts them.
        turn.acknowledged_s, turn.answer_s = turn.answer_s, began[1] - ended_s
        turn.first_packet_s = turn.answer_s


async def _talk_over(turn: Turn, talker: Talker, over: Recording) -> None:
    """Say something over the answer, and see whether it stops."""
    await asyncio.sleep(_TALKS_OVER_AFTER_S)
    saying = talker.say(over)
    await saying.over()
    onset_s = saying.at_s(over.said.start_s) or 0.0
    if not any(is_loud for at_s, is_loud in talker.frames if onset_s - _SILENT_S < at_s < onset_s):
        return  # the answer was over before
    await asyncio.sleep(4 * _SILENT_S)
    loud_s = [at_s for at_s, is_loud in talker.frames if is_loud and at_s > onset_s]
    last_s = onset_s
    for at_s in loud_s:
        if at_s - last_s > _SILENT_S:
            break
        last_s = at_s
    turn.stop_s = last_s - onset_s
    turn.has_stopped = last_s == (loud_s[-1] if loud_s else onset_s)


def _forget_all(talker: Talker) -> None:
    """The next turn begins a conversation anew, on a line that is silent."""
    talker.saying = None
    talker.write("response.cancel")
    talker.write("output_audio_buffer.clear")
    added = (event["item"]["id"] for _, event in talker.events if event["type"] == _ADDED)
    for item_id in dict.fromkeys(added):
        talker.write("conversation.item.delete", item_id=item_id)


_STOPPED: Final = "input_audio_buffer.speech_stopped"
_BEGAN: Final = "output_audio_buffer.started"
_ADDED: Final = "conversation.item.added"
_IDENTITY = Identity()


def phases(num_rounds: int, max_callers: int) -> tuple[Phase, ...]:
    """Of a run: some 5.5 s for each round."""
    fewer = max(1, num_rounds // 6)
    return (
        Phase("one caller", 1, max(2, num_rounds * 2 // 3)),
        Phase("ends spread over 1 s", max_callers, num_rounds),
        Phase("ends at once", max_callers, fewer, spread_s=0.0),
        Phase("pauses inside", max_callers, fewer, pauses=True),
        Phase("interrupted", max_callers, fewer, over=_INTERRUPTIONS),
        Phase("listened to", max_callers, fewer, over=_SIGNS),
    )


async def measure(plan: Sequence[Phase], lines: Lines, url: str) -> dict[str, dict[str, Any]]:
    """All phases, one after the other."""
    found = {}
    for phase in plan:
        turns = await run_phase(phase, lines, url)
        found[phase.name] = figures(turns)
        if phase.over:
            found[phase.name]["over"] = over_figures(turns)
    return found


async def run(num_rounds: int, max_callers: int, *, is_quick: bool) -> int:
    """Start the sites, call, save the result."""
    lines = Lines(12 if is_quick else _NUM_RECORDINGS)
    plan = phases(num_rounds, max_callers)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        there = Path(folder)
        core = stack.enter_context(
            running_site(there / "core", "--model", str(write_tiny_bundle(there / "tiny")))
        )
        site = stack.enter_context(
            running_site(
                there / "site",
                FIRSTHOP_CORE_URL=f"{core.http}/v1",
                FIRSTHOP_CORE_MODEL="firsthop-tiny",
                FIRSTHOP_VOICE_PORT="0",
                FIRSTHOP_SPEECH_MAX_NUM_HEARINGS=str(2 * max_callers),
            )
        )
        priority = hurry(CLIENTS)
        guard = HostGuard(sites={"site": site.metrics})
        async with guard.watching_loop("callers"):
            found = await measure(plan, lines, site.http)
        guard.stop()
    body = {
        "command": f"python -m loadtests.voice_turns --rounds {num_rounds}"
        f" --max-callers {max_callers}",
        "callers": priority,
        "phases": found,
        "host": guard.row(),
        **verdict(guard.faults(), missed=missed_by(found)),
    }
    if is_quick:
        print(json.dumps(body, indent=2))
        return 0
    return conclude("voice_turns", SEED, body)


def main() -> int:
    """Run it and save the result."""
    parser = parser_for("voice_turns", __doc__)
    parser.add_argument("--rounds", type=at_least(2), default=60)
    parser.add_argument("--max-callers", type=at_least(1), default=10)
    parser.add_argument("--quick", action="store_true", help="few turns, not saved")
    args = parser.parse_args()
    if shutil.which("flite") is None:
        print("voice_turns: flite is missing; apt-get install flite", file=sys.stderr)
        return 1
    rounds = 3 if args.quick else args.rounds
    return uvloop.run(run(rounds, args.max_callers, is_quick=args.quick))


if __name__ == "__main__":
    raise SystemExit(main())
