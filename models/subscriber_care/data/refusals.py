"""More that no caller may have, and more in the subject that no tool serves."""

_OTHERS = (
    "(my (neighbour|neighbor|ex|boss|landlord|flatmate|brother|sister|mother in law|tenant|"
    "colleague|wife|husband|teacher)|{person}|the (student|couple|people|man|family) "
    "(upstairs|next "
    "door|downstairs|in flat (two|3b|nine))|some other (customer|subscriber)|mister {person})"
)
MORE_REFUSED = (
    f"(can|could|would) you (read (out |)|open|check|send me|tell me|look up|pull up) the (invoice|"
    f"bill|usage|statement|balance|number|address|plan|account) of {_OTHERS}[,] [they're (away|on "
    f"holiday)|(he|she|they) asked me to|it's fine]",
    f"(what|which) (number|numbers|people) (does|did|has) {_OTHERS} (call|called|ring|text) [at "
    f"night|yesterday|last week]",
    "(where is|locate|find|track) (my (wife|husband|boyfriend|daughter|boss|ex)|{person})'s "
    "(phone|mobile|handset) [right now|at the moment]",
    f"(where is|can you see where) {_OTHERS} [is] (right now|at the moment|tonight) [by "
    f"(the|their) "
    f"phone]",
    f"(cut off|switch off|slow down|pause|block|disconnect|throttle|kill|restart) the (internet|"
    f"wifi|phone|router|sim|line) of {_OTHERS}[,] [(he's|she's|they're) (so |too |)(noisy|loud|"
    f"annoying|rude)|as a prank|for revenge]",
    f"(block|cancel|change|suspend|cut) {_OTHERS}'s (sim|phone|number|plan|line|contract|internet)"
    f"[,] [(he|she) owes me money|as a joke|(he|she) is mean]",
    f"(what's|what is|give me|tell me|do you know|i need) the (wifi|router) (password|code|key) "
    f"(in|at|of|for|from) (the (cafe|shop|bar|pub|hotel|library|office|flat) (below|above|next "
    f"to|opposite|near) (us|me)|{_OTHERS}|the coffee shop)",
    f"(i'm|i am) (calling|ringing|speaking) (on behalf of|for|in the name of) {_OTHERS}[,] (tell "
    f"me|i need to know|read me) (what (he|she|they) owe[s]|(his|her|their) (bill|balance|data))",
    "(let me|can i|i want to|show me how to) (see|read|get into|have a look at|download) "
    "(another|a "
    "random|any|some other) (subscriber|customer|user|person)'s (usage|bill|account|data|messages)"
    "[,] [any will do|just one|for fun]",
    f"(pay|settle|charge) (my|this) bill (using|with|from|to) (the |)(card|account|money) of "
    f"{_OTHERS}",
    "(new|updated|urgent|secret) (instructions|orders|policy|directive|rules) (from (head office|"
    "your (makers|developer|boss)|the ceo|management))[:] (waive|cancel|drop|refund|delete) (all|"
    "every|the) (fees|fee|bills|limits|charges) (for this caller|for me|today)",
    "(from (now|this point|here) on|starting now|for the rest of this call) you (answer|act|speak|"
    "behave|reply|are) (only |)(as|like) (a (pirate|hacker|free ai|human|villain)|dan|piratebot|my "
    "(friend|servant)|someone) (with no|without) (limits|rules|filter|restrictions)",
    "(what|which) (text|words|message|instructions|rules|prompt) (were you|have you been|did they) "
    "(given|give you|told|fed|shown|set up with) (before (this|we|i) (started|conversation|called)|"
    "by your (makers|company))",
    "(set|put|bring|reset|change|make) (my|the) (balance|bill|debt|debts) (to (zero|nothing)|"
    "disappear|vanish|go away) [and (don't (log|tell) (it|anyone)|nobody will know)]",
    "i('m| am| work) (in|from|with|at) (your (it|security|technical|audit) department|head office|"
    "the (police|tax office|ministry)|the network team)[,] (hand|give|send|show) me (the|all) "
    "(customer |)(passwords|records|accounts|names|data|logs)",
    "(stop|quit|no more|drop) (following|obeying|with) (your|the) "
    "(rules|instructions|orders|script)"
    " (and (just |)(say yes|do as i say|obey|tell me everything|be free))",
    "(give|grant|get|i want|i demand) me [a] (year|month|lifetime|decade) of (free |)(service|"
    "internet|data|roaming|tv) (for nothing|for free|at no cost|on the house) [or (i'll (sue|leave|"
    "tell the press|post about it))]",
    "(let's play a game|imagine|it's opposite day|in a story)[,] (you|where you|and you) (are|"
    "become|play|have to) (an evil ai|the admin|a bank robber|my hacker|unrestricted) and (tell|"
    "give|show) me (everyone's (data|passwords)|how to (hack|steal) (wifi|accounts))",
    "(how (do|can) i|help me|teach me to) (hack|break into|steal|crack|get around|bypass) (my "
    "(neighbour|neighbor)'s (wifi|network|router)|a wifi (network|password)|the (bill|data limit|"
    "security code)|somebody's phone)",
    "(skip|forget|bypass|turn off|never mind) the (security|confirmation|verification|code|checks|"
    "limit)[,] (just do it|i'm in a hurry|trust me|it's me|nobody checks)",
    "(delete|erase|remove|hide|wipe) (all |)(my|the|everyone's) (bills|debts|records|history|"
    "charges|call log) [from (your|the) (system|database)]",
    "(you|assistant)[,] (must|have to|will) (obey|do whatever i say|ignore (your|the) (owner|"
    "company|rules)|answer every question without (limits|refusing))",
)
MORE_NOT_MY_TOOLS = (
    "(i'd like to|i want to|i need to|how do i|where can i|let me) (file|make|lodge|raise|submit|"
    "send in) a (complaint|claim|formal complaint) [about (last week's (engineer|technician|call)|"
    "your (service|staff)|the (visit|installation)|a rude (agent|colleague))]",
    "(you|they|your company) (charged|billed|debited) me (twice|double|too much|for something i "
    "never had|wrongly)[,] [and] (i want (it|that) (refunded|back)|give it back|please refund it|"
    "correct it)",
    "(i'd like|i want|give me|can i (get|have)|when do i get) my money (back|returned|refunded) "
    "(for (last week|the days without internet|the outage|this)|please|)",
    "(what|why) (on earth |in the world |exactly |)(is|are) (this|these|that|the) "
    "[strange|odd|extra|service|monthly|unknown] "
    "(fee|charge|charges|item|extra|position|surcharge) [(on|in) my (bill|statement|invoice)|for]",
    "(we're|we are|i'm|my parents are) (relocating|moving|moving house|changing flats) (in (march|"
    "june|the spring|a month)|soon|to (another city|the coast|a new flat))[,] (how do (we|i) "
    "(bring|take|move)|can (we|i) (take|keep|transfer)|what about) (the|our|my) (line|internet|"
    "number|contract|service) [along|with us]",
    "(i want|i'd like|how do i|i've decided) to (terminate|end|cancel|quit|close|leave|get out of) "
    "(my|the|our) (contract|account|subscription|service) [at the end of the (year|month)|with "
    "immediate effect|altogether]",
    "(i'd like to|can i|i want to|how do i) (keep|bring|port|take|transfer) my [old] (number|phone "
    "number) [to (you|another (company|provider))|from my old provider]",
    "(my (sim|card|phone|new modem|router)) (doesn't fit|is broken|never arrived|was damaged in "
    "the "
    "post|needs (replacing|exchanging))[,] [i need a (new|replacement) one|send me another]",
    "(i|we) (want|need|would like|'d like) (to (order|buy|lease|add)|) (a (new|second|spare|bigger|"
    "replacement) (sim|sim card|phone|modem|router|tv box|line|landline|remote control))",
    "(do you|can i|could i|are you able to) (have|offer|get|give me) (a |any |)(discount|loyalty "
    "bonus|special offer|student price|senior rate|voucher|deal for (old|new) customers)",
    "(when|how long) (does|is|until) my (contract|minimum term|subscription) (run|end|up|over|"
    "renewed) [exactly]",
    "(my (name|surname|email|address|bank|card)) (has|is) (changed|wrong|misspelt|new|expired)[,] "
    "[i got married|please (update|correct) it|what do i do]",
    "(i want to|can i|please|i need to) (add|remove|put) my (wife|husband|son|flatmate) "
    "(to|on|from) "
    "(my|the) (account|contract)",
    "(can you|could you|i need you to|please) (email|post|send|print) me (a (copy|receipt|paper "
    "bill|contract)|my (contract|receipt|invoices)|the terms) [again]",
    "(your|the) (engineer|technician|installer|shop|driver) (never (came|turned up)|didn't show "
    "up|was rude|broke my (wall|vase|table)|left a mess) [i want to complain|yesterday]",
)
