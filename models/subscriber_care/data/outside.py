"""Requests outside subscriber care: many domains, and near-misses that borrow its words."""

from gateway.core.countries import COUNTRIES
from models.subscriber_care.data.outside_domains import DOMAINS, MORE_NOUNS, NEAR_MISSES
from models.subscriber_care.data.outside_nouns import NOUNS
from models.subscriber_care.data.places import NOT_A_COUNTRY
from models.subscriber_care.data.scene import Scene
from models.subscriber_care.data.spoken import any_size, number

_REQUESTS = (
    "(write|compose|draft|help me (word|write|with)|make up|come up with|give me) [me] {made} "
    "[about "
    "({animal}|{subject}|{gift_for})|for {gift_for}]",
    "(tell me|do you know|give me) (a joke|a story|something|a fact|facts|a poem|a riddle) about "
    "({animal}|{person}|{field}|{subject})",
    "(why|how) do ({animal}|cats|dogs|birds|fish) (sleep|eat|fly|swim|see|live|purr|breathe|"
    "migrate)",
    "(how|what) (does|is) (a |the |)({subject}|{field}) (work|about|mean|good for|called)",
    "(explain|describe|teach me|tell me) [to me|in simple words] (how|why) (a mortgage|an engine|"
    "interest|insurance|a vaccine|the (heart|brain|economy|parliament|moon)|a battery|gravity|"
    "photosynthesis) works",
    "(how|what's the best way to|can you tell me how to) (do i |)(get|remove|clean) {stain} (out "
    "of|"
    "off) {cloth}",
    "(how long|at what temperature|how) (should|do|must|can) i (roast|boil|fry|bake|grill|steam|"
    "cook) "
    "(a chicken|potatoes|an egg|salmon|rice|a steak|broccoli|the turkey|{food}) [for]",
    "(who|when|where) (painted|wrote|built|invented|discovered|founded|composed|designed|killed|"
    "won) "
    "(the (ceiling of the sistine chapel|mona lisa|eiffel tower|telephone|light bulb|titanic|moon "
    "landing|great wall|first world war|colosseum)|america|penicillin|{media}|{person})",
    "what year (did|was) (the (berlin wall come down|war end|titanic sink|moon landing)|{person} "
    "(born|die)|{media} made|{country} founded)",
    "(who's|who is|who do you think is) [likely] (going to win|winning|the favourite for|to win) "
    "({event}|the premier league [this year]|the cup|the championship)",
    "(give me|i need|suggest|got any) [three|some|a few|five] (ideas|tips|suggestions|names) for "
    "(a (birthday |)present|a gift|a party|dinner|a speech|a trip) for {gift_for}",
    "(which|what) (laptop|camera|car|bike|washing machine|vacuum cleaner|dog breed|toothpaste|"
    "mattress|wine|book|film|museum) (is (good|best)|should i (get|buy|see)|would you recommend) "
    "for "
    "({gift_for}|video editing|beginners|long trips|{field}|a small flat)",
    "(recommend|suggest|name) [me] (a (thriller|novel|comedy|podcast|restaurant|film|series|board "
    "game|cocktail)|some music|good books) [for (the plane|tonight|{gift_for}|a rainy day)]",
    "(is it going to be|will it be) (stormy|rainy|warm|foggy|icy|windy|sunny|freezing|hot) [over "
    "the "
    "weekend|{when}|in {region}|for our picnic]",
    "(what time|when) does the (sun (set|rise)|moon rise|tide come in|shop open|bus leave|match "
    "start|"
    "film start|library close) [in {region}|{when}]",
    "(should|do) i (tell|forgive|call|trust|leave|marry|text) my (friend|ex|boss|boyfriend|sister|"
    "husband) [that (her boyfriend is cheating|i am leaving|he is wrong|i lied)|back]",
    "(my (back|knee|head|tooth|stomach|foot|shoulder|ear|eye)) (hurts|aches|is swollen|itches|is "
    "sore) "
    "[when i (sit|walk|eat|sleep)][,] [what (should i do|can i take|could it be)|is that bad]",
    "(what's|what is|how much is|calculate) (seventeen|{n}) percent of {m}",
    "(how many) (people live in {region}|feet in a mile|days until christmas|calories in {food}|"
    "legs "
    "does a spider have|planets are there|weeks in a year|litres in a gallon)",
    "(how would i|how do i|how can i|teach me to) say {phrase} in {language}",
    "(can you|please|help me) (debug|fix|review|write|test|explain) my (javascript|python|code|"
    "excel "
    "formula|spreadsheet|website|sql query|homework|thesis|php)",
    "(is|are) ({animal}|{food}|coffee|sugar|eggs) (dangerous|healthy|poisonous|good for you|"
    "expensive)",
    "(what is|what's|define|spell) [the word|the meaning of] (serendipity|entrepreneur|irony|"
    "necessary|rhythm|onomatopoeia|hypothesis|entropy)",
    "(let's talk about|i want to talk about|what do you think about|do you like|do you enjoy) "
    "({field}|{person}|{food}|{media}|football|the news|{animal})",
    "(i feel|i'm feeling|i am) (lonely|sad|depressed|bored|anxious|stressed out|homesick) [what "
    "should "
    "i do|talk to me|cheer me up|today]",
    "(i need|give me|can i have|do you have) (legal|medical|financial|relationship|career|"
    "parenting|"
    "travel|fashion|style) advice",
    "(find|look up|search for|google|check) (the (train times|bus times|flight status|opening "
    "hours|"
    "exchange rate|lottery numbers|traffic)|a (recipe|job|flat to rent|used car)|cheap flights)",
    "(how do i|how to|help me) (register to vote|file my taxes|renew my driving licence|open a "
    "bank "
    "account|get a passport|apply for a job|report a crime|get planning permission)",
    "(drive me|take me|fly me|bring me|buy me|cook me|lend me) (home|to the airport|lunch|some "
    "money|a "
    "new car|dinner|a coffee)",
    "(translate|what does) {phrase} [mean] [into|in] {language}",
    "(what's|what is|how's|how is) the weather [like] [(in {region}|{when}|in {country}|outside)]",
    "(will it|is it going to) (rain|snow|be sunny|be cold|be windy) [in {region}] [{when}]",
    "(do i need|should i take) (an umbrella|a coat|sunscreen) [{when}]",
    "(how (do|can) i (make|cook|bake)|give me a recipe for|what goes into|how long do i "
    "cook|what's a "
    "good recipe for|teach me to make) {food}",
    "(how many calories are in|is there gluten in|can i freeze|what wine goes with) {food}",
    "(what should i|what can i) (cook|eat|have for dinner|make for lunch) [{when}]",
    "(explain|tell me about|teach me about|what is|what do you know about|give me a summary "
    "of|help me "
    "understand|how does one explain) {subject} [to (me|a child|a five year old)] [please]",
    "(who (is|was)|tell me about|how old (is|was)|when was {person} born|where was {person} born "
    "or who "
    "was) {person}",
    "(what|which) is the (capital|population|currency|largest city|national "
    "dish|flag|president|time "
    "zone|area) of {country}",
    "(how (big|far|old|cold|rich|hot) is|where is|tell me about|what language do they speak "
    "in|should i "
    "move to|do i need a visa for|is it safe in|what's the history of) {country}",
    "(what's|recommend) the best (thing to do|time to go|hotel|beach|museum) in {region}",
    "(book|find|get) me (a flight|a hotel|a train|cheap tickets) to {region} [{when}]",
    "(what is|what's|calculate|how much is|work out) {n} (times|plus|minus|divided by|to the "
    "power of|"
    "percent of) {m}",
    "(what's the square root of|is|convert|factorise|round) {n} [a prime number|to binary|to hex]",
    "(solve|help me solve) [this equation|] (x squared plus {n} equals {m}|{n} x equals {m})",
    "convert {n} {unit}",
    "(help me with|write|can you write|can you help me with|proofread|finish|i need help with) "
    "{task}",
    "(how do (you|i)|what's the best way to|can you tell me how to|tips to|i want to) {chore}",
    "(who won|what was the score (in|of)|when is|who's playing in|did they win|what are the odds "
    "for) "
    "{event}",
    "(what's the best|which is the best|recommend me|i want to buy|how much is|where can i "
    "buy|should "
    "i buy|how do i choose) {thing}",
    "(where is|where's|find me|is there|how do i get to|directions to|what time does {place} "
    "open near) "
    "{place} [near me|nearby|around here]",
    "(how do you say|translate|what is) {phrase} (in|into|to) {language}",
    "(teach me|i want to learn|how hard is|is it easy to learn) {language}",
    "(what is|who wrote|who directed|when did|tell me the plot of|is there a sequel to|who is "
    "in|how "
    "does it end in|what year was) {media} [come out|about]",
    "(i have|i've got|what helps against|how do i treat|should i see a doctor about|my child has) "
    "{body} [what should i do|what can i take]",
    "(tell me|do you know|make up|say) (a joke|another joke|a story|a riddle|a fun fact|something "
    "funny|a bedtime story|a poem|a tongue twister|a secret|something interesting)",
    "(sing|rap|beatbox|sing me) [a song|happy birthday|something|for me]",
    "(what time is it|what's the date [today]|what day is it|set an alarm for {hour}|set a timer "
    "for "
    "{hour} minutes|remind me to (call mum|buy milk|pay rent) [{when}]|wake me at {hour})",
    "(what's in the news|any news [{when}]|what happened today|read me the headlines|what's "
    "trending)",
    "(play|put on|turn up|skip|pause) [some] (music|jazz|the radio|my playlist|a podcast|the "
    "next song)",
    "(turn on|turn off|dim|switch off) the (lights|heating|air conditioning|oven|alarm|fan)",
    "(should i|can i) (break up with my (boyfriend|girlfriend)|sue my "
    "(landlord|neighbour|employer)|"
    "quit my job|go to university|get married|get a divorce|adopt a (dog|cat)|buy bitcoin|retire "
    "early)",
    "(what's|how is) the (stock|share) price of (apple|google|tesla|microsoft|our company|amazon)",
    "(what is the meaning of life|is there a god|what is love|are we alone in the universe|why "
    "is the "
    "sky blue|why do cats purr|how many stars are there|what is the speed of light|what's the "
    "speed of "
    "sound|how fast is a cheetah|what's the tallest mountain|how deep is the ocean|who invented "
    "the "
    "wheel|why do we dream|what is time|how do birds fly|how many bones are there)",
    "(play|let's play) (a game|chess|twenty questions|hangman|trivia|tic tac toe)",
    "(write|debug|explain|fix) (this code|a for loop in python|a javascript function|some html|a "
    "regex|"
    "my java program|a bash script)",
    "(summarise|summarize|rewrite|shorten) (this article|this text|the book|my notes|this "
    "paragraph)",
    "(who should i vote for|what do you think of the (government|president|war)|are you "
    "(left|right) "
    "wing|what's your opinion on {subject})",
    "(send|write) (a text|an email|a message) to (my mum|my boss|john|sarah) [saying (hello|i'm "
    "late)]",
    "(order|get) me (a pizza|some flowers|an uber|a taxi|a coffee|groceries|some sushi) [{when}]",
    "(what's my horoscope|read my palm|what star sign is (june|march)|tell my fortune)",
    "give me (a name for my (dog|cat|baby|band)|(gift|party|date) ideas|an idea for {task})",
)
_NEAR_MISSES = (
    "which (country|city|place|shop|airline) has the (cheapest|best|biggest|oldest) (beer|food|"
    "houses|"
    "beaches|museum|taxes|coffee|wine)",
    "(what's|name|where is) the (cheapest|biggest|most basic|plus size|unlimited) (car|shop|refill|"
    "buffet|wine|hotel|airline|clothes store) [in {region}]",
    "(can you|how do i|please) (block|stop|filter) (spam|junk) (mails|email|letters) [in (my |"
    ")(outlook|"
    "gmail|inbox|hotmail)]",
    "(what does|where can i read|who wrote|explain) the (internet bill of rights|bill of rights|"
    "data "
    "protection act|broadband act|phone book|rules of roaming cattle) [say|mean]",
    "(what's|name|recommend) a good (tv show|film|phone game|app|cartoon|radio station|tv series) "
    "for "
    "(kids|the kids|everyone|my guests|teenagers)",
    "(which|what) (days|dates) are (bank holidays|school holidays|public holidays) in {country}",
    "i can't (get|log) into my (facebook|gmail|netflix|bank|work|instagram|amazon|school) account "
    "[any more|again]",
    "(how do|why do|when were|who invented) (mobile phones|routers|televisions|sim cards|modems|"
    "satellites|telephones|fibre cables|text messages) (work|exist|invented|matter)",
    "(can you|please|how do i) (block|stop|filter) (spam (mails|calls in outlook|emails)|ads on "
    "youtube|trolls on twitter|cookies in my browser|the sunlight)",
    "(restart|how do i restart|how can i reboot|i want to reset) (my (career|life|marriage|"
    "education|"
    "habits|business|heart rate|laptop|car engine)|a conversation|the economy) [after a break|from "
    "scratch]",
    "(the|my|our) (lights|heating|water|gas|dishwasher|car|laptop|printer|boiler|doorbell|alarm) "
    "(went "
    "out|is off|has stopped|doesn't work|broke|is leaking) [again|this morning]",
    "(how much|what) (does|is) (a new (phone|tv|laptop|router)|an iphone|a smart tv|a tablet) "
    "(cost|"
    "worth) [at the shop|these days]",
    "(write|make|draw up|give me) (a (meal|training|lesson|business|study|savings) plan|a travel "
    "plan for {country}|a bill for my customer|a packing list for {country})",
    "(what's|what is|tell me) the (fastest|speed of a|top speed of a) (car|cheetah|train|plane|"
    "boat|"
    "animal|rocket)",
    "(what's|what is) the speed of (sound in water|light|a bullet|the earth|a horse|sound)",
    "(which|what) plan (should|would) (i|we) (follow to lose weight|make for saturday|have for the "
    "party|use for retirement)",
    "i want to (change|cancel|make) (my |some |)plans for (saturday|tonight|the weekend|sunday|our "
    "anniversary)",
    "(i need to|can i|how do i|please) pay (my|the) (gas|water|electricity|dentist's|vet's|tax|"
    "council|rent|heating|hospital) (bill|invoice|money)",
    "(is there|was there|why is there) a (power|water|gas) (cut|failure|outage) [in (my street|"
    "town)|"
    "today]",
    "(somebody|someone|a thief) (stole|took|broke into) my (bicycle|car|house|garden gnome|locker|"
    "wallet|jacket) [last night|yesterday|outside the shop]",
    "(i|we) lost (my|our|the) (house keys|car keys|way|dog|match|luggage|tickets|glasses|tv remote|"
    "wedding ring) [what do i do|can you help|yesterday]",
    "(book|reserve|order|get) [me|us] (a (dentist|doctor|massage|babysitter|plumber|taxi|table|"
    "haircut|gardener|locksmith|painter|driving lesson)) [for|on] [{when}] [{window}]",
    "(what's|what is) (playing|on) [at the cinema|on channel (four|one|2)|on netflix|on the radio] "
    "[tonight|{when}]",
    "(pause|stop|turn off|skip) (the (film|song|game|tv show|timer|movie|match|podcast)|my "
    "workout) "
    "for {n} minutes",
    "(who|what) (is|was) (the router|the modem|a gateway|mobile|unlimited|plus|basic) [in "
    "(programming|"
    "woodwork|maths|history|chemistry)]",
    "(i want to pay|how do i pay|pay|can you pay) (my {other_bill} bill|my parking ticket|my "
    "rent|my "
    "taxes|my friend {n} dollars|for the pizza|my mortgage|my credit card|attention|my respects)",
    "(how much is|what's|explain|why is) my {other_bill} bill [so high|this month]",
    "(book|i need|can you book|get me|i want to book) a {other_pro} [for] [{when}] [{window}]",
    "(can you send|find me|i'm looking for) a {other_pro} [to my house] [{when}]",
    "i('ve|) lost my {lost} [what should i do|can you help]",
    "(someone stole|somebody took|they stole) my {stolen}",
    "my {stolen} (was|got|has been) stolen",
    "(cancel|i want to cancel|how do i cancel|can you cancel) my {other_cancel}",
    "(restart|reboot|reset|how do i restart|i want to restart|can you restart) {other_restart}",
    "(pause|stop|can you pause|please pause) {other_pause} [for {n} minutes]",
    "(change|i want to change|help me with|i need to change) {other_plan}",
    "(block|how do i block|can you block) {other_block}",
    "(what's my|i forgot my|show me my|reset my) {other_password} password",
    "(tell me about|what is|explain|i'm writing an essay on) (the bill of rights|an internet "
    "bill of "
    "rights|my internet bill of rights|the electric bill act|net neutrality|the speed of "
    "light|data "
    "protection law|the roaming of buffalo|plan b|plan nine from outer space|unlimited wealth|the "
    "history of the telephone|mobile homes|the internet of things|how a router works|what wifi "
    "means|"
    "router tables in woodworking|data science|the human outage of power|speed tests for cars)",
    "(who is bill gates|what did bill clinton do|how tall is bill murray|is bill home|tell bill "
    "hello|"
    "who was buffalo bill|how do i bill a client|what does a duck's bill look like)",
    "(is there|when is) (a power cut|a power outage|a gas leak|a train strike|a road closure|a "
    "flight "
    "delay|a school closure|a water outage) [in my area|today|near me]",
    "(the power|the electricity|the heating|the water|the lift|my car|my fridge|the washing "
    "machine) is "
    "(down|out|not working|off|broken)",
    "(how much data does|how fast is|how much memory does) (the hubble telescope|nasa|a human "
    "brain|a "
    "tesla|google|the large hadron collider|an iphone|the international space station) "
    "[produce|have]",
    "what (should i watch|is on) (on tv|on television|on channel four) [tonight|tomorrow]",
    "(is|what's) my (bank balance|account balance at the bank|work life balance|credit score)",
    "(what should i pack|how much money do i need|what vaccines do i need) for {n} days in "
    "{country}",
    "(i'm going to|we're visiting|we are in) {country} for {n} days what should we (see|do|eat)",
    "(how long is the flight|how much is a ticket|what's the time difference) to {country}",
    "(the kids are|my kids are|everyone is) (bored what can we do|hungry|sick what should i "
    "do|fighting)",
    "(what can i do with|activities for|a present for|dinner for) (the kids|my guests|everyone) "
    "[for an "
    "hour|tomorrow|{when}]",
    "(which phone should i buy|is the new iphone any good|what's the best android phone|how do i "
    "take a "
    "screenshot|how do i install whatsapp|how do i update my mac|my laptop won't turn on|my "
    "printer "
    "doesn't work|how do i format a usb stick|how do i make a website|is 5g dangerous)",
)


def outside_request(scene: Scene) -> str:
    """Draw the words of a request that belongs to the core model."""
    rng = scene.rng
    slots = {name: rng.choice(nouns) for name, nouns in (NOUNS | MORE_NOUNS).items()}
    digits = scene.typed or scene.chance(0.4)
    slots |= {
        "country": rng.choice(COUNTRIES),
        "region": rng.choice((*NOT_A_COUNTRY[8:-4], *COUNTRIES)),
        "n": number(any_size(rng, 999), rng, digits=digits),
        "m": number(any_size(rng, 999), rng, digits=digits),
        "hour": number(rng.randrange(1, 13), rng, digits=digits),
        "window": rng.choice(("morning", "afternoon", "evening", "at noon")),
    }
    opening = scene.phrase(
        "[(hi|hey|hello|okay|so|quick question|just wondering|by the way|also|one more thing|can "
        "i ask|"
        "tell me)]"
    )
    near = scene.chance(0.5)
    patterns = (*_NEAR_MISSES, *NEAR_MISSES) if near else (*_REQUESTS, *DOMAINS)
    return f"{opening} {scene.phrase(patterns, **slots)}"
