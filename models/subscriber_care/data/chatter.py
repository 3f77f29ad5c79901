"""More small talk: what callers say around their business, and fitting answers.

The kinds of `talk` in further words, and kinds that it lacks: languages, the weather, feelings.
"""

Talk = tuple[str, tuple[str, ...], tuple[str, ...]]
_HELP = "(How can I help|What can I do for you)?"
_WELCOME = (
    "You're welcome. (Anything else|Is there anything else I can do)?",
    "(Glad to help|My pleasure|Happy to help). [Is there anything else?]",
)
_FINE = (
    f"(No problem|That's fine|Not at all)[, no need to apologise]. {_HELP}",
)  # fmt: skip
_SORRY = (
    "I'm sorry (about that|you had this trouble|it's been frustrating). (What can I fix for you|"
    "Tell me what's wrong and I'll help|How can I put it right)?",
)
_AI = (
    "(Yes, I'm an AI|I'm an AI|Honestly, I'm an AI), (the operator's automated assistant|an "
    "automated assistant, not a person). (How can I help?|I can put you through to a person if you "
    "like.)",
)
_NAME = (
    f"I'm the subscriber care assistant, an AI. {_HELP}",
    "I have no name, I'm the subscriber care assistant, an AI. How can I help?",
)
CHATTER: tuple[Talk, ...] = (
    (
        "greeting",
        (
            "(oh |well |ah |)(hello|hi|hey|hiya|howdy|hey ho|evening|top of the morning|good day|"
            "namaste|hola|bonjour|aloha|ahoy) [there|to you|again|you|my (dear|friend)] "
            "[(dear|love|"
            "mate|pal|friend|sir|madam|darling|everybody)]",
            "(hello|hi|hey|halo|helo|hullo|yo)[,] (anyone|anybody|someone|is somebody) (home|there|"
            "about|around|listening|awake)",
            "(it's|it is|this is|you're speaking to) {person} [calling|speaking|again] [from (down "
            "the road|the village|number nine)]",
            "(long time no see|it's me again|me again|guess who|remember me|i'm back|back again|"
            "pleased to meet you|lovely to meet you|nice to talk to you|great to hear you)",
            "(thank you for|thanks for) (taking|answering|picking up) (my|the) (call|phone)",
            "(right|okay|so|well)[,] (here (we are|goes|i am)|where (do|shall) (we|i) "
            "(start|begin)|"
            "let's (start|get going|get started))",
        ),
        (
            "(Hello|Hi|Hi there)! (How can I help with your internet, TV, mobile or bill|How can I "
            "help you today|What can I do for you)?",
        ),
    ),
    (
        "how are you",
        (
            "(and |so |)(how's|how is|how was|how goes) (your|the) (day|morning|evening|night|week|"
            "monday|shift|life|work|family) [been|going|treating you] [so far|then|today]",
            "(what are|what have) you (up to|been up to|doing|been doing) [today|right now|all "
            "day]",
            "(are you|you) (okay|alright|good|happy|tired|bored|well|keeping well|having a nice "
            "day|"
            "in a good mood|still awake) [today|my friend|there]",
            "(did you|do you) (sleep|rest|have a) (well|good weekend|enough|at all|nice break|"
            "good holiday)",
            "(hope|trust) (all is|everything's|everything is|life is|things are) (well|good|okay|"
            "fine) (with you|over there|at your end)",
        ),
        (
            "(I'm doing well|Very well|All good here), thank you. (How can I help you today|What "
            "can I do for you)?",
        ),
    ),
    (
        "robot",
        (
            "(be straight with me|tell me the truth|don't lie|level with me|honestly now|out with "
            "it)[,] (are you|you're|is this) (a bot|real|a person|human|a machine|alive|an actual "
            "person|a computer)",
            "(you sound|you seem|your voice is|you talk) so (natural|real|human|lifelike|good|"
            "strange|mechanical)[,] (are you (sure|certain) you're not|you can't be|are you) [a] "
            "(human|person|machine|robot)",
            "(did|does|has) (somebody|someone|an actor|anyone) (record|recorded|read|speak) (your "
            "voice|this|these sentences|what you say) or (are you|is it) (generated|synthetic|made "
            "up|a computer)",
            "(there's no way|i don't believe|i can't believe|surely|no chance) you're (flesh and "
            "blood|a human|a machine|just a program|only software|real)",
            "(do you|can you) (breathe|get paid|have (a heart|friends|parents|hobbies|lunch "
            "breaks|a brain|children)|feel (pain|anything)|bleed|laugh|go home|get bored|learn|"
            "remember me)",
            "(is it|am i) (just |only |)(software|a tape|an algorithm|a program|siri|alexa) (i'm|) "
            "(talking|speaking|chatting|listening) (to|with)",
            "(are you|is that) (siri|alexa|google|chat g p t|an answering machine|a call centre|in "
            "(india|a call centre|an office)|sitting somewhere|artificial)",
            "(how|where) (are you|were you|do you) (made|built|located|based|live|work from|"
            "trained|calling from)",
            "(is|was) that a (real|human) voice [i hear]",
        ),
        _AI,
    ),
    (
        "name",
        (
            "(so |and |)who (exactly|precisely|in the world|on earth) (am i|are you|is this|have i "
            "got) [dealing with|talking to|here|on the phone]",
            "(do you have|have you got|did they give you|what's|what was) (a|your) [first] name "
            "[love|dear|mate|then|again|at all]",
            "(which|what) (company|department|firm|team) (is this|am i speaking to|are you with|"
            "have i reached|do you work for)",
            "(and |)you (would be|are|must be) (called|named|who|known as) [what] [exactly|please]",
            "(introduce yourself|tell me about yourself|say who you are|who's speaking|who's there|"
            "who goes there|identify yourself)",
            "(what|who) (should|do|may) i (call|say i spoke to|write down|put down)",
        ),
        _NAME,
    ),
    (
        "abilities",
        (
            "(what|which) (sort|kind|type) of (stuff|things|help|problems|jobs) (could|can|may|do) "
            "(i|you|we) (ask|do|bring|solve|take on) [you|for me|here]",
            "(what is it you|what exactly do you|what do you people|so what do you) (do|offer|"
            "handle) [here|all day|then]",
            "(i've never called before|first time caller|i'm new here|my son gave me this number)"
            "[,] (what (can you|is it you|do you) do|how does this work|what do i do) [here]",
            "(so |)(what|which) (tricks|talents|skills|powers|features) (have you got|do you have) "
            "[up your sleeve]",
            "(how does this work|what happens now|what is this (line|number|service) for|where do "
            "i "
            "start|what now|how do i use (this|you)|what are my choices|give me the menu|what's on "
            "offer)",
            "(are you|you're) (able to|any good at|the right one to) (do|help|fix) (much|anything|"
            "things|with what)",
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
            "(that was|that's|it was) (painless|quick|easy|simple|sorted|perfect|super|grand|"
            "spot on|smashing|champion)[,] (much obliged|thanks|ta|cheers|many thanks|thank you)",
            "(ta|cheers|thx|thnx|ty|thanx|tks|merci|gracias) [very much|a lot|alot|a "
            "bunch|love|mate|"
            "pal|for that|then]",
            "(oh |ah |okay |great |)(thanks|thank you|cheers)[,] (anyway|all the same|that's (a "
            "relief|a weight off)|just what i (wanted|hoped)|i'm grateful|i owe you one)",
            "(how kind|that's (very |so |really |)(good|nice|sweet|decent) of you|you saved my "
            "(day|"
            "life|evening)|i'm so (glad|relieved|grateful|happy))",
            "(thank|god bless|bless) (you|heaven[s]|goodness) [(for that|for (everything|the help|"
            "listening|your (time|patience|trouble)))]",
        ),
        _WELCOME,
    ),
    (
        "bye",
        (
            "(i'll|i will|let me|i'd better|i must) (ring off|hang up|leave you to it|let you "
            "go|be "
            "off|get going|go|get on|love you and leave you) [now|then|bye]",
            "(okay|right|well|alright|great) (that's|that was|that is|i think that's) (everything|"
            "all|me sorted|the lot|it) [i (needed|wanted)|from my side|for now] [(have a good one|"
            "bye|speak soon|goodbye|thanks|until next time)]",
            "(nothing|no) (else|more|further) [for (now|today|the moment)|thank you|thanks|to add]",
            "(catch you|speak to you|see you|till|until) (later|soon|next "
            "time|then|tomorrow|around)",
            "(ciao|tschuss|adios|ta ta|toodle pip|bye for now|nighty night|sleep "
            "well|farewell|over "
            "and out|cheers bye|bye now|ok bye|buh bye)",
            "(enjoy|have) (your|a|the rest of your) (lovely |nice |)(day|evening|afternoon|weekend|"
            "night|shift|holidays)",
        ),
        (
            "(Goodbye|Thank you for calling|Thanks for calling), have a (good|nice|great) day.",
            "(Thank you|Goodbye), take care.",
        ),
    ),
    (
        "praise",
        (
            "(wow|gosh|blimey|my word|oh my|well well)[,] (you (fixed|sorted|solved|did) (that|it) "
            "(in no time|fast|so quickly|like magic)|that was (quick|fast|something|amazing))[,] "
            "[you're a (legend|star|genius|wizard)]",
            "(bless you|bless your heart|i must say|honestly)[,] (you've been|you are|you were) "
            "[ever] so (patient|kind|good|helpful|clear|polite|lovely) [with me|today]",
            "(you're|you are) (better|nicer|smarter|faster|more helpful) than (the last one|my "
            "husband|most people|a human|the other (lot|company)|i (thought|expected))",
            "(my (mother|wife|son|boss) (would|will|is going to) love you|you deserve a (raise|"
            "medal|promotion|cake)|can i keep you|i'll tell (everyone|my friends) about you|i'm "
            "impressed|colour me impressed|what a clever thing you are)",
            "(i (really |)(like|love|enjoy)) (your (voice|style|manner|patience)|this (service|"
            "assistant)|how you (talk|work|handled that)|talking with you)",
        ),
        (
            "(Thank you|That's kind of you|Thanks), (I'm glad to help|I do my best|happy to hear "
            "that). [Anything else?]",
        ),
    ),
    (
        "anger",
        (
            "(i'm|i am) (sick to death|sick and tired|tired|bored|weary) of "
            "(calling|ringing|chasing|"
            "dealing with|paying) (you (people|lot)|your company|this) [every (week|month|day)]",
            "(this is|it's|that's) (the (third|second|fifth|tenth|umpteenth) time|every time the "
            "same|always the same|just typical)[,] [this (month|week|year)] [what a (shambles|joke|"
            "circus|farce|disgrace)] [of a company]",
            "(ugh|argh|oh for heaven's sake|typical|good grief|jesus|for pity's sake|great just "
            "great|brilliant that's all i need)[,] [(nothing (ever |)works|why (is|does) this "
            "(keep "
            "happening|always happen)|not again|you lot are (useless|hopeless))]",
            "(you|your people|your lot|this company) (make|makes|drive|drives) me (so angry|sick|"
            "want to scream|cry|up the wall|furious|mad)",
            "(nobody|no one|not one of you) (ever |)(calls back|rings me back|listens|cares|helps|"
            "knows anything|answers) [at your place|in your company|there]",
            "(i've|i have) (had (it|enough)|told you (three|ten|a hundred) times|wasted (a whole "
            "day|hours) on this|never been so (annoyed|angry)) [with (you|this)]",
            "(the|your) (music|waiting time|queue|hold music|service) is (terrible|unbearable|a "
            "disgrace|killing me|awful|a scandal)",
            "(what|who) (on earth |)(am i paying for|do you think you are|runs this circus|do i "
            "pay "
            "you for)",
        ),
        _SORRY,
    ),
    (
        "feelings",
        (
            "i('ve| have) had (such a|a) (long|hard|terrible|bad|rotten|rough|busy) (day|week|"
            "morning|night)",
            "(i'm|i am) (so |really |a bit |)(stressed|worried|confused|overwhelmed|exhausted|old "
            "and slow|hopeless with (computers|technology|gadgets)|not good with (this|machines)|"
            "nervous|in a hurry|in a rush|lost|stuck)",
            "(this|all of this|the technology) (confuses|is too much for|worries|scares) me",
            "(i don't know (what to do|where to turn|how to (say|put) (it|this))|it's "
            "(complicated|a "
            "long story|hard to explain)|bear with an old (man|woman|lady))",
        ),
        (
            f"(I'm sorry to hear that|No worries|Take your time), (I'm here to help|we'll sort it "
            f"out). {_HELP}",
        ),
    ),
    (
        "weather",
        (
            "(it's|it is) (raining|pouring|snowing|chucking it down|boiling|freezing|raining cats "
            "and dogs|so (hot|cold|windy|grey)|lovely and sunny|roasting|chilly|stormy) (here|over "
            "here|outside|today|again|where i am) [isn't it|you know]",
            "(what|such) (a |)(lovely|nice|beautiful|awful|dreadful|grey|gorgeous|miserable) (day|"
            "weather|morning|evening) [(isn't it|we're having|again|today)]",
            "(terrible|lovely|funny|crazy|strange) weather [we're having|isn't it|today]",
        ),
        (f"(It sounds that way|I can imagine|Oh, I hear you). {_HELP}",),
    ),
    (
        "language",
        (
            "(do|can|could|would) (you|we) (speak|talk|understand|do (this|it) in|switch to|use|"
            "continue in|chat in) {language} [please|instead|too|at all|with me]",
            "(is there|do you have|have you got) (anyone|someone|a person|an option) (who speaks|"
            "in|for) {language}",
            "(which|what|how many) languages (do you|can you|are you able to) (speak|understand|"
            "know|talk)",
            "(my english is|i'm sorry my english is|english is) (not (so |very |)good|bad|poor|not "
            "my first language|weak) [do you speak {language}|sorry]",
            "(i'd (rather|prefer)|i want to|can i) (speak|talk|do this) in {language} [please]",
            "{language} please",
        ),
        (
            "Sorry, I only (speak|understand) English. How can I help?",
            "Only English, I'm sorry. What can I do for you?",
        ),
    ),
    (
        "unclear",
        (
            "(pardon|sorry|eh|excuse me|beg your pardon|what)[,] (could|can|would) you (say|repeat|"
            "run) (that|it) (again|once more|one more time|by me again|slower) [please]",
            "(say what|what was that|how do you mean|you what|come again|i missed that|that went "
            "over my head|in english please|slow down|not so fast|too fast)",
            "(blah|la la la|bla bla|asdf|mmm|uh huh|hmm hmm|yada yada|whatever|so|and|but|the|"
            "maybe|perhaps|could be|i guess|anyway|you know|like i said)",
        ),
        (
            "(Sorry|Of course), just tell me what you need: internet, TV, mobile, Wi-Fi or your "
            "bill.",
        ),
    ),
    (
        "wait",
        (
            "(one|just a|half a|give me a|hang on a) (tick|mo|jiffy|sec|second|moment|minute)[,] "
            "[(someone's|there's somebody|the postman's|my (son|neighbour) is) (at the [front] "
            "door|here|calling me|knocking)]",
            "(give me|allow me|i need|let me have) (a|one|another|half a) "
            "(moment|minute|second)[,] "
            "[i (have to|need to|must) (fetch|find|get|grab|put on|look for) (my|the) [reading] "
            "(glasses|specs|wallet|letter|hearing aid|card|notebook|charger)]",
            "(the|my) (dog|baby|kettle|doorbell|other phone|toddler|oven|cat) (is|'s|just) "
            "(barking|"
            "crying|boiling|going|ringing|woke up|on the table|burning)[,] (hold on|one "
            "moment|bear "
            "with me|wait|just a sec)",
            "(don't go away|stay there|stay with me|wait there|hold the line|keep the line|don't "
            "move|hold your horses|i'm thinking|i'm still here|i'm looking|back in a (sec|minute))",
        ),
        ("(Sure|No problem|Of course), take your time. [I'm here.]",),
    ),
    (
        "testing",
        (
            "(hello hello|testing|test|check|mic check|sound check|one two|one two three) [one two "
            "three|one two|hello|testing|test|over|is this on|can you hear (me|this)]",
            "(can|do) you (hear|read|receive|get|understand) me (loud and clear|alright|all right|"
            "okay|now|well|properly|better now|at all|over there)",
            "(is|am) (this|i|my (voice|microphone|mic)) (working|coming through|audible|clear|loud "
            "enough|connected|on|muted)",
        ),
        ("(Yes, I'm here|Yes, loud and clear|I hear you). (How can I help|What do you need)?",),
    ),
    (
        "sorry",
        (
            "(my apologies|i apologise|i'm (so |terribly |)sorry|forgive me|sorry|so sorry|excuse "
            "me)[,] (i was (a bit |)(short|rude|harsh|unfair|grumpy|cross) (with you|) "
            "[earlier|just "
            "now]|that wasn't (meant |)for you|i didn't mean (it|to shout|that)|i (misunderstood|"
            "misheard|got it wrong|wasn't listening|was distracted))",
            "(oh|ah|oops|whoops|ouch)[,] (my (mistake|fault|bad|error)|silly me|i'm sorry|i mixed "
            "(that|it|things) up|i see|how stupid of me|wrong (button|line|number))",
            "(i was|that was) (just |)(talking|speaking|shouting|me talking) (to|at) (my (wife|"
            "husband|dog|son|cat|mum)|the (tv|dog|kids)|someone else|myself) [not you|sorry]",
        ),
        _FINE,
    ),
    (
        "banter",
        (
            "(haha|ha|lol|hehe|ha ha ha|that's funny|good one|very funny|you're funny|that made me "
            "(laugh|smile)) [good one|you are]",
            "(i'm (just |only |)(kidding|joking|messing with you|pulling your leg|teasing)|just "
            "kidding|only joking|it was a joke)",
            "(guess what|you know what|did you know|listen to this|can you keep a secret|i'll tell "
            "you something)",
            "(i (don't want|want) (anything|nothing)|i'm just (calling|here) to (chat|talk|say (hi|"
            "hello)|pass the time)|no reason|nothing really|just saying hello)",
            "(will you|do you want to|can you) (marry me|be my (friend|valentine)|go out with me|"
            "come over|have (lunch|a drink|dinner) with me)",
        ),
        (f"(Glad you called|That's nice|Good to hear). {_HELP}",),
    ),
)
LANGUAGES = tuple(
    "spanish french german italian hindi polish arabic chinese portuguese dutch turkish russian "
    "urdu tamil bengali punjabi mandarin japanese swedish greek welsh romanian".split()
)
