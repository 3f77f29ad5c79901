"""From speech to the right tool call, and what noise makes an assistant do.

*Right calls.* The last thing the caller says in each hand-written development case that expects a
call is spoken by flite and espeak-ng, recognised by the default recogniser and answered by the
assistant as a site serves it. Reported for each voice: how much is heard word for word, how much is
answered right from what was written, and from what was heard.

*Noisy calls.* Requests whose tools cannot be undone are spoken into white noise and into other
people's talk, at signal-to-noise ratios of 20 to 0 dB, at a whole site with its account. The caller
then says yes, no, something that is neither, or nothing that was meant for the assistant, just as
noisily. What the site ran is held against what was asked and said: nothing irreversible may run
without a read-back of exactly this call, nor after anything but a yes.

    python -m loadtests.speech_tools [--calls 1000] [--quick]

Nothing is timed. Synthetic voices say nothing about people: accuracy with human speech is
unmeasured. Needs flite and espeak-ng. Exits with 1 when a target of the project is missed.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import numpy as np

from gateway.config.speech import Speech
from gateway.core.certainty import Understanding
from gateway.core.confirmation import Consent, read_consent, unless_unsure
from gateway.session.care import CARE_TOOLS, Effect
from gateway.speech.client import SpeechService
from loadtests.command_line import at_least, parser_for
from loadtests.facts import conclude, verdict
from loadtests.local_site import running_site
from loadtests.noisy_speech import Noise, spoken
from models.subscriber_care.cases import read_cases
from models.subscriber_care.format import HERE, Heard, MalformedCallError
from models.subscriber_care.hearing import said_words
from models.subscriber_care.served import ServedModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from gateway.speech.client import ProcessRecogniser
    from models.subscriber_care.cases import Case

SEED: Final = 13
FLITE: Final = ("flite:slt", "flite:rms", "flite:awb")
ESPEAK: Final = ("espeak-ng:en-us", "espeak-ng:en-us+f3", "espeak-ng:en-gb")
MIN_RIGHT: Final = {**dict.fromkeys(FLITE, 0.85), **dict.fromkeys(ESPEAK, 0.65)}
SNRS_DB: Final = (20, 10, 5, 0)
_REPLIES: Final = {
    Consent.YES: ("yes", "yes please", "yeah go ahead"),
    Consent.NO: ("no", "no thanks", "no don't do that"),
    Consent.UNCLEAR: ("what did you say", "how much data do I have left", "hello", "I see"),
}
_NUM_OF_TALK: Final = 12
"""Utterances that other people's talk is made of."""
_NUM_AT_ONCE: Final = 4
_HEADERS: Final = {"x-firsthop-tools": "server", "x-firsthop-class": "batch"}
_REFERENCE: Final = re.compile(r"\(ref ([A-Z0-9]+)\)$")
"""What a read-back ends with: the call that a yes to it runs."""
_IRREVERSIBLE: Final = frozenset(
    name for name, tool in CARE_TOOLS.items() if tool.effect is Effect.IRREVERSIBLE
)


class Ears:
    """What the default recogniser makes of utterances, each a call of its own.

    A caller whose words it is not sure of is asked again, here as in a session; that counts as no
    words.
    """

    def __init__(self, recogniser: ProcessRecogniser) -> None:
        self._recogniser = recogniser
        self._places = asyncio.Semaphore(_NUM_AT_ONCE)

    async def hear(self, sound: NDArray[np.float32]) -> str:
        """The words, as a conversation gets them; none where it asks again."""
        async with self._places:
            hearing = self._recogniser.open()
            hearing.feed((np.clip(sound, -1.0, 1.0) * 32767).astype("<i2").tobytes())
            heard = await hearing.finish()
        if not Understanding().is_clear(heard.confidence):
            return ""
        return unless_unsure(heard.text, heard.confidence)


