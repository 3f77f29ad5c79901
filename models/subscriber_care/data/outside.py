"""Requests outside subscriber care: many domains, and near-misses that borrow its words."""

from gateway.core.countries import COUNTRIES
from models.subscriber_care.data.places import NOT_A_COUNTRY
from models.subscriber_care.data.scene import Scene
from models.subscriber_care.data.spoken import any_size, number


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(item.split()) for item in text.split(","))


_NOUNS = {
    "food": _listed(
        """lasagna, pancakes, sourdough bread, sushi, chicken curry, tomato soup, banana bread,
        pizza dough, a cheesecake, fried rice, an omelette, guacamole, roast potatoes, vegan
        chili, tiramisu, paella, meatballs, apple pie, hummus, a birthday cake, scrambled eggs,
        ramen, gluten free bread, iced coffee, a mojito, turkey stuffing, french toast, beef
        stew, salad dressing"""
    ),
    "subject": _listed(
        """photosynthesis, black holes, quantum physics, the roman empire, the french revolution,
        inflation, machine learning, the stock market, gravity, evolution, the cold war, dna,
        blockchain, relativity, climate change, democracy, the big bang, vaccines, plate
        tectonics, the industrial revolution, opera, impressionism, buddhism, volcanoes,
        antibiotics, compound interest, tax brackets, the offside rule, cricket, the moon
        landing, nuclear fusion, dinosaurs, electricity, the water cycle, supply and demand, the
        renaissance, tides, how planes fly, fiber optics, radio waves, how the internet was
        invented, the history of television, undersea cables, how a sim card works inside,
        bluetooth, satellites, encryption"""
    ),
    "person": _listed(
        """napoleon, einstein, shakespeare, the president, cleopatra, mozart, the pope, taylor
        swift, the prime minister, marie curie, gandhi, the king of england, beethoven, elon
        musk, picasso, the inventor of the telephone, alexander graham bell, leonardo da vinci,
        nelson mandela, lionel messi, the first man on the moon, charles darwin, julius caesar,
        ada lovelace"""
    ),
    "body": _listed(
        """a headache, back pain, a sore throat, a fever, a cold, insomnia, a rash, a toothache,
        high blood pressure, hay fever, a sprained ankle, heartburn, anxiety, a migraine, a
        cough, allergies, stomach ache, dizzy spells, a burn, a bee sting"""
    ),
    "task": _listed(
        """my homework, my essay, a cover letter, my resume, a wedding speech, my maths assignment,
        a poem for my wife, a business plan, a love letter, my thesis, a birthday message, a job
        application, an email to my boss, a python script, a sql query, my tax return, a
        presentation, a crossword puzzle, a short story, a workout plan, a shopping list, a
        novel, a complaint to my landlord, a spreadsheet formula, a haiku, song lyrics, a press
        release, a school report"""
    ),
    "event": _listed(
        """the football match, the super bowl, the world cup final, the election, the tennis game,
        the formula one race, last night's game, the oscars, the eurovision, the olympics, the
        concert, the basketball game, the lottery, the cricket"""
    ),
    "thing": _listed(
        """a dog, a cat, a car, a laptop, a bicycle, running shoes, a washing machine, a mattress,
        a coffee machine, a camera, a guitar, a sofa, headphones, a lawn mower, a drone, a tent,
        a watch, a piano, a vacuum cleaner, an electric car, a house, a horse, a fridge, a
        puppy, a boat"""
    ),
    "place": _listed(
        """a restaurant, a pharmacy, a hotel, a gym, a cinema, a petrol station, a supermarket, a
        dentist, the train station, the airport, a coffee shop, a hospital, a bank, a car wash,
        a park, the post office, a vet, a museum, a bakery, a hairdresser, the library, the
        beach"""
    ),
    "language": _listed(
        """spanish, french, german, japanese, italian, latin, russian, arabic, chinese, greek,
        dutch, portuguese, korean, hindi, swedish, polish, turkish, swahili"""
    ),
    "phrase": _listed(
        """good morning, i love you, where is the toilet, thank you very much, how much is it, see
        you tomorrow, happy birthday, my phone is lost, the internet is down, two beers please,
        i am hungry, excuse me, the bill please, what time is it, can you help me, cheers, my
        friend"""
    ),
    "media": _listed(
        """the godfather, star wars, titanic, harry potter, the lord of the rings, breaking bad,
        game of thrones, friends, the matrix, bohemian rhapsody, hamlet, pride and prejudice,
        frozen, jaws, seinfeld, the office, stranger things, the beatles, the mona lisa, moby
        dick"""
    ),
    "chore": _listed(
        """fix a leaking tap, remove a wine stain, change a tyre, tie a tie, train a puppy, grow
        tomatoes, paint a wall, unblock a sink, clean an oven, boil an egg, prune roses, get rid
        of ants, iron a shirt, sharpen a knife, build a shelf, jump start a car, fold a fitted
        sheet, plant a tree, meditate, juggle, whistle, play chess, learn guitar, lose weight,
        save money, invest in shares, write a will, get a mortgage, apply for a visa, renew my
        passport, quit smoking, sleep better, run a marathon, make friends, deal with my boss,
        bake bread"""
    ),
    "other_bill": _listed(
        """electricity, gas, water, hospital, dentist, restaurant, heating, vet, credit card, tax,
        power, grocery, hotel, garage"""
    ),
    "other_pro": _listed(
        """plumber, electrician, dentist, doctor, hairdresser, cleaner, babysitter, lawyer,
        gardener, vet, mechanic, taxi, table for two, massage, tennis court, driving lesson,
        haircut, flight, hotel room, photographer, piano teacher, physiotherapist"""
    ),
    "lost": _listed(
        """keys, wallet, dog, cat, glasses, umbrella, passport, way, job, temper, luggage, ring,
        bag, remote control, mind, patience, sense of humour, credit card, driving licence,
        cat's toy"""
    ),
    "stolen": _listed(
        """car, bike, wallet, bicycle, handbag, passport, laptop, credit card, idea, lunch, purse,
        scooter, heart, suitcase"""
    ),
    "other_cancel": _listed(
        """gym membership, netflix, flight, dentist appointment, hotel booking, magazine
        subscription, dinner reservation, meeting, amazon order, train ticket, doctor's
        appointment, spotify, insurance, credit card, haircut, piano lesson, credit score check,
        wedding"""
    ),
    "other_restart": _listed(
        """my career, my diet, my laptop, my car, the washing machine, my life, the dishwasher,
        windows, my computer, the game, the oven, my playstation, the printer, my heart, the
        boiler, my coffee machine, my smart watch, the meeting, the song"""
    ),
    "other_pause": _listed(
        """the music, the movie, my subscription to the gym, my game, the alarm, the washing
        machine, the podcast, my netflix show, the oven timer, my mortgage, my newspaper
        delivery, the video"""
    ),
    "other_plan": _listed(
        """my plans for tonight, my meal plan, my retirement plan, my training plan, my travel
        plans, my floor plan, my pension plan, my business plan, my lesson plan, my dinner plans"""
    ),
    "other_block": _listed(
        """my ex on facebook, this website, spam emails, my credit card, pop up ads, a number on
        whatsapp, the driveway, the sun, a user on instagram, my drain, the door, youtube ads"""
    ),
    "other_password": _listed(
        """gmail, facebook, netflix, windows, apple id, bank, instagram, laptop, work, bitcoin
        wallet, amazon, the hotel, starbucks, paypal, my neighbour's zoom"""
    ),
    "unit": _listed(
        """miles to kilometres, pounds to kilos, celsius to fahrenheit, cups to grams, feet to
        metres, inches to centimetres, dollars to euros, gallons to litres, euros to yen,
        megabytes to gigabytes, megabits to megabytes, ounces to grams"""
    ),
    "when": _listed("today, tomorrow, tonight, this weekend, on monday, next week, on friday, "
        "later"),
}  # fmt: skip

_REQUESTS = (
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
    slots = {name: rng.choice(nouns) for name, nouns in _NOUNS.items()}
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
    patterns = _NEAR_MISSES if scene.chance(0.45) else _REQUESTS
    return f"{opening} {scene.phrase(patterns, **slots)}"
