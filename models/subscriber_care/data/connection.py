"""Internet, TV, mobile and phone service: outages, restarts and speed tests."""

from collections.abc import Mapping

from models.subscriber_care.data.chat_words import NO, YES
from models.subscriber_care.data.form import Form, Slot, fill
from models.subscriber_care.data.indirect import OUTAGE, RESTART, SPEED, SYMPTOMS
from models.subscriber_care.data.noise import proper
from models.subscriber_care.data.scene import Scene, joined
from models.subscriber_care.data.spoken import Value
from models.subscriber_care.data.technician import ASK_DAY_AND_WINDOW, DAYS, fill_rest
from models.subscriber_care.data.trouble import fails

SERVICES = {
    "internet": "(internet|internet connection|wifi|broadband|connection|home internet|web|fibre)",
    "tv": "(tv|television|cable|tv service|tv signal|tv channels|telly|cable tv)",
    "mobile": "(mobile|cell phone signal|mobile network|mobile data|cell service|cell|mobile "
    "service|"
    "4g|5g|mobile phone signal|cellular)",
    "phone": "(landline|home phone|phone line|phone|house phone|telephone|fixed line|land line)",
}
SERVICE_NAMES = {"internet": "internet", "tv": "TV", "mobile": "mobile", "phone": "phone"}
DEVICES = {
    "modem": "(modem|cable modem|modem)",
    "router": "(router|wifi router|router|internet router|wifi box|wireless router)",
    "tv_box": "(tv box|set top box|cable box|tv receiver|decoder|set-top box|box for the tv|tv "
    "decoder)",
}
DEVICE_NAMES = {"modem": "modem", "router": "router", "tv_box": "TV box"}


def _service(scene: Scene) -> Value:
    name = scene.rng.choice(tuple(SERVICES))
    return Value(name, SERVICES[name])


def _device(scene: Scene) -> Value:
    name = scene.rng.choice(tuple(DEVICES))
    return Value(name, DEVICES[name])


def _read_outage(scene: Scene, arguments: Mapping[str, str | int]) -> bool:
    service = str(arguments["service"])
    name = SERVICE_NAMES[service]
    if scene.chance(0.5):
        hour = f"{scene.rng.randrange(1, 13)} {scene.rng.choice(('am', 'pm'))}"
        when = scene.rng.choice((hour, hour, f"{proper(scene.rng.choice(DAYS))} {hour}"))
        scene.gets(service=service, outage=True, fixed_by=when)
        scene.says(
            (
                "(Yes|Sorry, yes), there's an outage (affecting your {name}|on your {name} "
                "service). It "
                "should be fixed by {when}.",
                "There is a known {name} outage. We expect it fixed by {when}.",
            ),
            name=name,
            when=when,
        )
        if scene.chance(0.1):
            scene.hears(
                "(when (will|does) it (be fixed|work again|be back)|how long will it take|until "
                "when|"
                "what time was that|sorry when)"
            )
            scene.says("By {when}, (as far as we know|that's the current estimate).", when=when)
        return True
    scene.gets(service=service, outage=False)
    if service == "internet" or service == "tv":
        device = "router" if service == "internet" else "tv_box"
        scene.says(
            "(Good news|No), (there's no known|I see no) {name} outage (at your address|in your "
            "area). "
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
        scene.says(ASK_DAY_AND_WINDOW)
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
            "(it's|it is|that) still (not working|doesn't work|broken|the same) [(it didn't "
            "help|what "
            "now|now what)]"
        )
        scene.says(
            "I'm sorry (about that|to hear that). (Shall I book a technician|Would you like a "
            "technician "
            "visit)?"
        )
        if scene.chance(0.6):
            scene.hears(YES)
            scene.says(ASK_DAY_AND_WINDOW)
            fill_rest(scene)
        return False
    return True