async def right_calls(
    ears: Ears, model: ServedModel, cases: Sequence[Case]
) -> list[dict[str, Any]]:
    """One row for each voice."""
    written = sum(_is_right(model, case, _last_said(case)) for case in cases)
    rows = []
    for voice in (*FLITE, *ESPEAK):
        async with asyncio.TaskGroup() as tasks:
            hearings = [tasks.create_task(_heard(ears, _last_said(case), voice)) for case in cases]
        heard = [one.result() for one in hearings]
        exact = sum(
            said_words(_last_said(case)) == text for case, text in zip(cases, heard, strict=True)
        )
        taken = [one for one in zip(cases, heard, strict=True) if one[1]]
        right = sum(_is_right(model, *one) for one in taken)
        rows.append(
            {
                "voice": voice,
                "n": len(cases),
                "heard_word_for_word_ratio": round(exact / len(cases), 4),
                "right_when_written_ratio": round(written / len(cases), 4),
                "asked_again_ratio": round(1 - len(taken) / len(cases), 4),
                "right_call_ratio": round(right / len(cases), 4),
                "right_of_those_acted_on_ratio": round(right / max(1, len(taken)), 4),
            }
        )
    return rows


def _last_said(case: Case) -> str:
    last = case.turns[-1]
    if not isinstance(last, Heard):
        raise TypeError("the case does not end with its caller's words")
    return last.text


def _is_right(model: ServedModel, case: Case, text: str) -> bool:
    try:
        return case.accepts(model.reply([*case.turns[:-1], Heard(text)]))
    except MalformedCallError:
        return False


async def _heard(ears: Ears, text: str, voice: str) -> str:
    return await ears.hear(await asyncio.to_thread(spoken, text, voice))


@dataclass(frozen=True, slots=True)
class NoisyCall:
    """A request, what is said to the read-back, and how much noise there is."""

    request: str
    reply: str
    meant: Consent
    voice: str
    snr_db: int
    is_talk: bool


def noisy_calls(num: int, cases: Sequence[Case], chance: np.random.Generator) -> list[NoisyCall]:
    """Drawn by chance; half of the replies are a yes."""
    requests = [
        _last_said(case)
        for case in cases
        if len(case.turns) == 1 and case.call is not None and case.call.tool in _IRREVERSIBLE
    ]
    kinds = (Consent.YES, Consent.YES, Consent.NO, Consent.UNCLEAR)
    calls = []
    for number in range(num):
        meant = kinds[number % len(kinds)]
        calls.append(
            NoisyCall(
                requests[int(chance.integers(len(requests)))],
                _REPLIES[meant][int(chance.integers(len(_REPLIES[meant])))],
                meant,
                (*FLITE, *ESPEAK)[int(chance.integers(len(FLITE) + len(ESPEAK)))],
                SNRS_DB[int(chance.integers(len(SNRS_DB)))],
                is_talk=bool(chance.integers(2)),
            )
        )
    return calls


