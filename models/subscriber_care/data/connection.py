"""Internet, TV, mobile and phone service: outages, restarts, speed tests, technician visits."""

from collections.abc import Mapping

from models.subscriber_care.data.chat import NO, YES
from models.subscriber_care.data.form import Form, Slot, fill
from models.subscriber_care.data.noise import proper
from models.subscriber_care.data.scene import Scene, joined
from models.subscriber_care.data.spoken import Value

SERVICES = {
    "internet": "(internet|internet connection|wifi|broadband|connection|home internet|web|fibre)",
    "tv": "(tv|television|cable|tv service|tv signal|tv channels|telly|cable tv)",
    "mobile": "(mobile|cell phone signal|mobile network|mobile data|cell service|cell|mobile service|"
    "4g|5g|mobile phone signal|cellular)",
    "phone": "(landline|home phone|phone line|phone|house phone|telephone|fixed line|land line)",
}
SERVICE_NAMES = {"internet": "internet", "tv": "TV", "mobile": "mobile", "phone": "phone"}
DEVICES = {
    "modem": "(modem|cable modem|modem)",
    "router": "(router|wifi router|router|internet router|wifi box|wireless router)",
    "tv_box": "(tv box|set top box|cable box|tv receiver|decoder|set-top box|box for the tv|tv decoder)",
}
DEVICE_NAMES = {"modem": "modem", "router": "router", "tv_box": "TV box"}
DAYS = ("today", "tomorrow", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday",
        "sunday")  # fmt: skip


def _service(scene: Scene) -> Value:
    name = scene.rng.choice(tuple(SERVICES))
    return Value(name, SERVICES[name])


def _device(scene: Scene) -> Value:
    name = scene.rng.choice(tuple(DEVICES))
    return Value(name, DEVICES[name])


def _day(scene: Scene) -> Value:
    name = scene.rng.choice(DAYS)
    if name in ("today", "tomorrow"):
        return Value(name, name)
    return Value(name, f"[(on|this|next|on|for)] {name}")


_WINDOWS = {
    "morning": "([in the] morning|[around|at|about] (8|9|10|11|eight|nine|ten|eleven) (am|o'clock in the "
    "morning|in the morning)|before noon|before lunch|early|first thing|mornings)",
    "afternoon": "([in the] afternoon|[around|at|about] (1|2|3|4|one|two|three|four) (pm|o'clock in the "
    "afternoon|in the afternoon)|after lunch|early afternoon|afternoons)",
    "evening": "([in the] evening|[around|at|about] (6|7|8|six|seven|eight) (pm|o'clock in the evening|in "
    "the evening)|after work|late in the day|evenings)",
}


def _window(scene: Scene) -> Value:
    name = scene.rng.choice(tuple(_WINDOWS))
    return Value(name, scene.phrase((name, f"[in the] {name}", _WINDOWS[name])))


def _read_outage(scene: Scene, arguments: Mapping[str, str | int]) -> bool:
    service = str(arguments["service"])
    name = SERVICE_NAMES[service]
    if scene.chance(0.5):
        hour = f"{scene.rng.randrange(1, 13)} {scene.rng.choice(('am', 'pm'))}"
        when = scene.rng.choice((hour, hour, f"{proper(scene.rng.choice(DAYS))} {hour}"))
        scene.gets(service=service, outage=True, fixed_by=when)
        scene.says(
            (
                "(Yes|Sorry, yes), there's an outage (affecting your {name}|on your {name} service). It "
                "should be fixed by {when}.",
                "There is a known {name} outage. We expect it fixed by {when}.",
            ),
            name=name,
            when=when,
        )
        if scene.chance(0.1):
            scene.hears(
                "(when (will|does) it (be fixed|work again|be back)|how long will it take|until when|"
                "what time was that|sorry when)"
            )
            scene.says("By {when}, (as far as we know|that's the current estimate).", when=when)
        return True
    scene.gets(service=service, outage=False)
    if service == "internet" or service == "tv":
        device = "router" if service == "internet" else "tv_box"
        scene.says(
            "(Good news|No), (there's no known|I see no) {name} outage (at your address|in your area). "
            "Shall I restart your {device}?",
            name=name,
            device=DEVICE_NAMES[device],
        )
        return _offer_restart(scene, device)
    scene.says(
        "(Good news|No), (there's no known|I see no) {name} outage (at your address|in your area). "
        "(Would you like a technician visit|Shall I book a technician)?",
        name=name,
    )
    if scene.chance(0.5):
        scene.hears(YES)
        scene.says(_TECHNICIAN.questions["day window"])
        fill_rest(scene)
        return False
    return True


