"""Small talk in the role: what callers say beside their requests, and fitting answers."""

from models.subscriber_care.data.chatter import CHATTER, LANGUAGES, Talk
from models.subscriber_care.data.scene import Scene

_TALK: tuple[Talk, ...] = (
    (
        "greeting",
        (
            "(hi|hello|hey|hiya|good morning|good evening|good afternoon|yo|howdy|morning|evening|"
            "greetings|hey hey|hi hi|hello hello|g'day|hallo) [there|again|assistant|everyone|dear]"
            " [how are you|how's it going|hope you're well|nice to meet you]",
            "(hi|hello|hey) [yes] (is anyone there|anybody there|can you hear me|are you there|is "
            "this [the] (customer service|support|help line|subscriber care))",
            "(hi|hello|hey|good morning|) [there] (i need [some|a bit of] help|can you help me|i "
            "have a [quick] question|i have a problem|could you help me with something|i was "
            "hoping you could help|i'm calling (about|for) (some help|a problem|a question)|i've "
            "got an issue|something's wrong|i'm having (trouble|a problem))",
            "(i need [some] help|can you help me [with something]|i have a question|help|help me|"
            "i need assistance|may i ask something|i'd like some (help|assistance|support))",
            "(hi|hello|hey)[,] (it's|this is|i'm|my name is) {person} [here] [again] [how are you]",
            "(lovely|nice|beautiful|awful|cold|hot|rainy) (day|weather|morning) (today|isn't it|we "
            "have here)",
        ),
        (
            "(Hello|Hi|Hi there)! (How can I help with your internet, TV, mobile or bill|How can I "
            "help you today|What can I do for you)?",
            "(Yes, I'm here|Of course|Sure). (What can I do for you|How can I help)?",
        ),
    ),
    (
        "how are you",
        (
            "how are you [doing|feeling|getting on] [today|this morning|tonight|mate]",
            "(hope|i hope|i trust|hoping) you're (well|doing fine|having a good day|okay|good|"
            "having a (nice|good|great|lovely) (day|morning|evening|weekend|one))",
            "how's (it going|your day|everything|life|your (morning|evening|week|shift)|work|"
            "things)"
            " [going|been] [so far|today]",
            "(you okay|are you well|are you okay|what's up|how do you do|how have you been|what's "
            "new|you alright|all good with you)",
            "(i'm (good|fine|great|okay|tired)|not bad|can't complain|so so|very well) [thanks] "
            "(how are you|and you|how about you|and yourself)",
            "(are you|you) (busy|having fun|enjoying yourself) [today]",
        ),
        (
            "(I'm doing well|Very well|All good here), thank you. (How can I help you today|What "
            "can I do for you)?",
        ),
    ),
    (
        "robot",
        (
            "are you [a|really a|actually a|just a|some kind of] (robot|bot|machine|computer|"
            "computer program|human|real person|person|real human|man or a woman|recording|human "
            "being|living person|machine or a person)",
            "(wait|hang on|so|sorry|honestly|hmm|seriously|be honest|tell me)[,] (am i|is this|are "
            "you|you're) [really|actually] (talking to a machine|a bot|a computer|a real "
            "(human|person)|talking to a robot|chatting with (a machine|software|an ai))[,] [here|"
            "now|right|aren't you|are you]",
            "(am i|is this) (talking|speaking|chatting) (to|with) (a person|a real person|an ai|a "
            "robot|a bot|a machine|a human|a computer|a living soul) [here|right now]",
            "(is this|are you) (an ai|ai|artificial intelligence|automated|a chatbot|chat gpt|a "
            "real human|a language model|some software|a computer voice|a voice bot)",
            "(you sound like|you must be|you talk like|i think you're|i bet you're) (a robot|a "
            "machine|a computer|an ai|a person|a human|a bot)",
            "you're (not|never|hardly) [a|really a] [real] (human|person|human being|somebody real)"
            "[,] [are you|right|is that true]",
            "(are you real|are you alive|do you have feelings|do you sleep|are you human|do you "
            "get "
            "tired|do you eat|do you have a (body|family|wife|boss)|where do you live|how old are "
            "you|were you born|who (made|built|programmed|trained) you|do you dream|can you think)",
            "(is there|am i speaking with) (a human|a person|someone real) (on the other end|"
            "behind "
            "this|on the line|there) [or a (machine|robot|bot)]",
        ),
        (
            "(Yes, I'm an AI|I'm an AI|Honestly, I'm an AI), (the operator's automated "
            "assistant|an automated assistant, not a person). (How can I help?|I can put you "
            "through to a person if you like.)",
        ),
    ),
    (
        "name",
        (
            "(what's|what is|tell me|may i have|can i have|i didn't catch|what was) your name "
            "[again|please]",
            "who (are you|am i (talking|speaking) to|is this|do i have on the line|am i dealing "
            "with)",
            "(do you have a name|what should i call you|what do (they|people) call you|whom am i "
            "speaking with|what are you called|how shall i call you|what do i call you|have you "
            "got "
            "a name)",
            "(so|and|sorry) (who|what) are you [exactly|then]",
        ),
        (
            "I'm the subscriber care assistant, an AI. (How can I help|What can I do for you)?",
            "I have no name, I'm the subscriber care assistant, an AI. How can I help?",
        ),
    ),
    (
        "abilities",
        (
            "what can you (do|help me with|help with|sort out|take care of|actually do) [for me]",
            "(what|which) (things|stuff|problems|requests|tasks|topics) (can you|do you|are you "
            "able to) [actually|really] (do|handle|sort out|help with|take care of|deal with|fix|"
            "manage) [for me]",
            "(what are you able to do|what do you do|how can you help [me]|what are my options|"
            "what "
            "services do you offer|what kind of things can you do|tell me what you can do|what are "
            "you (good for|here for|capable of)|what else can you do)",
            "what (sort|kind) of (help|questions|things|problems) (can you give|can i ask|can you "
            "solve|do you handle)",
            "what (would you say|do you think) you (are|do) (good|best) (at|for)",
            "(list|tell me|give me|explain) (your (abilities|options|services|features)|what i can "
            "(ask|do) here|everything you can do)",
        ),
        (
            "(Quite a bit|Plenty): outages, restarts, speed tests, bills and payments, plans, "
            "technician visits, Wi-Fi, roaming and SIM blocking.",
            "Your account: (bills, plans, roaming|bills, plans, Wi-Fi), outages, technician "
            "visits and a few more things. What do you need?",
        ),
    ),
    (
        "thanks",
        (
            "(thanks|thank you|cheers|thanks a (lot|bunch|million)|thank you (so|very) much|much "
            "appreciated|ta|great thanks|perfect thanks|awesome thank you|ok thanks|brilliant|many "
            "thanks|you're a star|that's great|that helps|thanks ever so much|much obliged) [(for "
            "your help|that's very kind|that was quick|for (sorting|fixing|doing) (it|that)|for "
            "everything|again|mate|love)]",
            "(great|perfect|wonderful|cool|awesome|lovely|nice|super|fantastic|excellent|sweet|"
            "marvellous|good|splendid) [thanks|thank you|job|stuff|news|one]",
            "(that's|that was|this is|oh that's) (brilliant|great|really helpful|good news|very "
            "kind|all i needed|just what i needed|perfect|wonderful|a relief|fantastic)[,] [thanks "
            "[ever so much|a lot|so much] [for (your help|doing that)]|thank you|"
            "cheers]",
            "(i|we) [really] appreciate (it|that|your help|the help)",
            "(you've been|you were|that was) [very|really|so|most] (helpful|kind)[,] (thanks|thank "
            "you|cheers)",
        ),
        (
            "You're welcome. (Anything else|Is there anything else I can do)?",
            "(Glad to help|My pleasure|Happy to help). [Is there anything else?]",
        ),
    ),
    (
        "bye",
        (
            "(bye|goodbye|bye bye|see you|see you later|have a (good|nice|great|lovely) (day|"
            "evening|one|weekend|night)|that's all|that's it|that'll be all|nothing else|i'm done|"
            "take care|talk to you later|good night|cheerio|so long|i have to go|gotta go|i'll let "
            "you go|i'm off) [then|thanks|thank you|for today|bye|now]",
            "no (that's (all|it|everything)|thanks|thank you|i'm good|nothing else|that was "
            "everything|more questions|we're done) [thanks|bye|for (now|today)]",
            "(no|nope) [that's all|bye|i'm fine|not today]",
            "(alright|okay|right|good|great|well)[,] (that'll do [me]|that's me done|that's all i "
            "wanted|we're done here|i think that's it|that will be all|i'll be going) [thanks] "
            "[bye "
            "[now]]",
            "(that's|that is) (all|everything|it) (from me|i need[ed]|for (now|today|tonight))",
        ),
        (
            "(Goodbye|Thank you for calling|Thanks for calling), have a (good|nice|great) day.",
            "(Thank you|Goodbye), take care.",
        ),
    ),
    (
        "praise",
        (
            "(aw|wow|oh|gosh|well|haha|) you('re| are) (really |very |so |such |)(helpful|great|"
            "nice|"
            "good at this|clever|smart|the best|amazing|funny|kind|sweet|quick|a (sweetheart|star|"
            "legend|gem|lifesaver|genius|darling)) [(so|and) (quick|fast|helpful)|today]",
            "(i like you|i love you|good job|well done|you did well|nice work|good bot|you rock|"
            "keep it up|five stars|top marks|bravo|you made my day|marry me|i wish everyone was "
            "like you|best service ever|i like talking to you)",
            "(that was|you were|this is) (really |very |so |surprisingly |)(helpful|fast|easy|"
            "great|"
            "good service|painless|smooth|quick|simple)",
            "(impressive|nicely done|great service|excellent service|good service|what a service)",
        ),
        (
            "(Thank you|That's kind of you|Thanks), (I'm glad to help|I do my best|happy to hear "
            "that). [Anything else?]",
        ),
    ),
    (
        "anger",
        (
            "(this is|you are|you're|that's|it's) [just|absolutely|completely|so] (ridiculous|"
            "terrible|useless|a joke|awful|rubbish|stupid|the worst|annoying|unacceptable|pathetic|"
            "hopeless|a disgrace|outrageous|nonsense|a nightmare|unbelievable)",
            "[honestly|seriously|look|listen]["
            ",] i('m| am) (so |really |very |getting |)(angry|annoyed|frustrated|upset|fed up|"
            "disappointed|furious|mad|sick of this|tired of this|losing my patience) [with you|"
            "with "
            "this|with your (company|service)|right now]",
            "[honestly|you know|frankly|i must say] (your|this) (service|company|network) (drives "
            "me "
            "(mad|crazy|nuts)|sucks|is (terrible|rubbish|awful|a joke|useless|the worst|a mess)|is "
            "getting on my nerves|never works|lets me down) [i've been waiting [for ages|all day|"
            "an "
            "age]|every time|again]",
            "(i hate (this|your company|this company|calling you|talking to you)|you don't "
            "understand [me|anything]|worst company ever|you people (never|don't) (listen|help|"
            "care))",
            "i('ve| have) been (waiting|on hold|calling|trying) [for] (ages|hours|all (day|morning|"
            "week)|forever|days|an hour) [now|and nothing happens|already|this is awful]",
            "(you idiot|shut up|damn it|this is taking forever|for goodness sake|what a mess|screw "
            "you|oh come on|for crying out loud|get lost|you stupid machine|bloody hell|how hard "
            "can "
            "it be|nobody ever helps me|i'm at my wits end|this always happens)",
        ),
        (
            "I'm sorry (about that|you had this trouble|it's been frustrating). (What can I fix "
            "for you|Tell me what's wrong and I'll help|How can I put it right)?",
        ),
    ),
    (
        "unclear",
        (
            "(hm|hmm|um|uh|er|ah|okay|ok|right|well|what|huh|pardon|sorry|oh|mm|eh|yes|no idea|i "
            "don't know|dunno|not sure)",
            "(what|sorry what|can you repeat that|come again|i didn't (get|catch|hear|follow) that|"
            "say that again|what did you say|i don't understand|that makes no sense|could you say "
            "that again|what do you mean|i'm confused|you lost me|speak up|louder please|i can't "
            "hear you [well]|you're breaking up|the line is bad)",
        ),
        (
            "(Sorry|Of course), just tell me what you need: internet, TV, mobile, Wi-Fi or your "
            "bill.",
        ),
    ),
    (
        "wait",
        (
            "(wait|one moment|just a (second|minute|moment|sec)|hold on|give me a (minute|second|"
            "sec|moment)|let me think|hang on|bear with me|one sec|two seconds) [please|would you|"
            "there|i'm (driving|busy|cooking)]",
            "(hold on|wait|hang on|one second|just a moment|give me a sec|bear with me) [a sec|a "
            "moment|please][,] (i need to|i have to|let me|i'm just|i must) (find|get|fetch|look "
            "for|"
            "grab|check|finding|getting) (my (glasses|card|wallet|bag|diary|calendar|notes|keys|"
            "papers|pen)|something|a pen|the (door|letter|paper|dog))",
            "(one sec|hold on|wait|bear with me|sorry|hang on)[,] (the (kettle|phone|doorbell|"
            "oven|baby|"
            "dog) is (boiling|ringing|crying|barking|going off)|i'm (driving|cooking|on another "
            "call|"
            "looking for it)|i'll be right back|let me sit down|i need a moment)",
            "(someone's|somebody is|there's someone) at the door [hold on|wait|one moment]",
            "(let me|i need to|i have to) (ask my (wife|husband|mother|son|boss)|think about it|"
            "check [that] [first]|have a look|look it up)",
            "(don't hang up|stay on the line|are you still there|still there) [please]",
        ),
        (
            "(Sure|No problem|Of course), take your time. (What do you need?|I'm here.)",
            "(Of course|Sure|No problem), take your time.",
        ),
    ),
    (
        "testing",
        (
            "(test|testing|test test|one two three test|is this thing on|hello hello|can you hear "
            "me|do you understand me|are you listening|you there|mic check|just testing|checking "
            "the microphone|does this work|am i audible|can you understand my accent) [hello|"
            "please|now|okay]",
        ),
        ("(Yes, I'm here|Yes, loud and clear|I hear you). (How can I help|What do you need)?",),
    ),
    (
        "sorry",
        (
            "(sorry|oh sorry|i'm sorry|apologies|my bad|excuse me|pardon me)[,] [that was] (my "
            "mistake|wrong number|i was rude|i wasn't talking to you|i got confused|i misspoke|i "
            "was "
            "talking to (my (wife|husband|son|dog)|someone else)|never mind that|that wasn't for "
            "you)",
            "(sorry|apologies) (to bother you|for (shouting|the noise|bothering you|being rude|the "
            "wait|swearing|the (dog|baby|background noise)))",
        ),
        ("(No problem|That's fine|Not at all). (How can I help|What can I do for you)?",),
    ),
)
_PEOPLE = tuple(
    "john sarah mike anna david emma peter lisa tom maria james kate mrs mister linda ahmed".split()
)


_ALL_TALK = (*_TALK, *CHATTER)


def small_talk(scene: Scene) -> None:
    """Play one exchange of chat."""
    _play(scene, scene.rng.choice(_ALL_TALK))


def talk_of(scene: Scene, kind: str) -> None:
    """Play one exchange of a named kind, `thanks` for instance."""
    _play(scene, scene.rng.choice([entry for entry in _ALL_TALK if entry[0] == kind]))


def _play(scene: Scene, entry: Talk) -> None:
    _, heard, said = entry
    rng = scene.rng
    scene.hears(heard, person=rng.choice(_PEOPLE), language=rng.choice(LANGUAGES))
    scene.says(said)