_OUTAGE = Form(
    tool="check_outage",
    slots={"service": Slot(_service, ("[it's] [the|my] {value} [please]", "{value}"))},
    requests={
        "service": (
            *OUTAGE,
            "(zero bars|no bars|nothing but static|a blank screen|a black screen|just a spinning "
            "wheel) (on|when i use) (the|my|our) {service} [all day|since (noon|breakfast|last "
            "night)][,] [is the network down [round here]|what's happening|is it you]",
            "{service} (trouble|trouble again|has died|is dodgy|is playing up|keeps freezing|is "
            "on and "
            "off|is dead|drops every few minutes)[,] [is it (you or me|just me|everyone)|any idea "
            "why|can you look into it|what's up]",
            "(hey|look|listen|so|um|) (the|our|my) {service} (is like|is|has|just) (down|gone|dead|"
            "kaput|out|died|stopped) [again] [since (this morning|i got (home|up)|the storm)]",
            "(do you know|any idea|can you see|tell me|i wonder) (why|if) (the|my|our) {service} "
            "(isn't working|is down|went down|is so unreliable|is out|is out of order|has a fault)",
            "(having|we're having|i have|i'm having) (trouble|problems|issues|difficulties|no "
            "luck) "
            "with (the|my|our) {service} [again|today|all week]",
            "(nobody|no one|none of us) (can|is able to) (use|get on|watch|reach) (the|our) "
            "{service} "
            "[here|at home|in the house|today]",
            "(the whole (street|building|village)|our house|my place|everyone here) (has no|lost|"
            "is "
            "without) {service} [since (noon|yesterday)]",
            "(when|what time) (will|is) (the|my) {service} [going to] [be] (back|fixed|working "
            "again|"
            "come back|up again)",
            "(the|my|our) {service} (won't|doesn't|does not) (turn on|load|start|come up|do "
            "anything) "
            "(any more|today|at all) [is there (an outage|a problem)]",
            "(is|are) (the|my) (engineers|people|team) (working on|aware of) (the|my) {service} "
            "(problem|outage|fault)",
            "(is|are) (the|there) (a fault|works|maintenance|repairs) (on|with) (the|my|our) "
            "{service} (line|network|connection|) [today|in my street]",
            "(is|are) you (having|experiencing) (problems|trouble|issues|an outage) with "
            "(the|my) {service}",
            "(there's|i get|i'm getting|we get|we have had|i see) (no signal|nothing|no "
            "picture|no connection|no "
            "dial tone|just noise|an error|no reception) on (the|my|our) {service} [all "
            "day|since this morning]",
            "(the|my|our) {service} (has been|'s been) (dead|down|out|gone|unusable|flaky) "
            "(since|all) (last "
            "night|morning|day|i got up|yesterday) [(what's going on|anything going on|can you "
            "look into it)]",
            "(is|are) (other people|my neighbours|others) (also )[having] (trouble|problems) "
            "with {service}",
            "(zero bars|no bars|no reception|no coverage|trouble) [again] (on|with) (my|the) "
            "{service}",
            "(is there|do you have|are there) (an outage|any outages|a problem|any issues|a "
            "fault|some "
            "trouble|known problems) (with|for|on|affecting) (the|my|our) {service} [in my "
            "area|here|at "
            "my address|today|at my place]",
            "(my|the|our) {service} (is|seems|has been|went) (down|out|dead|gone|offline|not "
            "working|off|"
            "broken|cut off|dropping) [since (this morning|yesterday|last night)|again|all "
            "day|why]",
            "(my|the|our) {service} (isn't working|doesn't work|stopped working|won't work|keeps "
            "cutting "
            "out|keeps dropping|won't connect|just died|crashed|is acting up|is on the "
            "blink|packed up|"
            "keeps going off|has conked out)",
            "(i have|i've got|we have|there's) no {service} [at all|today|right now|at home|any "
            "more]",
            "(check|can you check|could you check|please check|look up|find out) (if there's an "
            "outage "
            "on|for outages on|whether there's a problem with|the status of|for problems "
            "with|what's "
            "wrong with|on) (the|my|our) {service}",
            "(what's wrong with|what happened to|what's going on with|why is there a problem "
            "with|why is "
            "there no|any news about|when will you fix) (the|my|our) {service}",
            "i can't (use|get|connect to|access) (the|my|any) {service} [at all|today]",
            "is (the|my|your) {service} (down|out|working|broken) [in my area|at the moment|or "
            "is it me|"
            "today|for everyone]",
            "(lost|losing|i lost) {service} [(connection|completely|again|this morning)]",
            "{service} (down|outage|not working|dead|is gone|problem|trouble|issue)",
        ),
        "": (
            "(is there|are there|do you know of|check for|can you check for) (an outage|any "
            "outages|a "
            "known fault|outages|problems) [in my area|right now|near me|on my street]",
            "(something|it|everything|the service|the line) (is down|isn't working|doesn't "
            "work|is broken|"
            "stopped working|is out|is not working [again])",
            "(i have|there's) (an outage|a problem|a fault|an issue) [here|with my service|at "
            "home]",
            "(nothing works|my service is out|no signal|i have no service|no service|service is "
            "down)",
            "(when will|has) the (outage|fault) (be fixed|been fixed|end)",
            "(seems like|looks like|i think|i believe|it seems|apparently) (something|a thing|"
            "everything|some service) [of yours] (is broken|is down|went wrong|doesn't work|isn't "
            "right|has failed) [at my (house|place|flat)|here|again|today]",
            "(one of your|your|some of my|one of my) (services|things|lines) (is|are) (down|broken|"
            "not working|dead|playing up)",
            "(it's|it is|it has) (down|broken|dead|died|stopped working|out) (again|here|at my "
            "place)",
        ),
    },
    questions={
        "service": (
            "(Sorry to hear that|I'll check that|Sure, I can check). Which service is it: "
            "internet, TV, "
            "mobile or phone?",
            "(Okay, which|Which) service: internet, TV, mobile or phone?",
        )
    },
    finish=_read_outage,
    more={
        "service": "(and|what about|how about|and what about|check) (the|my) {service} [too|as "
        "well|then]"
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
            *RESTART,
            "(my|the|our) {device} (froze|crashed|hung|died|locked up) (halfway through (the film|"
            "a "
            "show|the match)|again|a minute ago|overnight|while i was working)[,] [so|please|can "
            "you] "
            "(reset|restart|reboot) it",
            "(my|the|our) {device} [lights] (are all red|is all red|lights are blinking|shows a "
            "red "
            "light|lights are off|keeps flashing|is doing nothing)[,] [please|can you|could you|"
            "so|] (power it off and on|restart it|give it a reboot|reboot it|reset it) [from your "
            "end]",
            "(give|could you give|please give|can you give) (the|my|our) {device} a (quick|little|"
            "proper|remote|) (reboot|restart|kick|reset|nudge)",
            "(i think|maybe|perhaps|i guess) (the|my|our) {device} (needs a|wants a|could do with "
            "a|"
            "should get a) (restart|reboot|reset|kick)",
            "(switch|turn|power|shut) (the|my|our) {device} off and (on|back on) [again] [for me|"
            "remotely|from there]",
            "(try|start with|how about|let's try) (restarting|rebooting|resetting) (the|my|our) "
            "{device}",
            "(my|the) {device} (froze|crashed|shows red lights|is blinking|went crazy|hung up|is "
            "making trouble)"
            "[,] (so reset it|so restart it|please reboot it|power it off and on|can you restart "
            "it|give it a kick)",
            "(would you mind|do you mind|how about) (restarting|rebooting|resetting|giving a "
            "restart to) (the|my) "
            "{device}",
            "(restart|reboot|reset|power cycle|re start) (the|my|our) {device} [for "
            "me|remotely|again]",
            "(can|could|would|will) you [please] (restart|reboot|reset|turn off and on|switch "
            "off and on|"
            "power cycle|kick) (the|my|our) {device} [for me|remotely|from your side|again]",
            "(i want to|i'd like to|i need to|let's|we need to|please|i need you to|go ahead "
            "and|try to) "
            "(restart|reboot|reset|have you restart) (the|my|our) {device}",
            "(my|the) {device} (needs|could use|wants) (a restart|a "
            "reboot|restarting|rebooting|to be "
            "restarted|to be reset)",
            "(my|the) {device} (is frozen|hangs|is stuck|is hanging|has frozen|is acting "
            "up|won't respond|"
            "is not responding|keeps blinking) [(please|can you) restart it|can you reboot it]",
            "turn (my|the) {device} off and [back] on again",
            "{device} (restart|reboot|reset)",
            "(give|do) (the|my) {device} a (restart|reboot|reset)",
        ),
        "": (
            "(restart|reboot|reset) (it|that|everything|my stuff) [again]",
            "(can you|could you|please|i want to|i need to) (restart|reboot|reset) "
            "(it|something|a device|"
            "my device|one of my devices|the box|the equipment)",
            "(i need|do|can you do) a (restart|reboot|reset)",
            "turn it off and on again",
            "(one of (your|my|the) (boxes|devices|things|machines)|some device|a box|something) "
            "(needs|"
            "could use|wants|should get) a (restart|reboot|reset)",
            "(reboot|restart|reset) (one of (the|my) (boxes|devices)|my hardware|the thing in the "
            "hallway|whatever is broken|the kit) [please]",
        ),
    },
    questions={
        "device": (
            "(Sure, which|Okay, which|Which) device (should I restart|shall I restart|is it): "
            "the modem, "
            "the router or the TV box?",
        )
    },
    finish=_read_restart,
    more={"device": "(and|also|now|and also) [restart] (the|my) {device} [too|as well|please]"},
)


