"""More requests outside subscriber care: everyday domains, and near-misses by their sense.

A near-miss shares a verb and a noun with this subject ("pay", "bill", "block", "line") and means
somebody else's bill or another line; so the nouns below are what tells the two apart.
"""

DOMAINS = (
    "(what's|what is|what are|which are) the (symptoms|signs|causes|side effects|stages) of {ill}",
    "(my {kin} has|i think i have|how do you get|how long does one have|can you die of|is there a "
    "cure for|what helps with) {ill}",
    "my {kin} (failed|has|is taking|passed|hates) (his|her|the|an) (maths|driving|history|english|"
    "science|spelling) (exam|test|lessons|homework) [how can i help|any tips]",
    "(my|our) (landlord|employer|neighbour|{kin}|builder|bank|tenant) (won't|refuses to|didn't|"
    "forgot to) (return the deposit|give me holidays|pay (the rent|me|up)|trim the hedge|fix the "
    "(roof|boiler|sink)|sign the papers) [what are my rights|is that legal|can i sue]",
    "(how|when|where|why) (did|do|does|was|were|are|is) ({creature}s|{topic}|{sight}) (die "
    "out|begin|get (its|their) name|find (its|their) way|made|built|important|so (famous|old|"
    "big|rare))",
    "(who|which (king|woman|man|country|team)) (invented|discovered|painted|wrote|built|first "
    "(climbed|flew|used)|founded|sang|sings|played|directed) ({topic}|{sight}|that (song|film) "
    "about (the |a )(submarine|moon|{creature}))",
    "(how (deep|high|old|long|tall|heavy|far away|wide) is) ({sight}|a {creature}|the (nile|moon|"
    "atlantic|eiffel tower|channel tunnel|desert))",
    "(when|what year|what century) did (people|humans|the (romans|vikings|egyptians|british)) "
    "(start|begin|first) (to use|using|making|drinking|eating|wearing) ({ware}|{topic}|coffee|"
    "shoes|money|paper)",
    "(what|when) (is|are|'s) (easter|christmas|ramadan|diwali|thanksgiving|chinese new year|the "
    "school holidays|mother's day) [this year|next year|on]",
    "(how (many|much)) (ounces|grams|cups|litres|seconds|pints|inches|acres|yards|teaspoons) (in|"
    "is|are there in|make) (a|one) (pound|kilo|gallon|mile|day|pint|hectare|tablespoon|litre)",
    "(how much) does (a|an|one) (litre of milk|elephant|cubic metre of water|{creature}|{ware}) "
    "(weigh|cost)",
    "(should|do|would|will) (i|we) (need|take|bring|wear) (a|an|some) (jacket|coat|umbrella|"
    "jumper|boots|sunhat) [in {region}] [tonight|{when}|for (the hike|sailing)]",
    "(should i|will there|can we) (expect|be|have) (storms|snow|rain|fog|a heat wave|frost) [when "
    "(i go|we go) (sailing|camping|skiing|hiking)|in {region}|{when}]",
    "(is it|it's) too (late|early|cold|warm|wet) to (plant|prune|sow|harvest|grow|cut) (tulips|"
    "roses|potatoes|the hedge|tomatoes|garlic|an apple tree)",
    "(how do (i|you)|teach me to|show me how to|what's the trick to|can you tell me how to) "
    "{craft}",
    "(what's|suggest|give me|i need) (a|some|a few) [good|nice|funny|unusual] (name|names|ideas|"
    "nickname) for (a|my|our) [ginger|new|baby|second] ({creature}|kitten|boat|daughter|band|cafe|"
    "quiz team)",
    "(what (wine|sauce|cheese|salad|side dish)) (goes|would go) with ({dish}|{food})",
    "(can i|how do i|should i|is it safe to) (freeze|reheat|marinate|grill|eat|defrost|pickle) "
    "({dish}|{food}) [twice|overnight|raw|in the microwave]",
    "(is|was|has) my (sourdough|yeast|milk|meat|soup|{dish}) (dead|off|ready|gone bad|done|"
    "overcooked) [if it (smells|looks) (funny|of vinegar|grey)]",
    "(is|are) ({hobby}) (harder|better|healthier|older|cheaper|more fun) than ({hobby})",
    "(where|how) (can|do) i (learn|start|take up|get better at) ({hobby}|{language}) [at my age|"
    "near me|for free]",
    "(why (won't|doesn't|does)|what's wrong with) my (python script|excel macro|for loop|code|web "
    "server|spreadsheet|css|java class|query|unit test) (run|compile|end|work|crash|never ends|"
    "print anything)",
    "(my|this|the) (for loop|while loop|function|script|regex|formula|build|macro) (never ends|is "
    "slow|crashes|returns nothing|gives an error)[,] [what's wrong [with it]|help|can you fix it]",
    "(what does|what's the meaning of|how do you (spell|pronounce)|define|use in a sentence) "
    "{word} [mean]",
    "(translate|what's|how do you say) (good luck|cheers|happy new year|where is the station|i'm "
    "sorry|good night|the cat) (into|in|to) {language}",
    "(write|make|draft|do|give me|help me with) (a|an|my) (toast|speech|poem|letter|text|card|"
    "rhyme|eulogy|song|advert) (for|about|to) (my {kin}|my {kin}'s (wedding|birthday|retirement)|"
    "a {creature}|the (neighbours|landlord|school))",
    "(check|correct|improve|proofread|look over) (my|the|this) (spelling|grammar|letter|essay|"
    "homework|cv|application|poem|sums) [in this letter|please|for me]",
    "(how do i|should i|what's the best way to) (ask my boss for a (raise|day off)|tell my {kin} "
    "(the truth|i'm leaving|about it)|make up with my {kin}|stop (worrying|smoking|biting my nails|"
    "snoring)|get over (a breakup|my ex)|make new friends)",
    "(wake me [up]|set an alarm|remind me) (at|for) {hour} [in the morning|thirty|{when}]",
    "(order|get|fetch|deliver|send) (me|us) (a|some) (margherita pizza|curry|sushi|burgers|flowers|"
    "cab|beer|groceries|takeaway|birthday cake) [please|tonight|{when}]",
    "(what's|is there anything|anything good) (on|playing|showing) at (the |)(theatre|cinema|opera|"
    "stadium|museum|arena|movies) [tonight|this weekend|{when}]",
    "(what's|what was|do you know) the (score|result|line up) (in|of) the ({team}) (game|match) "
    "[last night|so far]",
    "(did|will|have) ({team}) (win|won|lose|play|beat) [{when}|last night|the cup|the league]",
    "(which|what) (bus|train|tram|flight|road|ferry) (goes|do i take|gets me|leaves) (to|for) "
    "({region}|the (station|airport|hospital|zoo)) [{when}]",
    "(is|are) (there|the) (a |any |)(delays|delay|queues|traffic|strike|roadworks|accident) (on|"
    "at) the (trains|motorway|ring road|underground|buses|border|airport) [this morning|{when}]",
    "(what|how much) (is|are) (the|a) (tax|interest rate|exchange rate|minimum wage|pension|fee|"
    "fine|customs duty) (on|for|in|of) ({region}|a mortgage|speeding|{ware}|the euro|savings)",
    "(explain|describe|tell me about|what do you know about|i'd like to learn about|summarise) "
    "{topic} [(briefly|to me|in simple terms|for my homework|please)]",
    "(do|can|are|why do|how long do|what do) {creature}s (eat|sleep|swim|bite|live|see in the "
    "dark|make good pets|hibernate|lay eggs|migrate|get along with cats)",
    "(recommend|suggest|what's|name) a [good|nice|cheap|romantic] (restaurant|hotel|campsite|book|"
    "film|walk|podcast|museum|wine|thriller|board game) [in {region}|for {when}|near here|for the "
    "(kids|plane|train)]",
    "(what's the (point|meaning|purpose|origin) of|do you believe in|is there such a thing as) "
    "(life|{topic}|god|ghosts|luck|fate|true love|horoscopes|aliens)",
    "(a |one |)(riddle|joke|fun fact|story|poem|quote|limerick|tongue twister) (please|for my "
    "{kin}|"
    "about {creature}s|to cheer me up)",
    "(what|who) (would|will|do you think will) win (in a fight|the election|the war|the lottery|"
    "best picture|between a {creature} and a {creature})",
    "(compare|what's the difference between) (a|an) {creature} and (a|an) {creature}",
    "(compare|what's the difference between) ({topic}|{hobby}|{ware}) and ({topic}|{hobby}|{ware})",
    "(sort|alphabetise|count|add up|list|rhyme|spell backwards) (these (words|numbers|names)|the "
    "(planets|presidents|vowels|months|states)|with orange|the alphabet)",
    "(help me|i need to|i want to) (plan|organise|throw|prepare) (a|my|our) (surprise party|"
    "wedding|trip to {region}|garden|funeral|school play|stag night|week of meals|budget)",
)
NEAR_MISSES = (
    "(my|the|our|this) {utility} bill (is|was|has|went) (through the roof|doubled|sky high|too "
    "high|enormous|gone up|late|wrong) [this (winter|month|year)|again][,] [why|what can i do]",
    "(how (do|can) i|where do i|can i|i want to|help me|i have to|please) pay (my|the|a|this) "
    "({fine}|{utility} bill|{utility} people|{utility} company) [online|{n} dollars|please]",
    "(the|my) {utility} (people|company|board|man) (want|wants|charged|asked) [me for] {n} dollars "
    "[from me][,] [how do i pay (them|it)|is that right|what now]",
    "(pay|send|give|lend|transfer|wire) (the|my) (babysitter|cleaner|gardener|window cleaner|"
    "landlord|{kin}|piano teacher|taxi driver|charity|church) [(a |){n} dollars] [for me|please|"
    "back|from my account]",
    "(my|the) (luggage|suitcase|ring|purse|hat|{creature}|house key|contact lens|hearing aid|"
    "homework|car|boarding pass|umbrella) (got|was|is|has been) (lost|missing|stolen|nicked|"
    "pinched|gone|taken) [on the (flight|train) [to {region}]|at the (beach|gym)|from the (shed|"
    "garage|car park)|yesterday] [what do i do]",
    "(somebody|someone|a thief|some kid|they|thieves) (nicked|pinched|stole|took|swiped|made off "
    "with|snatched) my (bike|bicycle|car|wallet|scooter|number plate|tools|lawn mower|parcel|coat|"
    "garden furniture|surfboard) [(outside the (gym|pub|school)|from the (shed|drive|garage)|last "
    "night)]",
    "(get|send|find|call|book|fetch|i need|can you (get|send|book) [me]) (a|an) {trade} [round|"
    "over|out|for me] [{when}] [{window}][,] [the (sink|toilet|roof|boiler|tap|drain|fuse|gutter) "
    "is (blocked|leaking|broken|dripping)]",
    "(my|the) {appliance} (engineer|repair man|technician|man|installer|delivery) (didn't (show "
    "up|come|fix it)|is late|was rude|never (came|called))",
    "(restart|reboot|reset|turn off and on|fix|repair|switch off) (my|the|our) {appliance} [please|"
    "it's (frozen|stuck|beeping|leaking|too loud)|again]",
    "(my|the|our) {appliance} (is|has|won't|keeps) (frozen|broken|down|stopped|beeping|leaking|"
    "start|turn on|making a noise|out of order|tripping the fuse) [again|what should i do|this "
    "morning]",
    "(we|the whole street|our house|my flat) (have|has|had) no "
    "(electricity|power|water|gas|heating|"
    "hot water|lights) [on our road|since (six|last night)|again|today]",
    "(there's|is there|have you heard of) (an outage|a shortage|a lack|a failure|a breakdown) of "
    "(common sense|manners|petrol|patience|nurses|democracy|water|good films) [in (parliament|this "
    "country|{region})]",
    "(how fast|what speed|what's the top speed|how quick) (can|does|is|of) (a|an|the) (ferrari|"
    "{creature}|peregrine falcon|rocket|sailing boat|bullet train|tennis serve|formula one car) "
    "[go|run|reach|fly|swim]",
    "(what's|what is|where's|find me|show me|is there) (the |any |)(data|statistics|research|"
    "evidence) (on|about|for|behind) (smoking|{ill}|{topic}|climate|traffic deaths|crime in "
    "{region}|sleep)",
    "(how much|what) data (does|did|do|is in) (a |the |)(weather satellite|hubble telescope|genome|"
    "spaceship|dna|brain|library|stock exchange|self driving car) "
    "(send|hold|collect|produce|store)",
    "(how many|what are the) bars (does|are there|in) (a (blues|prison|cage|song)|in ({region}|a "
    "waltz|this town|the old town))",
    "(i forgot|i don't know|what's|reset|change|i lost) (my|the) (pin|code|password|login) (of|for|"
    "to) my ({appliance}|bank card|email|suitcase|safe|{account}|burglar alarm|bike lock|library "
    "account)",
    "(i can't|i cannot|i'm unable to|help me) (log in|sign in|get) (to|into) my {account} "
    "[account] "
    "[any more|again|since yesterday]",
    "my {account} (login|account|page|profile) (is (gone|hacked|locked|blocked)|was hacked|stopped "
    "working|got deleted)[,] [get me back in|what do i do|help]",
    "(block|mute|unfriend|report|ban|stop) (my {kin}|my ex|a (troll|stranger|bully|user|seller)|"
    "(adverts|ads|spam|pop ups|cookies)|this (person|man)) ('s number |)(on|in|from) (whatsapp|"
    "{account}|my (browser|inbox|blog|phone)|tinder|youtube)",
    "(cancel|move|change|reschedule|postpone|call off|rebook) (my|the|our) (appointment|booking|"
    "session|lesson|table|order|subscription|trial|visit) (at|with|to|for) (the|my) "
    "(barber|dentist|"
    "gym|vet|salon|restaurant|museum|doctor|piano teacher|spa|magazine|paper) [on (monday|"
    "thursday)|{when}]",
    "(what's|suggest|make|i need|draw up|give me) a [good|solid|better] plan (for|to) (learning "
    "({language}|the piano)|lose weight|losing weight|my (retirement|garden|essay|career)|getting "
    "fit|the (party|war|weekend)|paying off my (mortgage|student loan)|revising) [in a year]",
    "(how do i|should i|can i|i want to) (move|switch|transfer|change) (my (pension|savings|bank|"
    "mortgage|gp|insurance|school|electricity|gas)) [to another (provider|company|one)]",
    "(which|what) (phone|router|tv|tablet|modem|smartwatch|sim) (has|is|comes with|should i buy "
    "with) (the best|the biggest|a good) (camera|battery|screen|deal|antenna|review) [for my "
    "{kin}]",
    "(who|when|how|why) (invented|did they invent|was|were|works|do people need) (the (sim card|"
    "modem|router|telephone|television|mobile phone|internet|first text message|fax)) [invented|"
    "called that|made]",
    "(put|turn|switch|make) (the (telly|tv|radio|volume|lights|heating|sound|brightness)) [volume] "
    "(up|down|off|on|louder|quieter|to channel (four|one)) [a bit|please]",
    "(we're|i'm|we are|i am) (spending|having|staying|booked) (a week|five days|{n} days|the "
    "summer|our honeymoon) in {country}[,] (what should we (see|do|eat|pack)|where should we stay|"
    "any tips|is it safe|what's the weather like)",
    "(what|where|how) (can|do|should) (i|we) (see|eat|buy|find|get around|rent a car|exchange "
    "money|surf) in {country} [{when}|in winter]",
    "(the|my) (kids|children|teenagers|guests|visitors) (won't|are|keep|want|don't) (go to sleep|"
    "eat (their |)vegetables|arguing|coming to dinner|bored|a puppy|do their homework|staying too "
    "long) [any (tricks|tips|ideas)|what (can i|do i) (do|cook)]",
    "(what's|what is|explain|tell me) the (difference between|history of|word for|chemistry of) (a "
    "(modem|router|line|bill|plan|signal|network|visit|channel)) (and a (switch|dam|bird's beak|"
    "plot|river)|in ({field}|model railways|{topic}|{language}))",
    "(who|where|what) is (bill|the plus sign|basic|unlimited|signal|the web|router) (from|in|named "
    "after|bryson|shankly|withers|nighy|hill|cosby)",
    "(is there|are there|what is|who signed|what's in) (a|the|an) (bill of rights|infrastructure "
    "bill|bill in parliament|health bill|tax bill|bill before congress) [for (people online|"
    "patients|tenants|workers)|about]",
    "(i missed|where do i catch|when's|what platform is) (my|the) (line|connection|connecting "
    "(train|"
    "flight)|signal) [to {region}|in {region}|at the airport]",
    "(pause|stop|resume|rewind|skip|mute) (my|the) ({appliance}|film|match|audiobook|treadmill|"
    "meditation|alarm|workout|song|recording) [for (ten|five) minutes|please|now]",
    "(how do i|can you) (unlock|charge|clean|dry out|backup|rename|wipe|factory reset) (my|a|an) "
    "(iphone|macbook|android|samsung|kindle|camera|smartwatch|hard drive) [that got wet|safely]",
    "(write|send|post|draft) (a|an|my) (review|email|tweet|letter|complaint) (about|to) (the (bank|"
    "airline|council|school|hotel)|my (mp|landlord|senator)|this film)",
    "(what's|how's|is) (the (mobile|phone|internet|tv) (market|industry|business)|(phone|tech|"
    "telecom) (stock|shares)) (doing|worth buying|like in {region}|going to crash)",
    "(does|will|can) (my |)(home insurance|travel insurance|car insurance|health plan|pension plan|"
    "dental plan) (cover|pay for|include) (a lost (ring|phone screen)|{ill}|{region}|my {kin})",
)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(item.split()) for item in text.split(","))