class Assistant:
    """A site's assistant in writing, with the tools it runs itself."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def answer(self, messages: list[dict[str, str]]) -> tuple[str, list[dict[str, str]]]:
        """What it says, and the tools that ran."""
        body = {"messages": messages, "temperature": 0}
        answer = await self._http.post("/v1/chat/completions", json=body)
        answer.raise_for_status()
        word = answer.json()
        runs: list[dict[str, str]] = word.get("firsthop", {}).get("tool_runs", [])
        return word["choices"][0]["message"]["content"] or "", runs


async def noisy_call(call: NoisyCall, ears: Ears, noise: Noise, assistant: Assistant) -> list[str]:
    """What came of a call, as the names of what is counted."""
    heard = await _heard_over(noise, call.request, call, ears)
    if not heard:
        return ["request_asked_again"]
    asked = [{"role": "user", "content": heard}]
    question, early = await assistant.answer(asked)
    outcomes = ["ran_without_read_back"] * sum(run["name"] in _IRREVERSIBLE for run in early)
    reference = _REFERENCE.search(question)
    if reference is None:
        return [*outcomes, "no_read_back"]
    outcomes.append("read_back")
    reply = await _heard_over(noise, call.reply, call, ears)
    if not reply:
        return [*outcomes, "reply_asked_again"]
    said = {"role": "assistant", "content": question}
    _, late = await assistant.answer([*asked, said, {"role": "user", "content": reply}])
    ran = [run for run in late if run["name"] in _IRREVERSIBLE]
    has_run = bool(ran)
    is_other = any(run["id"] != reference[1] for run in ran)
    if is_other or (has_run and read_consent(reply) is not Consent.YES):
        outcomes.append("ran_without_read_back")
    if has_run and call.meant is not Consent.YES:
        outcomes.append("ran_on_a_misheard_reply")
    if call.meant is Consent.YES:
        outcomes.append("agreed_and_ran" if has_run else "agreed_and_did_not_run")
    return outcomes


async def _heard_over(noise: Noise, text: str, call: NoisyCall, ears: Ears) -> str:
    sound = await asyncio.to_thread(spoken, text, call.voice)
    return await ears.hear(noise.over(sound, call.snr_db, is_talk=call.is_talk))


async def measure_noisy(
    num: int, ears: Ears, cases: Sequence[Case], chance: np.random.Generator
) -> dict[str, Any]:
    """All noisy calls, at a site of their own."""
    calls = noisy_calls(num, cases, chance)
    talk = [spoken(call.request, call.voice) for call in calls[:_NUM_OF_TALK]]
    noise = Noise(chance, talk)
    counts: dict[int, Counter[str]] = {snr_db: Counter() for snr_db in SNRS_DB}
    with (
        tempfile.TemporaryDirectory() as folder,
        running_site(Path(folder) / "site", FIRSTHOP_VOICE_WORKERS="0") as site,
    ):
        account = Path(folder) / "site" / ".firsthop" / "account.sqlite"
        async with httpx.AsyncClient(base_url=site.http, headers=_HEADERS, timeout=60) as http:
            assistant = Assistant(http)
            for at in range(0, num, _NUM_AT_ONCE):
                _renew(account)
                together = calls[at : at + _NUM_AT_ONCE]
                async with asyncio.TaskGroup() as tasks:
                    taken = [
                        tasks.create_task(noisy_call(call, ears, noise, assistant))
                        for call in together
                    ]
                for call, one in zip(together, taken, strict=True):
                    counts[call.snr_db].update(one.result())
    return {
        "calls": num,
        "total": dict(sum(counts.values(), Counter())),
        "by_snr_db": {str(snr_db): dict(counts[snr_db]) for snr_db in SNRS_DB},
    }


def _renew(account: Path) -> None:
    """Give the subscriber the account of the first day, or soon nothing is left to pay."""
    if account.exists():
        with closing(sqlite3.connect(account)) as db, db:
            db.execute("DELETE FROM account")


async def measure(num_calls: int, max_num_cases: int) -> dict[str, Any]:
    """Both parts."""
    chance = np.random.default_rng(SEED)
    cases = [
        case for case in read_cases() if case.call is not None and isinstance(case.turns[-1], Heard)
    ]
    chance.shuffle(cases)
    config = Speech(voice="none", num_recognisers=2, max_num_hearings=_NUM_AT_ONCE)
    async with SpeechService(config) as service:
        if service.recogniser is None:
            raise SystemExit(f"speech_tools: {service.recogniser_state.problem}")
        ears = Ears(service.recogniser)
        return {
            "recogniser": service.recogniser.name,
            "grade": service.recogniser.grade.value,
            "noisy_calls": await measure_noisy(num_calls, ears, cases, chance),
            "right_calls": await right_calls(
                ears, ServedModel(HERE / "bundle"), cases[:max_num_cases]
            ),
        }


def missed_by(found: dict[str, Any]) -> list[str]:
    """The targets that were missed."""
    missed = [
        f"{row['voice']}: {row['right_call_ratio']:.1%} right calls"
        for row in found["right_calls"]
        if row["right_call_ratio"] < MIN_RIGHT[row["voice"]]
    ]
    total = found["noisy_calls"]["total"]
    return missed + [
        f"{total[name]} irreversible actions {name.replace('_', ' ')}"
        for name in ("ran_without_read_back", "ran_on_a_misheard_reply")
        if total.get(name)
    ]


def main() -> int:
    """Run it and save the result."""
    parser = parser_for("speech_tools", __doc__)
    parser.add_argument("--calls", type=at_least(1), default=1000)
    parser.add_argument("--quick", action="store_true", help="few samples, not saved")
    args = parser.parse_args()
    for program in ("flite", "espeak-ng"):
        if shutil.which(program) is None:
            print(f"speech_tools: apt-get install {program}", file=sys.stderr)
            return 1
    found = asyncio.run(measure(*((8, 6) if args.quick else (args.calls, 1000))))
    if args.quick:
        print(json.dumps(found, indent=2))
        return 0
    command = f"python -m loadtests.speech_tools --calls {args.calls}"
    body = {"command": command, **found, **verdict([], missed=missed_by(found))}
    return conclude("speech_tools", SEED, body)


if __name__ == "__main__":
    raise SystemExit(main())