def outage(scene: Scene) -> None:
    """Play a report of, or a question about, an outage."""
    if scene.chance(0.65):
        fill(scene, _OUTAGE)
        return
    service = scene.rng.choice(tuple(SYMPTOMS))
    scene.hears(joined("{trouble}"), trouble=scene.phrase(SYMPTOMS[service]))
    scene.calls("check_outage", service=service)
    if scene.chance(0.05):
        fails(scene)
        return
    _read_outage(scene, {"service": service})


def restart(scene: Scene) -> None:
    """Play a restart of a device."""
    fill(scene, _RESTART)


def speed_test(scene: Scene) -> None:
    """Play a complaint about speed, or a wish for a test."""
    scene.hears(
        joined("{wish}"),
        wish=scene.phrase(
            (
                *SPEED,
                "(can you see|could you check|tell me|i wonder|show me) how (fast|quick|slow) (my|"
                "our|"
                "the) (line|internet|connection|broadband|wifi) (really is|is|is running|is right "
                "now|actually is)",
                "(pages|videos|sites|emails|films|games) (load|are loading|open|stream) like (it's "
                "(1999|the nineties)|treacle|a snail) [can you (check|measure|test) (it|the speed|"
                "my "
                "line)]",
                "(this|the|my) (internet|connection|wifi|broadband) (crawls|is crawling|is like "
                "treacle|is a joke for speed|is super slow|takes ages|has slowed down|is slower "
                "than "
                "ever) [measure it|test it|check it|please]",
                "(what (speed|bandwidth)|how many (megabits|megs|mbits)) (am i|are we) (getting|"
                "pulling|on) [right now|here|at the moment]",
                "(i|we) (should be getting|was promised|pay for) (fifty|500|a gigabit|a hundred|"
                "250) "
                "[megabits|megs][,] (am i (actually|really|) getting (that|it)|measure it|test it|"
                "do "
                "i get it)",
                "(test|measure|check|clock) (it|the line|our speed|my download|how fast we are)",
                "(zoom|netflix|youtube|gaming|streaming|my video call) (keeps freezing|is choppy|"
                "lags "
                "(badly|like hell)|stutters|buffers all the time|is unusable)",
                "(run|do|start|perform|make) a speed test [on my line|on my internet|for me]",
                "(can|could) you [please] (run|do|check|test|measure|look at) (a speed test|my "
                "internet "
                "speed|my speed|the speed of my (line|connection|internet)|how fast my "
                "(internet|wifi|"
                "connection|line) is)",
                "(my|the|our) (internet|wifi|connection|broadband|line|web) (is|seems|feels|has "
                "been) "
                "[really|very|so|super|a bit|too|painfully] (slow|sluggish|crawling|laggy|slower "
                "than "
                "usual|not fast enough|at a snail's pace) [today|lately|these days|tonight|again]",
                "(why is|how come) (my|the) (internet|wifi|connection|download) [so|is so] slow "
                "[today]",
                "(how fast|how quick) is my (internet|connection|line|broadband|wifi) [right "
                "now|really]",
                "(what's|what is|tell me|check) my "
                "(internet|connection|download|upload|current|line) "
                "speed [right now]",
                "(everything|videos|youtube|downloads|web pages|netflix|my video calls) (keep "
                "buffering|"
                "loads (so |really |)slowly|keeps lagging|take forever|lag a lot)",
                "(speed test|test my (speed|line|connection)|test the (line|connection|internet "
                "speed)|"
                "slow internet|measure my speed|check the speed)",
                "(measure|check|find out|see) (how fast|what speed|whether) (my line|my "
                "internet|my connection|it) "
                "(is|really is|i'm getting|delivers what i pay for)",
                "(pages|websites|downloads|games) (are|is) (loading|running) "
                "(so|very|really|terribly|) (slow|slowly)"
                " [today] [can you (check|see how fast my line is)]",
                "i (pay|'m paying) for (a hundred|500|200|a gigabit|1000|fifty) [megabits|mega] "
                "[and it's slow|am i "
                "getting (it|that)|but it feels slow]",
                "(am i getting|do i get) the (speed|megabits|bandwidth) i('m| am| ) (paying|pay) "
                "for",
                "i want to (know|check|test|see) (my speed|how fast my (internet|line) is)",
            )
        ),
    )
    scene.calls("run_speed_test")
    if scene.chance(0.05):
        fails(scene)
        return
    down = scene.rng.randrange(1, 1000)
    up = scene.rng.randrange(1, 300)
    scene.gets(down_mbps=down, up_mbps=up)
    scene.says(
        (
            "(Done|Okay|All done), (you're getting|I measured|your line has) {down} megabits "
            "down and {up} "
            "up.",
            "Your speed is {down} megabits down and {up} up.",
        ),
        down=str(down),
        up=str(up),
    )
