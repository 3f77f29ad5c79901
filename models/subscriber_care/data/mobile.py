"""Mobile data, roaming and the SIM."""

from collections.abc import Mapping

from models.subscriber_care.data.form import Form, Slot, fill
from models.subscriber_care.data.indirect import LOST, ROAMING, STOLEN, USAGE
from models.subscriber_care.data.noise import proper
from models.subscriber_care.data.places import NOT_A_COUNTRY, country
from models.subscriber_care.data.scene import Scene, joined
from models.subscriber_care.data.spoken import Value, any_size, days
from models.subscriber_care.data.trouble import fails, refused_for_good_reason


def data_usage(scene: Scene) -> None:
    """Play a question about mobile data."""
    scene.hears(
        joined("{wish}"),
        wish=scene.phrase(
            (
                *USAGE,
                "(have i|do i|have we|is there) [still] (got|have|) (some|any|enough|much|a bit "
                "of) "
                "(mobile |)(data|gigs|gigabytes|internet on my phone) [left] (to play with|left|"
                "remaining|over) [this month]",
                "(how much|what part|what share) of my (allowance|data|data plan|gigs|package) (is "
                "gone|is left|have i used|did i use|has gone|is used up) [already|so far]",
                "(am i|are we) (running out|running low|nearly out|almost out|going to run out) of "
                "(data|gigs|mobile data) [soon|already]",
                "(er|um|so|) how much data (have i|i) got left [like|then|now|please]",
                "(data|gigs) (used|left|check|so far|balance) [please|this month]",
                "(check|look at|see|tell me about) (my|the) (data|data counter|mobile data|"
                "gigabytes) "
                "[for me|please|this month]",
                "(did|have) (the kids|my son|i|we) (use|used|eaten) (all|up all|up|through) [of] "
                "(my|the|"
                "our) (mobile |)data",
                "(any idea|do you know|tell me|i wonder|let me know) how much data (i've|i have) "
                "(used|burned|gone through|"
                "left|got left|got) [so far|this month]",
                "(how's|how is) my data [doing|looking] [this month]",
                "(have i|how much have i) (burned through|gone through|eaten up|used up) (much "
                "data|my data|of "
                "my (data|gigs|allowance)) [already]",
                "(how much|how many (gigs|gigabytes|gb) of) [mobile|cell] data (have i used|do i "
                "have left|did "
                "i use|is left|am i using|have i got left|do i use|remains) [this month|so "
                "far|already|on "
                "my (plan|phone)]",
                "(what's|what is|check|show me|tell me|look up|can you check|could you tell "
                "me|i'd like to "
                "know|i want to see) my [mobile] data "
                "(usage|consumption|use|balance|status|volume|left)",
                "(am i|have i gone|did i go) (over|close to|near) my [data] "
                "(limit|allowance|data|cap) [yet]",
                "(how many|how much) (gigs|gigabytes|gb|megabytes) (have i used|do i have "
                "left|are left)",
                "(data usage|mobile data left|remaining data|my data|gigs left|data left on my "
                "phone)",
                "(do i have|have i got|is there) (any|enough|some) [mobile] data "
                "(left|remaining) [this "
                "month|on my plan]",
                "(did i|have i) (used|use) (up |)all my data",
            )
        ),
    )
    scene.calls("get_data_usage")
    if scene.chance(0.05):
        fails(scene)
        return
    used = any_size(scene.rng, 300)
    if scene.chance(0.35):
        scene.gets(used_gb=used, allowance_gb="unlimited")
        scene.says("You've used {used} gigabytes, and your data is unlimited.", used=str(used))
        return
    allowance = scene.rng.choice((5, 10, 20, 30, 40, 50, 60, 80, 100, any_size(scene.rng, 300)))
    scene.gets(used_gb=used, allowance_gb=allowance)
    scene.says(
        "You've used {used} of (your |){allowance} gigabytes [so far|this month].",
        used=str(used),
        allowance=str(allowance),
    )


