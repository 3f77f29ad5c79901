"""Wi-Fi at home: pausing it, and its password."""

from collections.abc import Mapping

from models.subscriber_care.data.form import Form, Slot, fill
from models.subscriber_care.data.indirect import PASSWORD, PAUSE
from models.subscriber_care.data.scene import Scene, joined
from models.subscriber_care.data.spoken import Value, minutes
from models.subscriber_care.data.trouble import fails

_WIFI = "(wifi|internet|wi-fi|wifi|wireless|internet access|wifi access)"
_GROUPS = {
    "kids": "[the|my|our] (kids|children|kids' devices|kids|little ones|children's "
    "devices|kid|boys|girls|"
    "son|daughter|teenagers|teens|kiddos)",
    "guests": "[the|my|our] (guests|visitors|guest network|guest wifi|guests|guest "
    "devices|houseguests)",
    "everyone": "(everyone|everybody|the whole (house|family|household)|all devices|all of "
    "us|the entire "
    "house|all of them|every device|the whole home|all users|everything)",
}


def _who(scene: Scene) -> Value:
    name = scene.rng.choice(tuple(_GROUPS))
    return Value(name, scene.phrase((name, _GROUPS[name])))


def _minutes(scene: Scene) -> Value:
    value, words = minutes(scene.rng, typed=scene.typed)
    return Value(value, words)


def _read_pause(scene: Scene, arguments: Mapping[str, str | int]) -> bool:
    who, length = str(arguments["who"]), int(arguments["minutes"])
    scene.gets(who=who, minutes=length)
    scene.says(
        (
            "(Done|Okay|All set), Wi-Fi is paused for {who} for {minutes} {unit}.",
            "(Okay, I've|I've) paused Wi-Fi for {who} for {minutes} {unit}.",
        ),
        who=who if who == "everyone" else f"the {who}",
        minutes=str(length),
        unit="minute" if length == 1 else "minutes",
    )
    return True


_PAUSE = Form(
    tool="pause_wifi",
    slots={
        "who": Slot(
            _who,
            ("[for] {value} [please]", "[just] {value}", "[it's] for {value}"),
            vague=("some people", "my husband", "them", "someone", "my neighbour", "the dog"),
        ),
        "minutes": Slot(
            _minutes,
            ("[for] {value} [please]", "[maybe|about|let's say|say] {value}", "{value}"),
            vague=(
                "a while",
                "a bit",
                "some time",
                "until tonight",
                "until dinner",
                "until 8 pm",
                "the evening",
                "a few hours",
                "until tomorrow morning",
                "the night",
                "a moment",
                "as long as possible",
                "until they finish their homework",
                "bedtime",
            ),
        ),
    },
    requests={
        "who minutes": (
            *PAUSE,
            f"(cut|stop|block|pause|kill) [the] {_WIFI} for {{who}} for {{minutes}}[,] (it's "
            f"dinner "
            f"time|it's bedtime|they have homework|they're grounded|enough screen time|please)",
            f"(stop|cut|pause|block) {{who}}'s {_WIFI} for {{minutes}} [please|would you]",
            f"(i need|i want|get|keep) {{who}} off the {_WIFI} for {{minutes}}",
            f"(pause it|{_WIFI} pause|switch it off) for {{who}}[,] {{minutes}}",
            f"{{minutes}} (without|of no|no) {_WIFI} for {{who}}",
            f"(give|grant) {{who}} (a |){{minutes}} (of |)(break|pause) from the {_WIFI}",
            f"(switch|turn|shut) the {_WIFI} off for {{who}} for {{minutes}}",
            f"{_WIFI} (off|break|pause) for {{who}} for {{minutes}} [thanks|please]",
            f"[make it so] (there's no|there is no) {_WIFI} for {{who}} for [the next] {{minutes}}",
            f"(give|i want to give) {{who}} a {_WIFI} (break|pause|timeout) (of|for) {{minutes}}",
            f"(keep|put|i need|i want|get) {{who}} (offline|off the {_WIFI}|off the net) for "
            f"[the next] {{minutes}}",
            f"{_WIFI} (off|pause|break) for {{who}}[,] [for] {{minutes}}",
            "(pause it|turn it off|stop it) for {who}[,] [for] {minutes}",
            f"(dinner time|homework time|bed time|it's late)[,] [so] (stop|pause|cut|no) {_WIFI} "
            f"for {{who}} for "
            "{minutes}",
            f"(pause|stop|turn off|block|switch off|suspend|cut|shut off|disable) [the|my|our] "
            f"{_WIFI} for "
            "{who} for {minutes}",
            f"(can|could|would) you [please] (pause|stop|turn off|block|switch off|cut|kill) "
            f"[the|my|our] "
            f"{_WIFI} for {{who}} for [the next] {{minutes}}",
            f"(i want|i'd like|i need) (to pause|to turn off|to stop|you to pause) [the|my] "
            f"{_WIFI} for "
            "{who} for {minutes}",
            f"for {{minutes}} (pause|block|stop) [the] {_WIFI} for {{who}}",
            f"(no|i want no) {_WIFI} for {{who}} for {{minutes}}",
            f"(pause|take|get|kick) {{who}} (off|off of) the {_WIFI} for {{minutes}}",
            f"(pause|put on hold) [the] {_WIFI} {{minutes}} for {{who}}",
        ),
        "who": (
            f"(please|can you|would you) (hold|freeze|suspend|pause|disable) the {_WIFI} for "
            f"{{who}}",
            "(take|keep|get) {who} (offline|off the internet) (until (they've done (the dishes|"
            "their "
            "homework)|dinner is over|further notice|bedtime)|for a while|for now)",
            f"(no|stop|cut) [the|] {_WIFI} for {{who}} (tonight|now|please|this evening)",
            f"(keep|put|i need|i want|get) {{who}} (offline|off the {_WIFI}|off the net)",
            f"{{who}} (shouldn't|must not|should not) (be on|use) the {_WIFI} [now]",
            f"(pause|stop|turn off|block|switch off|suspend|cut) [the|my|our] {_WIFI} for {{who}}",
            f"(can|could) you [please] (pause|stop|turn off|block) [the|my|our] {_WIFI} for "
            f"{{who}}",
            f"(i want|i'd like) to (pause|turn off|stop) [the|my] {_WIFI} for {{who}}",
            f"(take|get|kick) {{who}} (off|off of) the {_WIFI}",
        ),
        "minutes": (
            f"(pause|stop|turn off|switch off|suspend|cut) [the|my|our] {_WIFI} for {{minutes}}",
            f"(can|could) you [please] (pause|stop|turn off) [the|my|our] {_WIFI} for [the next] "
            f"{{minutes}}",
            f"(i want|i'd like) to (pause|turn off|stop) [the|my] {_WIFI} for {{minutes}}",
        ),
        "": (
            f"(pause|stop|turn off|switch off|suspend|i want to pause|can you pause|i'd like to "
            f"pause|"
            f"could you pause|please pause) [the|my|our] {_WIFI}",
            f"(i want|i need|give me) a {_WIFI} (pause|break)",
            "(can i|how do i|is it possible to) (pause|turn off|suspend) (the|my|our) wifi [for "
            "a while|for "
            "some time|for someone]",
        ),
    },
    questions={
        "who minutes": (
            "(Sure, for|Okay, for|For) whom and for how long: kids, guests or everyone?",
            "(Sure, who|Okay, who) is it for, kids, guests or everyone, and for how long?",
        ),
        "who": ("(Sure, for|Okay, for|For) whom: the kids, the guests or everyone?",),
        "minutes": (
            "(Sure, for|Okay, for|For) how (long|many minutes or hours)[ should I pause it]?",
        ),
    },
    finish=_read_pause,
    more={"who": "(and|also|and also|the same) for {who} [too|as well|please]"},
)


