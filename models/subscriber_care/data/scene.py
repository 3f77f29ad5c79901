"""One dialogue under construction: who said what, and how this caller talks."""

from collections.abc import Sequence
from random import Random

from gateway.core.values import said
from models.subscriber_care.data.noise import Style, restyle
from models.subscriber_care.data.phrasing import expand
from models.subscriber_care.format import (
    Called,
    Heard,
    MalformedCallError,
    Returned,
    Said,
    Turn,
    Value,
    problems_of,
)

Patterns = str | Sequence[str]
_MAX_TRIES = 4


class Scene:
    """Collects turns; every text is drawn from patterns with this scene's own random stream."""

    def __init__(self, rng: Random, style: Style | None = None) -> None:
        self.rng = rng
        self.turns: list[Turn] = []
        drawn: Style = rng.choices(("neat", "sloppy", "transcript"), (3, 3, 5))[0]
        self.style: Style = style or drawn

    @property
    def typed(self) -> bool:
        """Whether the caller types rather than speaks."""
        return self.style != "transcript"

    def chance(self, probability: float) -> bool:
        """Return true with this probability."""
        return self.rng.random() < probability

    def phrase(self, patterns: Patterns, **slots: str) -> str:
        """Draw one sentence of one of the patterns."""
        pattern = patterns if isinstance(patterns, str) else self.rng.choice(patterns)
        return expand(pattern, self.rng, slots)

    def hears(self, patterns: Patterns, **slots: str) -> None:
        """Let the caller say one of these, in the caller's style.

        Noise never changes a value, as the session will hear it: what it hears is what is called.
        """
        plain = self.phrase(patterns, **slots)
        for _ in range(_MAX_TRIES):
            text = restyle(plain, self.style, self.rng)
            if text == plain or said([text]) == said([plain]):
                break
        else:
            text = plain
        self.turns.append(Heard(text))

    def says(self, patterns: Patterns, **slots: str) -> None:
        """Let the assistant say one of these."""
        text = self.phrase(patterns, **slots)
        self.turns.append(Said(text[:1].upper() + text[1:]))

    def session_says(self, text: str) -> None:
        """Let the session say this sentence of its own in the assistant's place."""
        self.turns.append(Said(text, is_sessions=True))

    def calls(self, tool: str, **arguments: str | int) -> None:
        """Let the assistant call a tool; a call that breaks the schema is a fault of the grammar.

        Raises `MalformedCallError` for it.
        """
        call = Called(tool, arguments)
        if problems := problems_of(call):
            raise MalformedCallError("; ".join(problems))
        self.turns.append(call)

    def gets(self, **values: Value) -> None:
        """Let the called tool return this flat object."""
        self.turns.append(Returned(values))


_PREAMBLES = (
    "[[[((i'm|we're) (new here|at my mother's|in the car|on a break|at work)|(i've|we've) just "
    "(moved in|come home|got back|had lunch|woken up)|my (son|daughter|neighbour|husband|wife) "
    "(told me to call|said you could help|usually does this|is away)|(i work|my wife works) from "
    "home|i'm (a pensioner|not very technical|in a hurry|in a bit of a rush|calling from the "
    "kitchen)|i (hope|think) this is the right (line|number|place)|(this is|here's) what i need|"
    "(i've|we've) been (with you|a customer|customers) for years|it's about my account|you helped "
    "me (before|last time)|(i have|i've got) a (request|small request|favour to ask)|here's the "
    "thing|the thing is|to cut a long story short|let me explain|basically|as you know|it's "
    "driving "
    "me (mad|up the wall|nuts)|i'm getting annoyed)[,]]]]"
)
"""What some callers say before they come to it; it holds no value and asks for nothing."""


def joined(base: str, *politeness: str) -> str:
    """Return `base` with the openings and closings callers put around a request."""
    openings = (
        "[(hi|hello|hey|hi there|good morning|good afternoon|good evening|excuse me|okay|ok|so|"
        "right|well|alright|oh|listen|look|um hi|yeah hi|hi yes|hello again|sorry to bother you "
        "but|i was "
        "wondering|quick one|morning|hi it's me again|one more thing|and also|next|yes so|yeah so|"
        "could you help me)[,]]"
    )
    closings = (
        "[(please|thanks|thank you|if you can|if that's okay|for me|right now|now|asap|if possible|"
        "would you|when you get a chance|thanks in advance|cheers|will you|if you don't mind)]"
    )
    return " ".join((openings, _PREAMBLES, base, *(politeness or (closings,))))
