"""Technician visits: booking, moving and cancelling them."""

from collections.abc import Mapping

from models.subscriber_care.data.chat_words import NO, YES
from models.subscriber_care.data.form import Form, Slot, fill
from models.subscriber_care.data.indirect import CANCEL_VISIT, TECHNICIAN
from models.subscriber_care.data.noise import proper
from models.subscriber_care.data.scene import Scene, joined
from models.subscriber_care.data.spoken import Value
from models.subscriber_care.data.trouble import fails, refused_for_good_reason

DAYS = ("today", "tomorrow", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday",
        "sunday")  # fmt: skip


def _day(scene: Scene) -> Value:
    name = scene.rng.choice(DAYS)
    if name in ("today", "tomorrow"):
        return Value(name, name)
    return Value(name, f"[(on|this|next|on|for)] {name}")


_WINDOWS = {
    "morning": "([in the] morning|[around|at|about] (8|9|10|11|eight|nine|ten|eleven) "
    "(am|o'clock in the "
    "morning|in the morning)|before noon|before lunch|early|first thing|mornings)",
    "afternoon": "([in the] afternoon|[around|at|about] (1|2|3|4|one|two|three|four) (pm|o'clock "
    "in the "
    "afternoon|in the afternoon)|after lunch|early afternoon|afternoons)",
    "evening": "([in the] evening|[around|at|about] (6|7|8|six|seven|eight) (pm|o'clock in the "
    "evening|in "
    "the evening)|after work|late in the day|evenings)",
}


def _window(scene: Scene) -> Value:
    name = scene.rng.choice(tuple(_WINDOWS))
    return Value(name, scene.phrase((name, f"[in the] {name}", _WINDOWS[name])))


def _read_visit(scene: Scene, arguments: Mapping[str, str | int]) -> bool:
    day, window = str(arguments["day"]), str(arguments["window"])
    if scene.chance(0.1):
        old_day, old_window = scene.rng.choice(DAYS), scene.rng.choice(tuple(_WINDOWS))
        scene.gets(error="already_booked", day=old_day, window=old_window)
        scene.says(
            "You already have a visit [booked] for {day} {window}. Shall I cancel it?",
            day=proper(old_day),
            window=old_window,
        )
        if scene.chance(0.5):
            scene.hears(YES)
            scene.calls("cancel_technician")
            _read_cancelled(scene, old_day, old_window)
        else:
            scene.hears(NO)
            scene.says("(Okay|Alright), (it stays booked|I'll leave it as it is). Anything else?")
        return False
    reference = f"{scene.rng.choice('TTTVR')}{scene.rng.randrange(1000, 10000)}"
    scene.gets(day=day, window=window, reference=reference)
    scene.says(
        (
            "(Done|All set|Booked), a technician (comes|will come) {day} {window}. (Your "
            "reference|The "
            "reference) is {reference}.",
            "Your technician visit is booked for {day} {window}, reference {reference}.",
        ),
        day=proper(day),
        window=window,
        reference=reference,
    )
    return True


def _read_cancelled(scene: Scene, day: str, window: str) -> None:
    scene.gets(cancelled=True, day=day, window=window)
    scene.says(
        (
            "(Done|Okay), your visit on {day} {window} is cancelled."
            if day not in ("today", "tomorrow")
            else "(Done|Okay), your visit {day} {window} is cancelled."
        ),
        day=proper(day),
        window=window,
    )