MORE_NOUNS = {
    "ill": _listed(
        """flu, measles, diabetes, covid, asthma, chickenpox, a stroke, gout, anaemia, arthritis,
        appendicitis, food poisoning, eczema, shingles, tonsillitis, a concussion, scurvy, malaria,
        pneumonia, an ear infection, vertigo, sciatica, hiccups, sunburn, a broken toe"""
    ),
    "kin": _listed(
        """son, daughter, wife, husband, brother, sister, mum, dad, grandma, grandson, niece,
        cousin, uncle, aunt, best friend, girlfriend, boyfriend, stepson, mother in law"""
    ),
    "creature": _listed(
        """bee, whale, hedgehog, squirrel, octopus, kangaroo, tiger, wolf, crocodile, snail, swan,
        camel, badger, otter, hawk, pigeon, mosquito, jellyfish, zebra, moth, seal, frog, llama,
        parakeet, guinea pig, mammoth, dinosaur, stork, salmon, beetle"""
    ),
    "topic": _listed(
        """forks, umbrellas, chess, the vikings, the suez canal, glass, opera, the black death,
        capitalism, yoga, rainbows, gunpowder, the aztecs, the periodic table, jazz, earthquakes,
        tea, hieroglyphs, magnets, the ozone layer, feudalism, soap, the printing press, zero,
        taxes, recycling, electricity, the silk road, cubism, glaciers, the crusades, karma,
        inflation, nuclear power, the olympic games, northern lights, perfume, toothbrushes"""
    ),
    "sight": _listed(
        """loch ness, the great wall, mount everest, the grand canyon, the taj mahal, big ben, the
        golden gate bridge, stonehenge, the colosseum, niagara falls, the statue of liberty, the
        dead sea, the louvre, machu picchu, the tallest bridge, the longest tunnel"""
    ),
    "ware": _listed(
        """bicycles, mirrors, forks, clocks, spectacles, candles, chairs, saucepans, carpets,
        pianos, tractors, ladders, buttons, sewing machines, kites, diamonds, gold bars"""
    ),
    "craft": _listed(
        """knit a scarf, get rid of moths, polish silver, bleed a radiator, wrap a present, carve a
        pumpkin, fillet a fish, replace a fuse, lay tiles, descale a kettle, plait hair, catch
        a mouse, light a fire, pitch a tent, read music, juggle with four balls, fix a puncture,
        wallpaper a room, patch a hole in the wall, sew on a button, brew beer, make candles,
        unclog a toilet, hem trousers, treat damp, wash a wool coat, sharpen scissors"""
    ),
    "dish": _listed(
        """salmon, roast lamb, risotto, curry, mushrooms, chilli, quiche, oysters, steak, goulash,
        pad thai, lentils, chicken, duck, dumplings, cabbage, trifle, custard, porridge, beans"""
    ),
    "hobby": _listed(
        """chess, go, tennis, badminton, yoga, pilates, rowing, pottery, sudoku, bridge, skiing,
        snowboarding, running, swimming, the violin, the piano, knitting, poker, calligraphy"""
    ),
    "word": _listed(
        """schadenfreude, ubiquitous, mauve, discombobulated, oxymoron, eponymous, zeitgeist,
        hubris, quinoa, gregarious, palindrome, nostalgia, albeit, ephemeral, stoic, chutzpah"""
    ),
    "team": _listed(
        """arsenal, liverpool, barcelona, the lakers, the yankees, india, the all blacks, juventus,
        celtic, the dodgers, bayern, chelsea, the giants, australia, real madrid"""
    ),
    "utility": _listed(
        """gas, electricity, electric, water, heating, power, council tax, energy, hospital, vet,
        dentist, nursery, oil, solicitor's, credit card, restaurant, hotel, garage, plumber's"""
    ),
    "fine": _listed(
        """speeding fine, parking ticket, parking fine, library fine, tv licence, car tax, rent,
        mortgage, tuition fees, student loan, council tax, road toll, dog licence, alimony, income
        tax, insurance, membership fee, church tax, traffic fine"""
    ),
    "trade": _listed(
        """plumber, roofer, electrician, locksmith, gardener, painter, cleaner, vet, doctor,
        carpenter, dog walker, piano tuner, glazier, builder, tree surgeon, chimney sweep, taxi,
        ambulance, babysitter, nurse, exterminator, handyman, decorator"""
    ),
    "appliance": _listed(
        """playstation, xbox, washing machine, dishwasher, fridge, oven, laptop, printer, boiler,
        microwave, tumble dryer, hoover, car, doorbell, smart watch, air conditioner, toaster,
        burglar alarm, dehumidifier, electric toothbrush, lawn mower, coffee machine, freezer,
        sat nav, e bike, kindle, drone, computer, sewing machine"""
    ),
    "account": _listed(
        """email, gmail, twitter, facebook, paypal, instagram, ebay, bank, amazon, linkedin, work,
        school, tiktok, snapchat, outlook, dropbox, spotify, hmrc, reddit, steam, apple"""
    ),
}  # fmt: skip
