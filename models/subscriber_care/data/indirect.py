"""Requests as people put them who tell their trouble, and leave the wish to be guessed.

By intent; what names a slot in `{}` is filled by the module that plays the intent.
"""

SYMPTOMS = {
    "internet": (
        "(i|we|my wife|the whole family|nobody here) (can't|cannot|can no longer|are unable to) "
        "(get online|get on the web|open any (website|page|site)|browse|send [any] emails|join "
        "my meeting|work from home) [any more|today|since (breakfast|last night|the storm)]",
        "(it|my (laptop|computer|tablet|screen|browser)) (says|tells me|claims) (no internet "
        "[access]|you are offline|not connected|no connection|the (server|page) can't be found)",
        "(the|my) (internet|broadband|wifi|net|connection) (is not coming|goes on and off|keeps "
        "coming and going|drops every (few minutes|now and then)|cuts out (constantly|at night)|"
        "has packed in|has gone off|won't come back|is behaving funny|went down)",
        "(netflix|youtube|zoom|my email|google|online banking|the smart speaker|teams|facebook) "
        "(won't (load|open|connect|come up)|can't connect|is stuck on the loading circle|just "
        "spins) [and (the (laptop|tablet|phone) (says|shows) no internet|nothing else loads "
        "either)][,] (is (there|it) (a fault|an outage|down|you)|is your network okay|what's up)",
        "(is|are) (your|the) (network|servers|systems|internet|engineers|people) (down|having "
        "trouble|okay|up|being repaired|doing maintenance) [around here|in my area|today]",
        "(no|zero) (internet|broadband|connection|wifi signal) [at all] [in our (street|village|"
        "building)] [since (i (woke|got) up|noon|yesterday|the weekend)]",
    ),
    "tv": (
        "(all|every one of|most of|half) [of] (the|my|our) channels (are|have) (gone|missing|black|"
        "scrambled|frozen|blank|off air)",
        "(every|each) channel (says|shows|is|has) (no signal|black|snow|just noise|an error)",
        "(the|my) (picture|screen|image) (on the (tv|telly|television)|) (is|goes|keeps|went) "
        "(black|blank|freezing|breaking up|pixelated|jumping|all squares)",
        "(we|i) (can't|cannot|couldn't) (watch|see|get) (anything|the (match|news|football)|any "
        "(channels|programmes)|tv) [on the telly] [tonight|today|any more][,] [is it your end|is "
        "there a fault|what's wrong]",
        "(there's|we have|i get|i've got) no (picture|channels|sound on any channel|tv signal|"
        "reception on the telly)",
        "(the|our) (telly|television|tv) (is on the fritz|is playing up|is on the blink|has gone "
        "(blank|funny|off)|shows nothing but snow|is dead|says no signal)",
    ),
    "mobile": (
        "(my|the) (mobile|cell phone|cell|smartphone|iphone) (says|shows|has) (no (service|"
        "network|signal|bars)|emergency calls only|zero bars|searching)",
        "(no|zero) (bars|coverage|reception|signal|network) [at all] (on|for) my (cell|cell "
        "phone|mobile|handset|iphone) [in (town|the house|our village)|since (noon|the storm)]",
        "(i|we) (can't|cannot) (make or get calls|text|ring anyone|get a signal|call out|send "
        "texts) (on|from|with) my (mobile|cell|cell phone|handset|iphone)",
        "(is|are) (a|the|one of your) (mast|masts|phone mast|cell tower|antenna|mobile network|"
        "tower) (down|out|broken|being repaired) [near me|round here|in town]",
        "(calls|my calls) on (my|the) (mobile|cell) (keep|are) (dropping|cutting out|breaking up)",
    ),
    "phone": (
        "(there's|i get|we have|i've got) no (dial tone|dialling tone|ring tone|tone) [on (the|my) "
        "(landline|phone|house phone)] [when i (pick up|lift the receiver)]",
        "(nobody|no one|my mother|my daughter) can (ring|reach|call|phone|get) (me|us) on (the|my|"
        "our) (landline|house phone|home phone|home number|fixed line)",
        "(the|my|our) (landline|house phone|home phone|fixed line) (is|has gone|just) (dead|silent|"
        "crackling|only crackles|hisses|totally quiet|gone quiet)",
        "(i|we) (can't|cannot) (ring|call|phone) (out|anyone|anybody) (from|on) (the|our) "
        "(landline|house phone|home phone)",
        "(when|whenever) i pick up the (house phone|landline|receiver) (there's|i hear) (nothing|"
        "silence|just crackling|no tone)",
    ),
}
"""Troubles by the service that has them, with its name or without."""
OUTAGE = (
    "(the|my|our) {service} (is|has been|was) (no good|hopeless|patchy|all over the place|dodgy|up "
    "and down|hit and miss) [lately|today|all (day|week)][,] [any (known|reported)] (faults|"
    "problems|outages) [reported|in the area]",
    "(is|was) there (anything|something) (wrong|going on|the matter|up|amiss) (with|on) (the|your|"
    "our|my) {service} [network|side|at the moment|round (here|our way)]",
    "(just|only) (checking|wondering|calling to ask) (if|whether) (the|your) {service} is (down|"
    "having (problems|a bad day)|out) [for (others|everyone)] [too|as well]",
    "(what's|what is) (the matter|wrong|up|happening|the story|the issue) with (the|my|our|your) "
    "{service} [then|today|this time]",
    "(the|our|my) {service} (again|once more|is gone again)[,] (what is it this time|how long will "
    "it be|is it just us)",
    "(kindly|please do|please) (check|look into|see about) (the|my) {service} [as] (it is|it's) "
    "(not (working|coming|there)|down|dead) [since (morning|last night)]",
)
RESTART = (
    "(the|my|our) {device} (has|is) (gone|being|acting|playing) (sluggish|silly|strange|up|funny|"
    "odd|mad|weird)[,] (kick it|bounce it|give it a kick|restart it|reboot it|reset it) [for me|"
    "would you|please]",
    "(the|my) (light|lamp|led) on (the|my) {device} is (orange|red|off|flashing|blinking)[,] "
    "(reset|restart|reboot|bounce) it [please|for me]",
    "(can|could|would) (you|someone) (bounce|kick|reset|reboot|restart|cycle) (the|my|our) "
    "{device} (from (there|your side|where you are|your end)|remotely|over the line)",
    "(i can't reach|i'm not at home to do|i don't want to crawl to) (the plug|it|the socket)[,] "
    "[so|can you] (restart|reboot|turn off and on) (the|my) {device} [for me]",
    "(kindly|please do the needful and|be so good as to|please) (restart|reset|reboot|refresh) "
    "(the|my|our) {device}",
    "(i'd|i would) (like|love|want) (the|my|our) {device} (turned off and [back] on|restarted|"
    "rebooted|reset|switched off and on) [again] [but i can't reach (it|the plug)]",
    "(did|have) you tried turning (the|my) {device} off and on (it's|it is) my turn to ask you",
    "(stuck|frozen|hanging|no response) [again] (the|my|our) {device}[,] (reboot|restart) [it] "
    "[please]",
    "(a|one) (restart|reboot|reset) (of|for) (the|my|our) {device} [please|would help]",
)
SPEED = (
    "(my|the|our) (uploads|downloads|games|streams|backups|calls|updates|films) (are|is|take|have "
    "been) (crawling|dead slow|forever|ages|all night|stuttering|choppy|slow) [today|lately|now]",
    "(what|how much|how many (megs|megabits)) am i (really|actually|in fact) (getting|pulling "
    "down|receiving) [here|on this line|at the minute|right now]",
    "(i'm (sure|certain|convinced)|i don't think|i bet|i doubt) (i'm not getting|i'm getting|we "
    "get|i get) (the|what|the full) (speed|bandwidth|megabits) (i|we) (signed up|pay|was sold|was "
    "promised) [for][,] [check it|measure it|can you test it]",
    "(everything|the whole thing|it all) (buffers|lags|is (so |really |)(slow|laggy)|takes ages to "
    "load|stutters|crawls)[,] [how (slow|fast) is (it|my line)|test it|what's my speed]",
    "(can|could|shall) we (do|run|try) (one of those|a|one of these|another) (tests|test|speed "
    "checks|speed tests|line tests) [that show[s] (how fast i am|the megabits|my speed)]",
    "(how's|how is) (the|my) (line|connection|bandwidth|broadband) (doing|performing|holding up|"
    "speed wise) [today|right now]",
    "(kindly|please) (check|measure|test|confirm) (my|the) (speed|bandwidth|line speed|internet "
    "speed) [it is (very|too) (less|slow|low)]",
    "(is|are) (this|these) (the|all the) (speed|megabits|bandwidth) i (pay|'m paying) for",
    "(my video|the picture|the game|the film|my meeting) (keeps (freezing|buffering|lagging)|is "
    "(jerky|choppy|lagging)) (because|as|since) (the|my) (internet|wifi|line) is (slow|weak|bad)",
    "(the|my) (wifi|internet|broadband|net) (is|feels|got) (slow as (anything|a snail|treacle)|"
    "pretty slow|half (as fast|the speed)|slower (by the day|every evening))",
)
CURRENT_BILL = (
    "(i('ve|) (lost track of|forgot|don't remember|no longer know|wonder|need to know)) what i "
    "(owe|have to pay|must pay|need to pay) [you|this month]",
    "(what's|what will|what is) my bill (going to be|look like|come to|like|at) [this (month|"
    "time)|before payday]",
    "(has|is) my (latest|new|newest|next) (invoice|bill|statement) (been issued|out|ready|there|"
    "in) [yet] [how much is it|what does it say]",
    "(how much|what) (are you|will you be|are you going to be) (charging|taking|billing|asking) "
    "[from] me [for] [this month|this time]",
    "(kindly|please) (tell|share|let me know|confirm) (my|the) (bill amount|due amount|balance|"
    "outstanding|bill) [for this month]",
    "(i (haven't|have not|never) (seen|received|got)|where's) (my|this month's) bill[,] (how much "
    "is it|what is it|what do i owe)",
    "(do i|am i going to|will i) (owe|have to pay) (you |)(much|a lot|anything) [this month]",
    "(when|how soon) do (i|you) (have to|need to|want me to|want) (pay|my money|the money|settle "
    "up|my payment)",
    "(i need|i'd like) (the|a) (figure|total|amount|sum) (for|of|on) (this month's|my|the current) "
    "(bill|invoice|statement)",
    "(any|is there any|have i got any) (balance|money|amount|debt) (outstanding|open|due|left to "
    "pay) [on my account|at the moment]",
    "(bill|balance|amount due|what i owe) [please|check|enquiry|now]",
)
LAST_BILL = (
    "(for my (tax|own|expense) (records|books|claim)|just to compare|to compare)[,] [so] (what|how "
    "much) (did|was) (you charge me|my bill|i billed|last month's bill) (last month|the month "
    "before|come to)",
    "(was|wasn't) (my|the) (bill|invoice) (last month|the previous month) (higher|lower|different|"
    "cheaper)[,] [how much was it|what was it]",
    "(i want to|can i|i'd like to) (compare|look back|check)[,] (what|how much) (was|did i pay) "
    "(my bill|) [on] last month['s bill]",
    "(not this (month|bill)|not the current one)[,] (the|but the) (last|previous) (one|bill|"
    "month's)",
    "(what did|how much did) last month (cost|set) me [back]",
    "(kindly|please) (share|tell|send) (the|my) (last month|previous month|last) bill [amount]",
)
PAY_SUM = (
    "(pop|chuck|stick|bung|throw|sling|shove) {amount} (on|at|towards|against|on to|into) (there|"
    "it|the bill|my bill|my account|the balance) [for me|please|would you]",
    "(i can|i could|i'll) (stretch to|spare|manage|do|scrape together|go up to|find) {amount} "
    "(this|for this) (month|week|time) [put it on (the|my) bill]",
    "(apply|book|post|credit|register|enter) {amount} (to|against|towards|on|for) (my|this|the) "
    "(account|bill|balance|invoice)",
    "{amount} [and] (that's all|no more|that's it|that's my limit) (for now|today|this month)",
    "(i'd like|i want|let me|i need) to (get rid of|reduce|bring down|chip away|knock off|cut) "
    "{amount} (of|off) (my|the) (debt|balance|bill|total)",
    "(kindly|please) (settle|pay|deduct|debit|accept|process) {amount} [from my card] (of|towards|"
    "against|for) (my|the) (bill|balance|dues|account)",
    "(my (mum|husband|son|boss|flatmate)|somebody) (gave|lent|sent|owes) me {amount} [for the "
    "bill][,] [so] (pay that|put it on my bill|use that)",
    "(my|our) (share|part|half) is {amount}[,] (pay|put|book) (that|it) [on the bill]",
    "{amount}[,] (that should|which should|should) (cover|do|be) (it|some of it|most of it|enough)"
    "[,] (pay|put) (that|it) [in|on] [please]",
    "(my|the) (wages|pay|salary|pension|bonus) (came|just came|is) in [so] (put|pay|take|send) "
    "{amount} (on the bill|towards it|off my bill)",
    "{amount} (onto|into|to|on|for) (my|the|this) (account|balance|bill)[,] (it's for (the|my) "
    "(company|family|firm)|on behalf of (us all|the office)|don't laugh|just to test it)",
    "(a|one) payment[,] {amount} [please]",
)
PAY_ALL = (
    "(let's|i want to|i'd like to|i need to|help me) (get|have) (this|the|my) (bill|thing|debt|"
    "payment) (out of the way|over with|off my (mind|plate)|sorted|done [with])[,] [pay (it all|"
    "the whole lot|everything)]",
    "(i have|i've got|here's|got) my [credit] card (here|ready|in my hand)[,] [and] (want to|let "
    "me|i'd like to|i'll) (clear|settle|pay|square) (what's (open|due|owed)|the balance|it|my "
    "bill)",
    "(i don't like|i hate) (owing|being in debt|open bills)[,] [so] (pay|settle|clear) (it|the lot|"
    "my bill|everything)",
    "(pay|clear|settle) (my|the) (dues|arrears|hole bill|total dues|outstanding dues|tab)",
    "(kindly|please) (process|make|do|take) (the|a|my) (full|complete|whole) payment",
    "(zero|wipe) out (my|the) (balance|bill|account) with a payment",
    "(charge|bill|put) (the lot|it all|everything) (to|on) my card (and be done with it|and we're "
    "quits|please)",
)
USAGE = (
    "(how|am i) (close|near|far off) (am i |) (to|from) (using up|the end of|burning through|my "
    "limit of) (all |)my (gigabytes|data|gigs|data allowance)",
    "(my|the) (phone|mobile|handset) (keeps|is) (warning|telling|nagging|messaging) me (about|that "
    "i'm low on) data[,] [how much (have i (used|gone through)|is left)]",
    "(did|has) (my (daughter|son|wife)|youtube|netflix|the kids|tiktok) (watch|watched|use|used|"
    "eat|eaten) (it|my data|all the gigs) (all |)(away|up|already)",
    "(is|was|will) (there|my) (any|data|enough) (data|left|allowance) (left|on my plan|until "
    "payday|for the rest of the month)",
    "(can|could) i still (stream|browse|watch (videos|films)|surf|use maps) on my (phone|mobile) "
    "[this month] or (is|have i) (my data|used it all|the data) (gone|up|used up)",
    "(kindly|please) (check|share|tell) my (data balance|balance data|remaining data|data usage)",
    "(how much|what) (of the|mobile|cell|of my) (data|internet on my phone|gigs) (is|did|have) "
    "(gone|i use|i got|i (consumed|spent)|remaining) [till now|up to now|this month]",
    "(my|the) (gigs|gigabytes|data)[,] (how many|what's left|how much is left|where do i stand)",
)
PLAN = (
    "(we've|i've|we have|i have) (decided|agreed|made up our minds|made up my mind) (to go|to take|"
    "to move to|on|for) {plan}",
    "(i'm|we're|i am) (hardly|never|barely|not often) (ever |)(home|online|using it)[,] {plan} "
    "(would do|is enough for|will do|suits) (me|us) [fine] [can you (move|put) me (on|onto) (it|"
    "that)]",
    "(kindly|please) (shift|migrate|convert|activate|upgrade|change) (me|my (connection|number|"
    "account|plan)) (to|for|over to) {plan}",
    "{plan} (sounds|looks|seems) (good|right|better|about right|like the one) [for (me|us)][,] "
    "(sign me up|let's do (it|that)|i'll have (it|that)|switch me)",
    "(how about|what about|what if) (you|we) (put|moved|move|switch) (me|us) (to|on|onto) {plan}",
    "(i'd|i would) be better off (with|on) {plan}[,] (switch|move|change) (me|us) [please]",
    "(could|can|may) i (go|come|move) (up|down|over|back) to {plan} [from next month|please]",
    "{plan} (for me|it is|please|then|from now on)",
)
TECHNICIAN = (
    "(i'm|we're|i'll be) (in|home|around|off work) [all] {day}[,] {window} (is best|suits me|if "
    "possible)[,] (have|send|get) (an engineer|a technician|someone) (come by|over|round) [then]",
    "(need|want|require) (someone|somebody|an engineer|a technician) (to look at|to check|for) my "
    "(line|connection|cable|socket|box)[,] {day} {window} (is the only time i'm (around|home)|"
    "works|please)",
    "(can|could) (an engineer|a technician|one of your people|your man) make it {day} {window}[,] "
    "[the (cable|socket|line|wire) (in the wall |outside |)(looks|is) (broken|loose|damaged|cut)]",
    "(kindly|please) (arrange|schedule|depute|fix) (a technician|an engineer|a visit|a home visit) "
    "(for|on) {day} {window}",
    "(the (cable|socket|wire|wall plate) is (broken|loose|hanging out|damaged))[,] (i need|send|"
    "get me|can you send) (someone|a technician|an engineer) {day} {window}",
    "(put|pencil|book|slot) me in for (a technician|an engineer|an engineer visit) {day} {window}",
)
CANCEL_VISIT = (
    "(no|there's no) (need|point|reason) (for|in) (the|your|that) "
    "(engineer|technician|visit|repair "
    "man) (to come|coming|) [any (longer|more)|now|out] [my (nephew|son|neighbour) (fixed|sorted) "
    "(it|the problem)]",
    "(i|we) (can't|cannot|won't) (make|keep|be there for) (the|my|our) (appointment|visit|slot) "
    "(with (your|the) (technician|engineer)|on your calendar|)[,] [please] (take it off|cancel it|"
    "drop it|call it off)",
    "(please |kindly |)(take|strike|remove|wipe) (my|the|that) (technician|engineer|repair) (visit|"
    "appointment|booking|slot) (off|from) (the|your) (calendar|list|books|schedule)",
    "(tell|let) (your man|your engineer|the technician|him) (he|she|they|not) (need not|doesn't "
    "need|don't need|to) (come|bother|to come|turn up) [tomorrow|after all]",
    "(the|my) (problem|fault|trouble|thing) (sorted itself out|went away|has been fixed|is gone)"
    "[,] [so] (no (engineer|technician) needed|cancel the (visit|engineer|technician))",
    "(i'm|we're) (busy|not in|away|working|at a funeral) (that day|then|after all)[,] (cancel|call "
    "off|drop) (the|my) (engineer|technician|visit|appointment)",
)
PASSWORD = (
    "(i can never|i never|i don't|i can't) (remember|recall|know) (what to type in|the code|what "
    "to enter|the key) (to get on|for|to join|to use) (our|the|my) (wifi|wireless|network)",
    "(my|the|our) [new] (tablet|laptop|printer|phone|tv|console|ipad|kindle|doorbell) (is asking|"
    "asks|wants|is prompting) [me] for (the|a|our) (network|wifi|wireless|security) (key|code|"
    "password)[,] [can you send it [over]|what is it]",
    "(what|which) (password|code|key) do (i|we|they|my guests|visitors) (need|enter|type in|use) "
    "(for|to get on|to join) (the|my|our) (wifi|network|wireless|home network)",
    "(i (need|want|have) to|help me) (connect|join|hook up|get) (my|a|the) [new] (tablet|laptop|"
    "phone|printer|console) (to|on|onto) (the|my|our) (wifi|network)[,] [what's|but i forgot|i "
    "need] the (code|password|key)",
    "(the|our) (babysitter|grandchildren|neighbours' boy|visitors|in laws|lodger) (want|wants|need|"
    "needs|asked for) (the|our) (wifi|internet|wireless) (code|password|key|details)",
    "(kindly|please) (share|send|text|provide) (the|my) wifi (password|key|details) [on my (mobile|"
    "phone|number)]",
    "(the|my) wifi (code|key|password)[,] (i lost (it|the note|the sticker)|the sticker is gone|"
    "it's not on the (box|router))",
)
PAUSE = (
    "(it's|it is) (bedtime|dinner time|homework time|exam week|late|sunday lunch|family time)[,] "
    "[so] {who} (off|offline|without) [the] (internet|wifi|net) for {minutes}",
    "{who} (won't|don't|will not|never) (get off|stop using|put down|leave) (their|the|those) "
    "(phones|wifi|screens|tablets|internet)[,] (block|pause|stop|cut) (it|them|the wifi) for "
    "{minutes}",
    "{who} (off|offline|banned) (for|for the next) {minutes} [please|thanks]",
    "(ground|ban|lock out|disconnect|unplug|kick off) {who} (from the (wifi|internet)|) for "
    "{minutes}",
    "(kindly|please) (stop|pause|block|disable) (the |)(net|wifi|internet) for {who} [for] "
    "{minutes}",
    "(i want|i need|let's have) (peace|some quiet|no screens|a break)[,] (pause|stop|cut) {who} "
    "[on the wifi] for {minutes}",
    "(wifi|internet) (should be|has to be|must be|gets) (off|paused|blocked) for {who} for "
    "{minutes}",
)
ROAMING = (
    "(next stop|next up|we're off to|heading to|off to)[,] {country}[,] {days}[,] [and] (i'd like|"
    "i want|need|want) (to use my phone there|roaming|data there|a pass)",
    "(i'll|i will|i'm going to|my (wife|son|boss) will) be (working|staying|living|studying|"
    "filming) (from|in) {country} for {days}[,] (turn|switch) roaming on",
    "(turn|switch) (roaming on|on roaming) (for|in) {country}[,] [for] {days}",
    "(my (wife|husband|daughter|son|boss)|my line|this number) (is|will be) in {country} for "
    "{days} and (needs|will need|wants) (a pass|roaming|data)",
    "(kindly|please) (activate|enable|start|provide) (international |)roaming for {country} for "
    "{days}",
    "(how do i|can i|i want to) (go online|use maps|make calls|use my data) in {country} for "
    "{days}[,] [give me|add] [a] (pass|roaming)",
    "{days} in {country}[,] (roaming|i need roaming|add roaming|a pass) [please]",
    "(i've|we've) (booked|got) {days} in {country} [and|so] (need|want|add) (roaming|a roaming "
    "pass|a pass for my phone)",
    "(for|during) {days} (i'm|we're|i'll be) in {country}[,] [so] (add|get me|set up) (roaming|a "
    "pass)",
)
_PHONE = "(phone|mobile|cell phone|iphone|smartphone|handset)"
LOST = (
    f"(i must have|i think i|i probably|we) (dropped|left|lost|mislaid) (my|the) {_PHONE} (on the "
    f"(hike|beach|tram|ferry)|in (a shop|the woods|a cab|the taxi)|somewhere)[,] [(block|lock|bar) "
    f"(the sim|my sim|it) [before (someone|anyone) (finds|uses) it]]",
    f"(my|the) {_PHONE} (slid|fell|slipped) out of my (pocket|bag|jacket|hand) [(in (a cab|the "
    f"cinema|the lake)|on the (ferry|ski lift|way))] [and (it's gone|i can't find it)]",
    f"(i've|i have) (looked|searched) (everywhere|the whole house|all over) (for my|but my) "
    f"{_PHONE} [it's gone|is gone] [block (it|the sim)]",
)
STOLEN = (
    f"(my (handbag|bag|rucksack|coat|purse) (was|got) (snatched|stolen|nicked|taken|pinched))[,] "
    f"(with my {_PHONE} in it|and (my|the) {_PHONE} was in it)",
    f"(they|burglars|a pickpocket|a thief|someone) (broke in|ran|made off|cleared out|got away)[,] "
    f"(and took|with) my {_PHONE} [(block|bar|stop) (the sim|it)]",
    f"(a|some|this) (man|guy|lad|thief|pickpocket|kid|biker) (grabbed|pulled|ripped|nabbed) my "
    f"{_PHONE} (and ran|and rode off|out of my (hand|pocket|bag)|on the (metro|tube|bus))",
)
HUMAN = (
    "(you're|you are) not (getting|understanding|following|hearing) (this|me|it)[,] [i need|let "
    "me] "
    "[to] (speak|talk) (with|to) (an actual|a real|a proper|a human) (advisor|person|agent|one)",
    "(is there|have you got|isn't there) (somebody|anybody|a colleague|someone) (human|real|else|"
    "with a pulse) (i could|i can|to) (talk|speak) (this through with|to|with)",
    "(i'd|i would) (feel better|be happier|be more comfortable|like it better) (talking|speaking|"
    "dealing) (to|with) (a person|a human|somebody real)",
    "(kindly|please) (connect|transfer|put) (me|my call|the call) (to|through to) (your |a |an |)"
    "(executive|agent|senior|manager|customer care|support person)",
    "(hand|pass|give) me (over |on |)(to|) (someone|somebody|a colleague|one of your people) (who "
    "(can|knows)|please|real)",
    "(can|could|may) i (have|get|speak to) (the manager|your boss|your supervisor|a supervisor|the "
    "person in charge) [on the line|please]",
    "(i want|i'd like|get me) (a|an) (human|real|actual|live|living) (being|person|voice|agent) "
    "(on the (line|phone)|now|please)",
    "(i'm|i am) (done|finished|through) (with (bots|machines|computers)|talking to (you|a bot))"
    "[,] (a (person|human)|staff|a real one) [now|please]",
    "(call|fetch|bring|find) me (a|your) (human|manager|colleague|supervisor|person)",
)