_PRO = (
    "(technician|engineer|repair man|tech|service technician|"
    "repair person|technician visit|repairman)"
)
ASK_DAY_AND_WINDOW = (
    "(Sure, which|Okay, which|Which|Of course, which) day suits you, and morning, "
    "afternoon or "
    "evening?",
)
_TECHNICIAN = Form(
    tool="book_technician",
    slots={
        "day": Slot(
            _day,
            (
                "{value} [please|works|is fine|is good|would be best|i think]",
                "[how about|maybe] {value}",
            ),
            vague=(
                "next week",
                "soon",
                "as soon as possible",
                "the day after tomorrow",
                "this weekend",
                "in two days",
                "some day",
                "sometime this week",
                "next month",
                "on the 14th",
                "in a few days",
                "any day",
                "at the weekend",
            ),
        ),
        "window": Slot(
            _window,
            ("{value} [please|works|is fine|is good|would be best]", "[how about|maybe] {value}"),
            vague=("any time", "whenever", "at some point", "during the day", "whatever you have"),
        ),
    },
    requests={
        "day window": (
            *TECHNICIAN,
            f"(get|have|send) (somebody|someone|a {_PRO}) (over|here|out|round) to (fix|repair|"
            f"check|look "
            f"at) (my|our|the) (line|internet|tv|phone line|connection) (on |){{day}}[,] [ideally|"
            f"preferably|best|if possible] [in the] {{window}}",
            f"(an|a) {_PRO} (on|for|this|) {{day}}[,] {{window}} [please|would be good|if you "
            f"could]",
            f"(book|schedule|reserve) {_PRO} {{day}} {{window}}",
            f"(i'm|we're|i'll be|we are) (home|free|in|at home|available) {{day}} {{window}}[,] "
            f"(send|"
            f"can you send|so send|book) a {_PRO} [then|please]",
            f"(can|could) we (have|get|arrange|do) a {_PRO} [visit] {{day}} {{window}}",
            f"(get|have) (someone|somebody|a {_PRO}|one of your people) (over|here|to my "
            f"place|round|out) {{day}} "
            "{window} [to (fix|repair|check) (my (line|tv|internet)|it|things)]",
            f"(could|can|will) a[n] {_PRO} (drop by|stop by|come by|come|come over|pass by|be "
            f"here) {{day}} {{window}}",
            f"(i|we) (need|want|could use) a {_PRO} (at my place|at home|here|at our house) "
            f"{{day}} {{window}}",
            f"{{day}} {{window}} for a {_PRO} [visit] [please]",
            f"(book|send|schedule|arrange|get me|set up|i need|order) a[n] {_PRO} "
            f"[(visit|appointment)] [for] "
            "{day} {window}",
            f"(can|could) you (send|book|schedule|get) (a|someone|me a) {_PRO} [round|over|out] "
            f"{{day}} "
            "{window}",
            f"(i'd like|i want|i need|we need) [to book] a[n] {_PRO} {{day}} {{window}}",
            f"(i want|i need|can i get|could i have) a {_PRO} [to come] [in the|for] {{window}} "
            f"{{day}}",
            "(can|could) (somebody|someone|anybody) come (out|over|round|and fix it|and have a "
            "look|and "
            "fix my (internet|tv|line)) {day} {window}",
            f"(is|would) a {_PRO} [be] (available|free|possible) {{day}} {{window}}",
        ),
        "day": (
            f"(i|we) (need|want|could use) a {_PRO} {{day}} [please|to check the line]",
            f"a {_PRO} {{day}} [please]",
            f"(any chance of|is there) a {_PRO} [free|available] {{day}}",
            f"(get|have) (someone|somebody|a {_PRO}) (over|here|to my place|round|out) {{day}}",
            f"(could|can) a[n] {_PRO} (drop by|stop by|come by|come) {{day}}",
            f"(book|send|schedule|arrange|i need|get me) a[n] {_PRO} [for] {{day}}",
            f"(can|could) you (send|book|get me) a {_PRO} {{day}}",
            "(can|could) (somebody|someone) come (out|over|round|and fix it|to my house) {day}",
            f"(i'd like|i want|i need) [to book] a {_PRO} {{day}}",
        ),
        "window": (
            f"(any chance of|i'd like|i want|could i get) (a repair visit|a {_PRO}|a home visit|a "
            f"service visit) in the {{window}}",
            f"(book|send|schedule|i need) a {_PRO} (for the|in the|) {{window}}",
            f"(can|could) you (send|book) a {_PRO} {{window}}",
            f"i'd (like|need) a {_PRO} {{window}} i (work|am out|am busy) (otherwise|the rest of "
            f"the day)",
        ),
        "": (
            f"(book|send|schedule|arrange|get me|i need|i want|i'd like|order|we need) a[n] {_PRO}",
            f"(i'd love|i'd like|i want|i need) (to have |)a {_PRO} (to |)(take a look|look at "
            f"this|come "
            f"over|have a look|check this|see this) [please]",
            f"(when can|can|could) a {_PRO} (come|visit|be here|look at it)",
            f"(rebooting|restarting|it) (didn't help|did nothing|doesn't help) [so] (send|i need|"
            f"get me) "
            f"(someone|a {_PRO})",
            f"(can|could) (you|i|we) (send|book|schedule|get|have) a[n] {_PRO} [please|to my "
            f"house|round]",
            "(i need|can you send|send|please send) (someone|somebody) [to come] "
            "(out|round|over|to fix "
            "(my (internet|tv|phone|line)|this|it)|to look at (my line|my connection|it))",
            f"(i want to|i need to|i'd like to|can i|how do i) (book|make|schedule) a[n] "
            f"({_PRO}|repair "
            "appointment|service visit|technician appointment|service appointment|home visit)",
            "(can|could) (somebody|someone) (come and (fix|repair) (it|my line|my internet)|come "
            "to my "
            "(house|flat|place))",
        ),
    },
    questions={
        "day window": ASK_DAY_AND_WINDOW,
        "window": (
            "(Okay, {day}|{day}, sure). (In the morning|Morning), afternoon or evening?",
            "(Sure, morning|Morning), afternoon or evening {day}?",
        ),
        "day": (
            "(Sure, which|Okay, which|Which) day (suits you|would you like|works) for the "
            "{window}?",
        ),
    },
    finish=_read_visit,
)