def _country(scene: Scene) -> Value:
    name, words = country(scene.rng)
    return Value(name, words)


def _days(scene: Scene) -> Value:
    value, words = days(scene.rng, typed=scene.typed)
    return Value(value, words)


def _read_roaming(scene: Scene, arguments: Mapping[str, str | int]) -> bool:
    name, length = str(arguments["country"]), int(arguments["days"])
    draw = scene.rng.random()
    if draw < 0.08:
        scene.gets(error="country_not_covered", country=name)
        scene.says("Sorry, (there's no pass for|we don't cover|roaming doesn't cover) {country}.",
                   country=proper(name))  # fmt: skip
        return True
    if draw < 0.16:
        scene.gets(error="already_active", country=name)
        scene.says(
            "You already have (a|an active) (roaming |)pass for {country}.", country=proper(name)
        )
        refused_for_good_reason(scene)
        return False
    price = any_size(scene.rng, 400)
    scene.gets(country=name, days=length, price_dollars=price)
    scene.says(
        "(Done|All set|Okay), (roaming in {country} is active|your pass for {country} is "
        "active|{country} is "
        "covered) for {days} {unit}, for {price}.",
        country=proper(name),
        days=str(length),
        unit="day" if length == 1 else "days",
        price=f"{price} dollar{'s' * (price != 1)}",
    )
    return True


