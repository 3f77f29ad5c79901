"""Slot filling, played the way callers do it: half-told, vague, corrected, taken back, repeated."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.session import phrases
from models.subscriber_care.data.chat import off_subject_turn
from models.subscriber_care.data.chat_words import BACK_OUT, BACKED_OUT
from models.subscriber_care.data.noise import proper
from models.subscriber_care.data.scene import Patterns, Scene, joined
from models.subscriber_care.data.spoken import Value
from models.subscriber_care.data.trouble import fails

_SLIP = (
    "{wrong}[,] (no|no wait|sorry|i mean|no i mean|wait|actually|no sorry|make that|or rather|"
    "no actually|er no|hang on|scratch that)[,] {right}",
    "{wrong} no {right}",
)
_CHANGE = (
    "(actually|no wait|sorry|wait|oh|hang on|hmm|no sorry)[,] (make (it|that)|change (it|that) to|"
    "i meant|i mean|let's (say|do|make it)|can (you|we) make (it|that)|better make it|i want|"
    "i'd rather have|can it be) {right} [instead] [please]",
    "(make (it|that)|change (it|that) to|i meant|i said|i mean) {right} [instead] [please|sorry]",
    "(no|no no|sorry no)[,] {right}",
    "{right} would be better [actually]",
    "(on second thoughts|thinking about it|come to think of it|oh dear|my wife says|turns out|i "
    "just "
    "saw i'm out then|i got (that|it) wrong|hang on)[,] [make (it|that)|it's|better|let's do] "
    "{right} [instead|please|then]",
    "(oh|ah|sorry|no) it's {right} (by the way|i meant|not that|i'm afraid|after all)",
    "(i should have said|i wanted to say|what i meant was|i'd prefer|can we change that to|switch "
    "(it|that) to) {right} [after all|instead|sorry]",
)


_ANSWER = (
    "(well|oh|hmm|i think|i guess|i'd say|that would be|it'd be|probably|definitely|just|only) "
    "{value} [i (think|guess|suppose|reckon)|if (you can|possible|that's okay)|should do|please]",
    "{value} (should be (fine|alright|enough)|will do|suits us [best]|sounds good|it is|of course)",
    "(let's|we can|you can) (say|go with|make (it|that)|start with|do|take) {value} [then|please]",
)
"""To any question for a slot."""
_SESSION_QUESTIONS = {
    "minutes": phrases.HOW_LONG,
    "country": phrases.WHICH_COUNTRY,
    "days": phrases.HOW_MANY_DAYS,
}


@dataclass(frozen=True)
class Slot:
    """One argument: how to draw it, what a bare answer looks like, and what is too vague."""

    draw: Callable[[Scene], Value]
    answer: Patterns
    vague: Sequence[str] = ()
    vague_answer: Patterns = ""


@dataclass(frozen=True)
class Form:
    """A tool with slots: what callers say by the slots they name, and what is asked for the rest.

    `requests` and `questions` are keyed by the names of the slots, joined with a space in the
    order of `slots`; `questions` by those still missing, and its patterns may use known slots.
    """

    tool: str
    slots: Mapping[str, Slot]
    requests: Mapping[str, Patterns]
    questions: Mapping[str, Patterns]
    finish: Callable[[Scene, Mapping[str, str | int]], bool]
    correctable: bool = True
    more: Mapping[str, Patterns] = field(default_factory=dict)


@dataclass(slots=True)
class _State:
    form: Form
    known: dict[str, Value] = field(default_factory=dict)

    def missing(self) -> list[str]:
        return [name for name in self.form.slots if name not in self.known]

    def arguments(self) -> dict[str, str | int]:
        return {name: self.known[name].value for name in self.form.slots}


def fill(scene: Scene, form: Form) -> None:
    """Play one request for `form` from the caller's first words to the last read-out."""
    state = _State(form)
    _open(scene, state)
    for _ in range(4):
        if not (missing := state.missing()):
            break
        _ask(scene, state, missing)
        if scene.chance(0.05):
            scene.hears(BACK_OUT)
            scene.says(BACKED_OUT)
            return
        if scene.chance(0.03):
            off_subject_turn(scene)
            return
        _answer(scene, state, missing)
    else:
        return
    act(scene, state)