def pause_wifi(scene: Scene) -> None:
    """Play a pause of the Wi-Fi; a wish beyond a day is refused."""
    if scene.chance(0.06):
        who = scene.phrase(_who(scene).words)
        said = scene.phrase(
            "(two|three|4|five|2|a couple of|several) days|(a|one|two|3|the whole|this) week|"
            "(30|40|thirty|forty eight|48|72) hours|a month|the weekend"
        )
        scene.hears(
            joined("{wish}"),
            wish=scene.phrase(_PAUSE.requests["who minutes"], who=who, minutes=said),
        )
        scene.says(
            "Sorry, I can pause Wi-Fi for 24 hours at most. (How long shall it be|For how long)?"
        )
        return
    fill(scene, _PAUSE)


def wifi_password(scene: Scene) -> None:
    """Play a request for the Wi-Fi password."""
    scene.hears(
        joined("{wish}"),
        wish=scene.phrase(
            (
                *PASSWORD,
                "(text|send|message|give|tell) me the (wireless|wifi|internet|network|router) (key|"
                "code|password|passphrase) [again|would you|one more time|please]",
                "(my|our) (sister|guests|friends|mother in law|visitors|nephew|new laptop|new "
                "phone) "
                "(is visiting|are here|wants|want|needs|need) [and] [wants] [to] (get online|"
                "connect|"
                "the code|the wifi|join the wifi)[,] (what's|give me|send me|i need) the (code|key|"
                "password) [for (our|the) wifi|again]",
                "(how|where) (do|can) (i|we) (get on|join|connect to|log in to) (my|our|the) wifi",
                "(the wifi key|wifi code|wireless password|my wifi login) (please|again|i forgot "
                "it)",
                "(what's|what is|tell me|send me|show me|give me|text me|remind me of|can i "
                "have|can i get) "
                "(my|the|our) (wifi|wi-fi|wifi|wireless|router|network|wifi network|internet) "
                "(password|"
                "key|passcode|code|pass|login)",
                "i('ve|) (forgot|forgotten|lost|can't remember|can't find|don't "
                "know|need|misplaced) (my|"
                "the|our) (wifi|wireless|network|wifi) (password|key|code|passcode)",
                "(can|could) you [please] (send|show|text|tell|give) me (my|the) "
                "(wifi|wireless|network) "
                "(password|key|code) [again|to my phone]",
                "(how do i find|where do i find|i want to see|i'd like) (my|the) wifi "
                "(password|key|code)",
                "my (friend|sister|mother|guest|cousin) (is here|is visiting|wants to get "
                "online|came over)[,] (and|) "
                "(what's|i need|where is|give me) (the|our|my) wifi (password|code|key)",
                "(wifi password|wifi key|password for the wifi|the password for my wifi|what's "
                "the code for "
                "the wifi|my guests need the wifi password|i need to connect a new laptop to the "
                "wifi)",
            )
        ),
    )
    scene.calls("show_wifi_password")
    if scene.chance(0.05):
        fails(scene)
        return
    ending = f"{scene.rng.randrange(100):02}"
    scene.gets(sent_to=f"phone ending {ending}")
    scene.says(
        (
            "(Done|Sure|Okay), I sent (it|the password|the Wi-Fi password) to your phone ending "
            "{ending}.",
            "I've sent it to your phone ending {ending}.",
        ),
        ending=ending,
    )