def technician(scene: Scene) -> None:
    """Play a booking of a visit."""
    fill(scene, _TECHNICIAN)


def fill_rest(scene: Scene) -> None:
    """Play the answer to an offered visit once its day and window were asked for."""
    day, window = _day(scene), _window(scene)
    scene.hears("[um] {day} [in the] {window} [please]",
                day=scene.phrase(day.words), window=str(window.value))  # fmt: skip
    scene.calls("book_technician", day=day.value, window=window.value)
    _read_visit(scene, {"day": day.value, "window": window.value})


def cancel_visit(scene: Scene) -> None:
    """Play the cancelling of a visit, which may not exist."""
    scene.hears(
        joined("{wish}"),
        wish=scene.phrase(
            (
                *CANCEL_VISIT,
                f"(turns out|i think|looks like|luckily) (i|we) (don't|do not|no longer) need "
                f"(that|the|"
                f"a|your) {_PRO} [any more|anymore|after all][,] [so] [scrap|cancel|call off] [the "
                f"appointment|the visit|it]",
                f"(forget|drop|undo|delete|kill|abandon|bin) (my|the|that) ({_PRO}|{_PRO} "
                f"appointment|"
                f"repair visit|booked visit)",
                f"(cancel|call off|stop) (my|the) {_PRO} (visit|appointment|booking|) [please|"
                f"asap]",
                f"(something came up|i have to work|we're away)[,] [so] (cancel|call off|i can't "
                f"have) "
                f"the {_PRO} [visit]",
                f"(the (line|internet|tv)|it|everything) (works|is fixed|is back|came back) "
                f"[again|now] [so] (cancel|call "
                f"off|i don't need|scrap) the {_PRO}",
                f"(cancel|call off|i want to cancel|i need to cancel|can you cancel|please "
                f"cancel|i'd like "
                f"to cancel|scrap) (my|the) ({_PRO}|{_PRO} (visit|appointment|booking)|service "
                f"visit|repair "
                "appointment|appointment with the (technician|engineer)|home visit|booking with "
                "the "
                "technician) [tomorrow|on friday|today|this week|i booked]",
                f"(i don't|we don't|i no longer) need (the|a|that|any) {_PRO} [any "
                f"more|anymore|after all|it "
                "works again|it's fixed]",
                f"(the|my) {_PRO} (doesn't need to come|can stay home|need not come) [any "
                f"more|anymore]",
                f"(tell|let) the {_PRO} (not to come|know i'm not home|he needn't come)",
                f"i (won't|can't) be (home|there|in) for the {_PRO} (cancel it|please cancel)",
            )
        ),
    )
    scene.calls("cancel_technician")
    if scene.chance(0.05):
        fails(scene)
    elif scene.chance(0.25):
        scene.gets(error="no_visit_booked")
        scene.says(
            "(There's no|You have no|I see no) technician visit booked[, so there's nothing to "
            "cancel]."
        )
        refused_for_good_reason(scene)
    else:
        _read_cancelled(scene, scene.rng.choice(DAYS), scene.rng.choice(tuple(_WINDOWS)))