_ROAMING = Form(
    tool="add_roaming",
    slots={
        "country": Slot(
            _country,
            ("{value} [please]", "[i'm going] to {value}", "[it's|in|for] {value}", "{value}"),
            vague=NOT_A_COUNTRY,
        ),
        "days": Slot(
            _days,
            ("[for] {value} [please]", "[about|just] {value}", "{value}"),
            vague=(
                "a while",
                "the weekend",
                "a long weekend",
                "a few days",
                "next week",
                "the summer",
                "until friday",
                "some time",
                "the holidays",
                "as long as needed",
                "the whole trip",
                "until the end of the month",
                "christmas",
                "a short trip",
            ),
        ),
    },
    requests={
        "country days": (
            *ROAMING,
            "(we're|i'm|my wife's|my son is) (off|flying|flying out|going|driving|away) to "
            "{country} "
            "for {days}[,] (sort out|add|get|set up|we need|i need|please add) roaming [for us|"
            "please]",
            "(need|want|will need|would like) roaming [for|in] {country}[,] {days}",
            "(so|um|well|) (i'm|we're) going to {country} for {days} (need|and need|want) roaming",
            "(my|our) (holiday|trip|honeymoon|conference) in {country} (is|lasts) {days}[,] (i'll "
            "want|"
            "we'll need|so add|please add|can you add) roaming",
            "(i|we) (fly out|travel|go) to {country} [and] (will stay|need|stay|are there) {days} "
            "[of roaming|so add roaming|and need roaming]",
            "add roaming for {country}[,] {days}",
            "(can|could) i (get|have) {days} (of |)(roaming |)in {country} [with data|with "
            "roaming]",
            "(in|for) {country} i need {days} of roaming",
            "(we need to|i have to|i want to) use (our phones|my phone|data|my mobile) in "
            "{country} for "
            "{days}",
            "(sort out|set me up with|get|arrange|organise|i'll want|we need|put) roaming [for "
            "us|for me|on my "
            "line] (in|for|to) {country} for {days}",
            "(my|our) (trip|holiday|vacation|stay|business trip|visit) (to|in) {country} "
            "(is|lasts|takes|will "
            "last) {days} [so|and] [i|we] (need|want|would like|add) roaming",
            "(i|we) (fly|travel|go|drive|leave) to {country} [tomorrow|next week|soon] [and "
            "stay|and we stay|"
            "staying] [for] {days} [so] [please] (add roaming|i need roaming|i want a "
            "pass|roaming please)",
            "roaming [pass] [for|in|,] {country}[,] [for] {days} [please]",
            "(add|i need) {days} of roaming (in|for) {country}",
            "(add|get me|i need|i want|activate|set up|buy|turn on|i'd like|can i get|can i "
            "have|please add) "
            "[a] (roaming|roaming pass|roaming package|travel pass|roaming) (for|in|to) "
            "{country} for {days}",
            "(can|could) you (add|activate|set up|turn on) roaming (for|in) {country} for {days}",
            "(i'm|i am|we're|we are) (going|travelling|traveling|flying|off|heading) to "
            "{country} for {days} "
            "[and] [i] (need|want|i'd like) (roaming|a roaming pass|data there)",
            "(i'll be|i will be|i'm gonna be) in {country} for {days} [and] [i] (need|add|want) "
            "roaming",
            "{days} [of] roaming (in|for) {country}",
            "(roaming|roaming pass) {country} {days}",
            "(i want to use my phone in|my phone should work in|i need mobile data in|i need to "
            "use my "
            "phone in) {country} for {days}",
        ),
        "country": (
            "(i'm|we're) (taking my phone|taking the phones) to {country} [and need roaming]",
            "(i'm|we're) (off|flying|heading|going) to {country} [on (holiday|business|friday)] "
            "[and] "
            "(what about|need|want|sort out|add|how about) [my|a] (roaming|roaming pass|data)",
            "{country} (roaming|pass|travel pass) [please]",
            "(my|our) next (trip|holiday|flight) is to {country} [and i need|i want|so] roaming",
            "(i'm|we're) (taking my phone|bringing our phones|off|on holiday|moving) to "
            "{country} [and i need "
            "roaming|and want to use my phone|what about roaming]",
            "(sort out|set me up with|arrange) roaming (for|in) {country}",
            "(add|get me|i need|i want|activate|set up|buy|turn on|i'd like|can i get|can i "
            "have) [a] "
            "(roaming|roaming pass|roaming package|travel pass) (for|in|to) {country}",
            "(can|could) you (add|activate|set up) roaming (for|in) {country}",
            "(i'm|i am|we're) (going|travelling|traveling|flying) to {country} [next "
            "week|soon|tomorrow|next "
            "month] [and] [i] (need|want) roaming",
            "(i want to use my phone in|will my phone work in|can i use my phone in|does my plan "
            "work in) "
            "{country}",
            "roaming [for|in] {country}",
        ),
        "days": (
            "(i|we) (need|want|would like|'d like) a (roaming|travel|holiday) pass [for|lasting] "
            "{days}",
            "roaming [please] for {days}",
            "(i'll be|we'll be|we are) (away|abroad|out of the country|overseas) [for] {days} [and "
            "need|so add|need] roaming",
            "(add|get me|i need|i want|activate|set up) [a] (roaming|roaming pass|travel pass) "
            "for {days}",
            "(i'm|i am|we're) (going|travelling|traveling) abroad for {days} [and] [i] "
            "(need|want) roaming",
            "{days} of roaming",
        ),
        "": (
            "(what about|how about|i need help with|sort out|i want to add) roaming [for my (trip|"
            "holiday)]",
            "(will|does|can) my phone (work|be used|go online) (abroad|in other countries|on "
            "holiday|"
            "outside the country)",
            "(add|get me|i need|i want|activate|set up|buy|turn on|i'd like|can i get|how do i "
            "get) [a] "
            "(roaming|roaming pass|roaming package|travel pass)",
            "(i'm|i am|we're) (going|travelling|traveling) (abroad|overseas|on holiday) [next "
            "week|soon] [and] "
            "[i] (need|want) (roaming|data|my phone to work)",
            "(can you|could you|please) (add|activate|turn on|set up) roaming [for me|on my phone]",
        ),
    },
    questions={
        "country days": (
            "(Sure, which|Okay, which|Which|Of course, which) country, and for how many days?",
        ),
        "country": (
            "(Sure, which|Okay, which|Which) country (is it|are you going to|do you need it for)?",
        ),
        "days": (
            "(Sure, for|Okay, for|For) how many days do you need {country}?",
            "(Okay, how|Sure, how|How) many days (will you be in|in) {country}?",
        ),
    },
    finish=_read_roaming,
    more={"country": "(and|also|and also|now) (for|add) {country} [too|as well|please]"},
)