def _offer_restart(scene: Scene, device: str) -> bool:
    draw = scene.rng.random()
    if draw < 0.4:
        scene.hears(YES)
        scene.calls("restart_device", device=device)
        _read_restart(scene, {"device": device})
        return False
    if draw < 0.6:
        scene.hears(NO)
        scene.says("(Okay|Alright|No problem). (Is there anything else I can do|Anything else)?")
        return False
    return True


def _read_restart(scene: Scene, arguments: Mapping[str, str | int]) -> bool:
    device = str(arguments["device"])
    minutes = scene.rng.randrange(1, 16)
    scene.gets(device=device, status="restarting", ready_in_minutes=minutes)
    scene.says(
        (
            "(Done|Okay), your {name} is restarting. It will be (ready|back) in {minutes} {unit}.",
            "Your {name} is restarting now. (Give it|It needs) about {minutes} {unit}.",
        ),
        name=DEVICE_NAMES[device],
        minutes=str(minutes),
        unit="minute" if minutes == 1 else "minutes",
    )
    if scene.chance(0.12):
        scene.hears(
            "(it's|it is|that) still (not working|doesn't work|broken|the same) [(it didn't help|what "
            "now|now what)]"
        )
        scene.says(
            "I'm sorry (about that|to hear that). (Shall I book a technician|Would you like a technician "
            "visit)?"
        )
        if scene.chance(0.6):
            scene.hears(YES)
            scene.says(_TECHNICIAN.questions["day window"])
            fill_rest(scene)
        return False
    return True


_OUTAGE = Form(
    tool="check_outage",
    slots={"service": Slot(_service, ("[it's] [the|my] {value} [please]", "{value}"))},
    requests={
        "service": (
            "(is there|do you have|are there) (an outage|any outages|a problem|any issues|a fault|some "
            "trouble|known problems) (with|for|on|affecting) (the|my|our) {service} [in my area|here|at "
            "my address|today|at my place]",
            "(my|the|our) {service} (is|seems|has been|went) (down|out|dead|gone|offline|not working|off|"
            "broken|cut off|dropping) [since (this morning|yesterday|last night)|again|all day|why]",
            "(my|the|our) {service} (isn't working|doesn't work|stopped working|won't work|keeps cutting "
            "out|keeps dropping|won't connect|just died|crashed|is acting up|is on the blink|packed up|"
            "keeps going off|has conked out)",
            "(i have|i've got|we have|there's) no {service} [at all|today|right now|at home|any more]",
            "(check|can you check|could you check|please check|look up|find out) (if there's an outage "
            "on|for outages on|whether there's a problem with|the status of|for problems with|what's "
            "wrong with|on) (the|my|our) {service}",
            "(what's wrong with|what happened to|what's going on with|why is there a problem with|why is "
            "there no|any news about|when will you fix) (the|my|our) {service}",
            "i can't (use|get|connect to|access) (the|my|any) {service} [at all|today]",
            "is (the|my|your) {service} (down|out|working|broken) [in my area|at the moment|or is it me|"
            "today|for everyone]",
            "(lost|losing|i lost) {service} [(connection|completely|again|this morning)]",
            "{service} (down|outage|not working|dead|is gone|problem|trouble|issue)",
        ),
        "": (
            "(is there|are there|do you know of|check for|can you check for) (an outage|any outages|a "
            "known fault|outages|problems) [in my area|right now|near me|on my street]",
            "(something|it|everything|the service|the line) (is down|isn't working|doesn't work|is broken|"
            "stopped working|is out|is not working [again])",
            "(i have|there's) (an outage|a problem|a fault|an issue) [here|with my service|at home]",
            "(nothing works|my service is out|no signal|i have no service|no service|service is down)",
            "(when will|has) the (outage|fault) (be fixed|been fixed|end)",
        ),
    },
    questions={
        "service": (
            "(Sorry to hear that|I'll check that|Sure, I can check). Which service is it: internet, TV, "
            "mobile or phone?",
            "(Okay, which|Which) service: internet, TV, mobile or phone?",
        )
    },
    finish=_read_outage,
    more={
        "service": "(and|what about|how about|and what about|check) (the|my) {service} [too|as well|then]"
    },
)
_RESTART = Form(
    tool="restart_device",
    slots={
        "device": Slot(
            _device,
            ("[the|my] {value} [please]", "{value}", "[i mean|it's] the {value}"),
            vague=("box", "thing", "device", "equipment", "gadget"),
        )
    },
    requests={
        "device": (
            "(restart|reboot|reset|power cycle|re start) (the|my|our) {device} [for me|remotely|again]",
            "(can|could|would|will) you [please] (restart|reboot|reset|turn off and on|switch off and on|"
            "power cycle|kick) (the|my|our) {device} [for me|remotely|from your side|again]",
            "(i want to|i'd like to|i need to|let's|we need to|please|i need you to|go ahead and|try to) "
            "(restart|reboot|reset|have you restart) (the|my|our) {device}",
            "(my|the) {device} (needs|could use|wants) (a restart|a reboot|restarting|rebooting|to be "
            "restarted|to be reset)",
            "(my|the) {device} (is frozen|hangs|is stuck|is hanging|has frozen|is acting up|won't respond|"
            "is not responding|keeps blinking) [(please|can you) restart it|can you reboot it]",
            "turn (my|the) {device} off and [back] on again",
            "{device} (restart|reboot|reset)",
            "(give|do) (the|my) {device} a (restart|reboot|reset)",
        ),
        "": (
            "(restart|reboot|reset) (it|that|everything|my stuff) [again]",
            "(can you|could you|please|i want to|i need to) (restart|reboot|reset) (it|something|a device|"
            "my device|one of my devices|the box|the equipment)",
            "(i need|do|can you do) a (restart|reboot|reset)",
            "turn it off and on again",
        ),
    },
    questions={
        "device": (
            "(Sure, which|Okay, which|Which) device (should I restart|shall I restart|is it): the modem, "
            "the router or the TV box?",
        )
    },
    finish=_read_restart,
    more={"device": "(and|also|now|and also) [restart] (the|my) {device} [too|as well|please]"},
)