def _ask(scene: Scene, state: _State, missing: Sequence[str]) -> None:
    """Ask for what is missing; now and then it is the session that asked."""
    sessions = _SESSION_QUESTIONS.get(missing[0])
    if sessions and scene.chance(0.25):
        scene.session_says(sessions)
    else:
        scene.says(state.form.questions[" ".join(missing)], **_words(state))


def act(scene: Scene, state: _State) -> None:
    """Call the tool, read its result out, and now and then change or extend the request."""
    scene.calls(state.form.tool, **state.arguments())
    if scene.chance(0.05):
        fails(scene)
        return
    done = state.form.finish(scene, state.arguments())
    if not done:
        return
    form = state.form
    if form.correctable and scene.chance(0.22):
        name = scene.rng.choice(list(form.slots))
        new = _other(scene, form.slots[name], state.known[name])
        state.known[name] = new
        scene.hears(_CHANGE, right=scene.phrase(new.words))
        act(scene, state)
    elif form.more and scene.chance(0.2):
        name = scene.rng.choice(list(form.more))
        new = _other(scene, form.slots[name], state.known[name])
        state.known[name] = new
        scene.hears(form.more[name], **{name: scene.phrase(new.words)})
        act(scene, state)


def _words(state: _State) -> dict[str, str]:
    return {name: proper(str(value.value)) for name, value in state.known.items()}


def _open(scene: Scene, state: _State) -> None:
    keys = list(state.form.requests)
    full = " ".join(state.form.slots)
    weights = [1.6 if key == full else 0.8 for key in keys]
    key = scene.rng.choices(keys, weights)[0]
    spoken: dict[str, str] = {}
    for name in key.split():
        slot = state.form.slots[name]
        if slot.vague and scene.chance(0.1):
            spoken[name] = scene.rng.choice(slot.vague)
        else:
            spoken[name] = _draw(scene, state, name)
    patterns = state.form.requests[key]
    pattern = patterns if isinstance(patterns, str) else scene.rng.choice(patterns)
    scene.hears(joined(pattern), **spoken)


def _draw(scene: Scene, state: _State, name: str) -> str:
    """Draw a slot's value, note it as known, and return the words, sometimes with a slip."""
    slot = state.form.slots[name]
    value = state.known[name] = slot.draw(scene)
    words = scene.phrase(value.words)
    if scene.chance(0.07):
        wrong = _other(scene, slot, value)
        return scene.phrase(_SLIP, wrong=scene.phrase(wrong.words), right=words)
    return words


def _other(scene: Scene, slot: Slot, value: Value) -> Value:
    """Draw a value that differs from `value`."""
    while (other := slot.draw(scene)).value == value.value:
        pass
    return other


def _answer(scene: Scene, state: _State, missing: Sequence[str]) -> None:
    """Answer the question for one or all missing slots; vaguely or with a correction at times."""
    form = state.form
    known = [name for name in form.slots if name in state.known]
    if known and scene.chance(0.1):
        name = scene.rng.choice(known)
        new = state.known[name] = _other(scene, form.slots[name], state.known[name])
        scene.hears(_CHANGE, right=scene.phrase(new.words))
        return
    if len(missing) > 1 and scene.chance(0.6):
        scene.hears(
            "[um] {first} [and] [(for|,)] {second} [please]",
            first=_draw(scene, state, missing[0]),
            second=_draw(scene, state, missing[1]),
        )
        return
    name = scene.rng.choice(missing)
    slot = form.slots[name]
    if slot.vague and scene.chance(0.1):
        scene.hears(slot.vague_answer or "[um] {vague}", vague=scene.rng.choice(slot.vague))
        return
    answer = _ANSWER if scene.chance(0.25) else slot.answer
    scene.hears(answer, value=_draw(scene, state, name))