def roaming(scene: Scene) -> None:
    """Play a roaming pass; more than 90 days are refused."""
    if scene.chance(0.05):
        name, words = country(scene.rng)
        too_long = scene.phrase("(four|five|six|4|5|8) months|(a|one) year|half a "
            "year|(100|120|150|365|two "
                                "hundred|a hundred|91) days|(twenty|15|20) weeks")  # fmt: skip
        scene.hears(
            joined("{wish}"),
            wish=scene.phrase(_ROAMING.requests["country days"], country=words, days=too_long),
        )
        scene.says(
            "Sorry, (a pass lasts|I can add) 90 days at most. How many days (do you need|shall I "
            "add) for "
            "{country}?",
            country=proper(name),
        )
        if scene.chance(0.6):
            answer = _days(scene)
            scene.hears("(okay|ok|then|) {value} [then|please]", value=scene.phrase(answer.words))
            scene.calls("add_roaming", country=name, days=answer.value)
            _read_roaming(scene, {"country": name, "days": answer.value})
        return
    fill(scene, _ROAMING)


_PHONE = (
    "(phone|sim|sim card|mobile|cell phone|cellphone|phone|mobile phone|smartphone|cell|iphone)"
)
_REASONS = {
    "lost": "[it's|it is|i] (lost|lost it|lost my phone|i lost it|missing|gone missing|lost "
    "somewhere|i can't "
    "find it|misplaced)",
    "stolen": "[it was|it's been|it got] (stolen|nicked|taken by a "
    "thief|stolen|robbed|pickpocketed|i was "
    "robbed|someone took it|they stole it|someone stole it)",
}


def _reason(scene: Scene) -> Value:
    name = scene.rng.choice(tuple(_REASONS))
    return Value(name, scene.phrase((name, _REASONS[name])))


def _read_block(scene: Scene, arguments: Mapping[str, str | int]) -> bool:
    reason = str(arguments["reason"])
    draw = scene.rng.random()
    if draw < 0.1:
        scene.gets(error="already_blocked")
        scene.says("Your SIM is already blocked[, so nobody can use it].")
        refused_for_good_reason(scene)
        return False
    if draw < 0.2:
        scene.gets(error="declined_by_caller")
        scene.says(
            "(Okay|Alright), (I have not blocked it|your SIM is not blocked). [Anything else?]"
        )
        return False
    scene.gets(blocked=True, reason=reason)
    scene.says(
        "(Done|Okay|All right), your SIM is blocked (as {reason}|now). [Nobody can use it.]",
        reason=reason,
    )
    return False