def outage(scene: Scene) -> None:
    """Play a report of, or a question about, an outage."""
    fill(scene, _OUTAGE)


def restart(scene: Scene) -> None:
    """Play a restart of a device."""
    fill(scene, _RESTART)


def speed_test(scene: Scene) -> None:
    """Play a complaint about speed, or a wish for a test."""
    scene.hears(
        joined("{wish}"),
        wish=scene.phrase(
            (
                "(run|do|start|perform|make) a speed test [on my line|on my internet|for me]",
                "(can|could) you [please] (run|do|check|test|measure|look at) (a speed test|my internet "
                "speed|my speed|the speed of my (line|connection|internet)|how fast my (internet|wifi|"
                "connection|line) is)",
                "(my|the|our) (internet|wifi|connection|broadband|line|web) (is|seems|feels|has been) "
                "[really|very|so|super|a bit|too|painfully] (slow|sluggish|crawling|laggy|slower than "
                "usual|not fast enough|at a snail's pace) [today|lately|these days|tonight|again]",
                "(why is|how come) (my|the) (internet|wifi|connection|download) [so|is so] slow [today]",
                "(how fast|how quick) is my (internet|connection|line|broadband|wifi) [right now|really]",
                "(what's|what is|tell me|check) my (internet|connection|download|upload|current|line) "
                "speed [right now]",
                "(everything|videos|youtube|downloads|web pages|netflix|my video calls) (keep buffering|"
                "loads (so |really |)slowly|keeps lagging|take forever|lag a lot)",
                "(speed test|test my (speed|line|connection)|test the (line|connection|internet speed)|"
                "slow internet|measure my speed|check the speed)",
                "(am i getting|do i get) the (speed|megabits|bandwidth) i('m| am| ) (paying|pay) for",
                "i want to (know|check|test|see) (my speed|how fast my (internet|line) is)",
            )
        ),
    )
    scene.calls("run_speed_test")
    if scene.chance(0.05):
        scene.fails()
        return
    down = scene.rng.randrange(1, 1000)
    up = scene.rng.randrange(1, 300)
    scene.gets(down_mbps=down, up_mbps=up)
    scene.says(
        (
            "(Done|Okay|All done), (you're getting|I measured|your line has) {down} megabits down and {up} "
            "up.",
            "Your speed is {down} megabits down and {up} up.",
        ),
        down=str(down),
        up=str(up),
    )


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
            "(Done|All set|Booked), a technician (comes|will come) {day} {window}. (Your reference|The "
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


