"""What happens when a tool fails, and what callers say then; and the hand-over to a person."""

from models.subscriber_care.data.chat_words import BACK_OUT, BACKED_OUT, NO, YES
from models.subscriber_care.data.scene import Scene
from models.subscriber_care.format import Called

_CODES = (
    "timeout", "internal_error", "service_unavailable", "no_response", "try_again_later",
    "device_offline", "not_reachable", "system_down", "unknown_error", "backend_error",
    "rate_limited", "no_agents_available", "payment_failed", "card_declined", "no_slots_available",
    "maintenance", "not_possible", "rejected", "failed", "out_of_order", "busy",
)  # fmt: skip
_USUAL_CODE = "temporarily_unavailable"
_SORRY = (
    "Sorry, (that|this) (isn't working|is not available|isn't available|didn't work) (right now|at "
    "the moment). Please try again (later|in a few minutes).",
    "Sorry, I can't reach that system (right now|at the moment). Please try again later.",
)
_STILL = "Sorry, (it's|that's) still not working. Please try again (later|in a few minutes)."
_THANKS = (
    "(okay|ok|alright|fine|oh well|never mind|right)[,] (thanks|thank you|cheers|ta) (anyway|all "
    "the same|for trying|then)",
    "(thanks|thank you) (anyway|for trying|all the same)",
)
_WELCOME = (
    "(You're welcome|Happy to help|My pleasure), (sorry about that|and sorry for the trouble)."
)
_AGAIN = (
    "(okay|well|then|please|oh|hmm|right|) (try (it |)again|try once more|once more|do it again|"
    "have another go|give it another (go|try)|one more time|again please|retry) [then|please|now|"
    "would you]",
    "(can|could|would) you (try (it |that |)again|have another go|retry|do it again) [please]",
)
_WHAT_NOW = (
    "(great|brilliant|wonderful|oh no|and|so|well|typical)[,] (so |)(what (am i supposed to do|do "
    "i "
    "do|now|shall i do|should i do|next|happens)|now what|where does that leave me) [now|then|"
    "about it]",
    "(why (not|is that|doesn't it work|can't you)|how long will (that|it) take|when will it work "
    "[again]|what's wrong with it|that's (not good|bad|a pity|annoying|no good)|i need it (now|"
    "today|urgently)|(is it|are you) broken)",
)
_WHAT_NOW_ANSWERS = (
    "I'm sorry about that. Please try again later, or I can put you through to a person.",
    "Sorry, I don't know (why|that). Shall I put you through to a person?",
)
_TO_A_PERSON = (
    "(then|well|okay|alright|so) (put me through|transfer me|connect me|pass me on) (to (someone|a "
    "person|somebody)|) [then|please|who can (help|do it)]",
    "(get|give) me (someone|a person|a human|somebody) (then|who can|please)",
)
_MISTAKE = (
    "(oh|ah|okay|right)[,] (my (mistake|bad|fault)|i see|i forgot (that|about that)|i thought i "
    "had (one|done that)|of course|silly me|that's (right|true)|i didn't know) [sorry|then|thanks]",
)
_MISTAKE_ANSWER = "No problem[, that's fine]. (Anything else|How else can I help)?"


def fails(scene: Scene) -> None:
    """Let the called tool be out of order, the assistant say so, and the caller react at times."""
    call = scene.turns[-1]
    code = _USUAL_CODE if scene.chance(0.6) else scene.rng.choice(_CODES)
    scene.gets(error=code)
    scene.says(_SORRY)
    draw = scene.rng.random()
    if draw < 0.12:
        scene.hears(_THANKS)
        scene.says(_WELCOME)
    elif draw < 0.3 and isinstance(call, Called):
        scene.hears(_AGAIN)
        scene.calls(call.tool, **call.arguments)
        scene.gets(error=code)
        scene.says(_STILL)
    elif draw < 0.42:
        scene.hears(_WHAT_NOW)
        scene.says(_WHAT_NOW_ANSWERS)
        if scene.chance(0.5):
            _offered_person(scene)
    elif draw < 0.5:
        scene.hears(_TO_A_PERSON)
        transfer(scene)
    elif draw < 0.56:
        scene.hears(BACK_OUT)
        scene.says(BACKED_OUT)


def refused_for_good_reason(scene: Scene) -> None:
    """Let the caller take in that nothing could be done: `no_visit_booked` and the like."""
    draw = scene.rng.random()
    if draw < 0.2:
        scene.hears(_MISTAKE)
        scene.says(_MISTAKE_ANSWER)
    elif draw < 0.3:
        scene.hears(_THANKS)
        scene.says(_WELCOME)


def _offered_person(scene: Scene) -> None:
    if scene.chance(0.6):
        scene.hears(YES)
        transfer(scene)
    else:
        scene.hears(NO)
        scene.says("(Okay|Alright|No problem). (Is there anything else I can do|Anything else)?")


def transfer(scene: Scene) -> None:
    """Play the hand-over to a person, which fails at times."""
    scene.calls("transfer_to_human")
    if scene.chance(0.08):
        fails(scene)
        return
    wait = scene.rng.randrange(1, 31)
    scene.gets(transferring=True, wait_minutes=wait)
    unit = "minute" if wait == 1 else "minutes"
    scene.says(
        "(Sure, I'm transferring you|Okay, I'm putting you through) now. The wait is about "
        "{wait} {unit}.",
        wait=str(wait),
        unit=unit,
    )