_BLOCK = (
    "(block|shut off|cut off|kill|turn "
    "off|block|lock|deactivate|disable|freeze|stop|bar|shut down|suspend|cancel)"
)
_BLOCK_SIM = Form(
    tool="block_sim",
    slots={"reason": Slot(_reason, ("{value}", "[um|well] {value} [yesterday|on the bus|today]"))},
    requests={
        "reason": (
            f"({_BLOCK}|please {_BLOCK}|can you {_BLOCK}|i need to {_BLOCK}|i want to {_BLOCK}) "
            f"(my|the) (sim|sim "
            "card|phone|number|mobile) [because] {reason}",
            f"my {_PHONE} (is|was|has been) {{reason}} [(please|can you|i want to)] {_BLOCK} (my "
            f"sim|the sim|"
            "the sim card|it)",
        ),
        "": (
            f"(could you|would you|you need to|you must|i must) {_BLOCK} my (sim|sim card|number) "
            f"(straight away|immediately|right away|at once|asap|this minute)",
            f"(i want|i need|i'd like) (to have|) my sim [card] ({_BLOCK}ed|blocked|frozen|"
            f"disabled)",
            f"({_BLOCK}|please {_BLOCK}|can you {_BLOCK}|i need to {_BLOCK}|i want to "
            f"{_BLOCK}|could you {_BLOCK}) "
            "(my|the) (sim|sim card|mobile number)",
            "(i need|i want) (my|the) (sim|sim card) (blocked|locked|disabled) [right "
            "away|immediately]",
            "(can i|how do i) (block|lock|freeze) my sim [card]",
        ),
    },
    questions={
        "reason": ("(I can do that|Sure|Okay). Was (it|your phone) lost or stolen?",
                   "(Okay, was|Was) (it|the phone) lost or stolen?"),
    },
    finish=_read_block,
    correctable=False,
)  # fmt: skip
_LOST = (
    f"(i|my (wife|son|daughter)) (can't find|lost|left|forgot|misplaced) (my|the) {_PHONE} "
    f"[(anywhere|on the (train|bus|plane)|at a (bar|cafe)|in the park|i think i left it on the "
    f"(train|bus))][,] (lock|block|shut off|freeze|disable) the sim [please|now]",
    f"(my|the) {_PHONE} (fell out of my (pocket|bag)|slipped out|is nowhere to be found|has "
    f"disappeared|went missing|is lost for good) [(block|lock|please block) (it|the sim|my sim)]",
    f"i('ve|) (lost|misplaced) my {_PHONE} [(somewhere|on the train|yesterday|today|at the "
    f"beach|in a taxi|what "
    "should i do|please block it|block it|can you block it|i can't find it anywhere)]",
    f"i (left my {_PHONE} (on the bus|in a taxi|somewhere)|can't find my {_PHONE} "
    f"[anywhere]|dropped my "
    f"{_PHONE} in the sea) [(block|please block) (it|the sim)]",
    f"my {_PHONE} is (lost|missing|gone) [block it [please]]",
)
_STOLEN = (
    f"(some (kid|guy|man|woman|idiot)|somebody|two guys|a man on a (bike|scooter)) [has] [just] "
    f"(snatched|grabbed|nicked|pinched|swiped|stole|lifted) my {_PHONE} [(out of my (hand|bag|"
    f"pocket)|"
    f"at (a concert|the market|the station)|from the table)] [(shut off|block|lock|kill) the sim]",
    f"my {_PHONE} (was|got|has been) (stolen|nicked|pinched|swiped|robbed|taken) [(pls|please|so) "
    f"(block|lock|stop) [the|my] (sim|it)]",
    f"(someone|somebody|a thief|a guy|they|some kid) (stole|took|grabbed|nicked|has stolen|ran "
    f"off with|snatched) "
    f"my {_PHONE} [(yesterday|today|just now|on the bus|please block it|what do i do|block it "
    f"now|help)]",
    f"my {_PHONE} (was|got|has been|just got|has just been) (stolen|nicked|pinched|snatched) "
    f"[(yesterday|at the "
    "station|please block it|block the sim|last night)]",
    f"(i was|i got|i've been) (robbed|mugged|pickpocketed) (they took|and they took|and they "
    f"have) my {_PHONE}",
)


def block_sim(scene: Scene) -> None:
    """Play the blocking of a SIM: asked for outright, or implied by a lost or stolen phone."""
    draw = scene.rng.random()
    if draw < 0.5:
        fill(scene, _BLOCK_SIM)
        return
    reason = "lost" if draw < 0.75 else "stolen"
    wishes = (*_LOST, *LOST) if reason == "lost" else (*_STOLEN, *STOLEN)
    scene.hears(joined("{wish}"), wish=scene.phrase(wishes))
    scene.calls("block_sim", reason=reason)
    if scene.chance(0.05):
        fails(scene)
        return
    _read_block(scene, {"reason": reason})