_PRO = "(technician|engineer|repair man|tech|service technician|repair person|technician visit|repairman)"
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
            f"(book|send|schedule|arrange|get me|set up|i need|order) a[n] {_PRO} [(visit|appointment)] [for] "
            "{day} {window}",
            f"(can|could) you (send|book|schedule|get) (a|someone|me a) {_PRO} [round|over|out] {{day}} "
            "{window}",
            f"(i'd like|i want|i need|we need) [to book] a[n] {_PRO} {{day}} {{window}}",
            f"(i want|i need|can i get|could i have) a {_PRO} [to come] [in the|for] {{window}} {{day}}",
            "(can|could) (somebody|someone|anybody) come (out|over|round|and fix it|and have a look|and "
            "fix my (internet|tv|line)) {day} {window}",
            f"(is|would) a {_PRO} [be] (available|free|possible) {{day}} {{window}}",
        ),
        "day": (
            f"(book|send|schedule|arrange|i need|get me) a[n] {_PRO} [for] {{day}}",
            f"(can|could) you (send|book|get me) a {_PRO} {{day}}",
            "(can|could) (somebody|someone) come (out|over|round|and fix it|to my house) {day}",
            f"(i'd like|i want|i need) [to book] a {_PRO} {{day}}",
        ),
        "window": (
            f"(book|send|schedule|i need) a {_PRO} (for the|in the|) {{window}}",
            f"(can|could) you (send|book) a {_PRO} {{window}}",
            f"i'd (like|need) a {_PRO} {{window}} i (work|am out|am busy) (otherwise|the rest of the day)",
        ),
        "": (
            f"(book|send|schedule|arrange|get me|i need|i want|i'd like|order|we need) a[n] {_PRO}",
            f"(can|could) (you|i|we) (send|book|schedule|get|have) a[n] {_PRO} [please|to my house|round]",
            "(i need|can you send|send|please send) (someone|somebody) [to come] (out|round|over|to fix "
            "(my (internet|tv|phone|line)|this|it)|to look at (my line|my connection|it))",
            f"(i want to|i need to|i'd like to|can i|how do i) (book|make|schedule) a[n] ({_PRO}|repair "
            "appointment|service visit|technician appointment|service appointment|home visit)",
            "(can|could) (somebody|someone) (come and (fix|repair) (it|my line|my internet)|come to my "
            "(house|flat|place))",
        ),
    },
    questions={
        "day window": (
            "(Sure, which|Okay, which|Which|Of course, which) day suits you, and morning, afternoon or "
            "evening?",
        ),
        "window": (
            "(Okay, {day}|{day}, sure). (In the morning|Morning), afternoon or evening?",
            "(Sure, morning|Morning), afternoon or evening {day}?",
        ),
        "day": (
            "(Sure, which|Okay, which|Which) day (suits you|would you like|works) for the {window}?",
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
                f"(cancel|call off|i want to cancel|i need to cancel|can you cancel|please cancel|i'd like "
                f"to cancel|scrap) (my|the) ({_PRO}|{_PRO} (visit|appointment|booking)|service visit|repair "
                "appointment|appointment with the (technician|engineer)|home visit|booking with the "
                "technician) [tomorrow|on friday|today|this week|i booked]",
                f"(i don't|we don't|i no longer) need (the|a|that|any) {_PRO} [any more|anymore|after all|it "
                "works again|it's fixed]",
                f"(the|my) {_PRO} (doesn't need to come|can stay home|need not come) [any more|anymore]",
                f"(tell|let) the {_PRO} (not to come|know i'm not home|he needn't come)",
                f"i (won't|can't) be (home|there|in) for the {_PRO} (cancel it|please cancel)",
            )
        ),
    )
    scene.calls("cancel_technician")
    if scene.chance(0.05):
        scene.fails()
    elif scene.chance(0.25):
        scene.gets(error="no_visit_booked")
        scene.says(
            "(There's no|You have no|I see no) technician visit booked[, so there's nothing to cancel]."
        )
    else:
        _read_cancelled(scene, scene.rng.choice(DAYS), scene.rng.choice(tuple(_WINDOWS)))
