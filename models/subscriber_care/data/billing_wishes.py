"""What callers say who want to hear a bill, or to pay one."""

from models.subscriber_care.data.indirect import CURRENT_BILL, LAST_BILL, PAY_ALL, PAY_SUM

OPEN_BALANCE = (
    *CURRENT_BILL,
    "(i'd like to know|can you tell me|what's|tell me|may i ask|let me know|could i get) my "
    "(outstanding|open|current|latest|total|remaining|unpaid) (amount|sum|balance|charges|total|"
    "debt) "
    "[please|with you]",
    "(how much|what) (money |)(do i|am i supposed to|have i got to|must i|should i|would i) (owe|"
    "pay|"
    "cough up|transfer) [you] [this month|for this month|right now|at the moment|in total|still]",
    "(what|how much) (will|does|is) (this month|the current month|this bill|my service|it) (cost|"
    "come "
    "to|costing) [me]",
    "(so|well|okay|and|right)[,] (what's the damage|what do i owe you|how much is it|what's my "
    "bill "
    "like|how bad is my bill|what do you want from me) [this (month|time)|then|for this month]",
    "(when|by when|how soon|until when) (is|do i have to pay|must i pay|should i pay) (my|the|"
    "this) "
    "(bill|invoice|balance|payment) [due]",
    "(am i|are we) (in debt|behind|behind on payments|paid up|all paid up|in the red|square) [with "
    "you]",
    "(anything|something|how much is) (open|left to pay|unpaid|outstanding|due) on (my|this|our) "
    "(account|bill|line)",
    "(whats|what is|wheres|how much is) my (bill|balance|invoice) (this|for this|for the current) "
    "month",
    "(check|look at|pull up|open|read|go over) (my|the|this month's) (bill|invoice|account balance|"
    "statement) [for me|again]",
    "(how are we doing|where do i stand|what's the situation|how does it look) (on|with) (my "
    "bill|my "
    "account|payments|what i owe)",
    "(i'd like to know|i was wondering|just checking|let me know|i'm curious) (what i owe|how "
    "much i have to "
    "pay|my balance|the amount due|what my bill is|how much is outstanding|what this month costs "
    "me)",
    "(has|did) my [new] (bill|invoice) (arrived|arrive|come|come in|been issued) [yet] [how much "
    "is it]",
    "(what's|what is|tell me|read me|show me|check|give me|let me hear) my "
    "[current|latest|newest|open] "
    "(bill|balance|invoice|account balance|total|amount due) [please|this month|right now|for "
    "this month]",
    "(how much) (do i owe|is my bill|do i have to pay|is my balance|do i need to pay|is due|is "
    "my current "
    "bill|is outstanding|am i being charged) [you|this month|right now|on my account|now|at the "
    "moment]",
    "(what do i owe|what's due|what's outstanding|when is my bill due|is my bill ready|is "
    "anything due|do "
    "i owe (you |)(anything|money)|what's the damage this month) [you|now|on my account]",
    "(can you|could you|please|i want to|i'd like to|i need to) (read|check|tell "
    "me|hear|see|know|look "
    "up|get|show me) [out] my [current] (bill|balance|invoice) [for this month]",
    "(my|this month's|the current) (bill|invoice|balance) [please|how much is it]",
    "(how high|how big|how expensive) is (my bill|this month's bill|the current bill)",
)
LAST_BILL_WISHES = (
    *LAST_BILL,
    "(what|how much) (was i|did you|have you|did i get) (billed|charge me|charged|invoiced|bill "
    "me) "
    "(for |)(in |)(the previous month|last month|the month before|the month before this one)",
    "(could|can) you (let me know|tell me|say|read out|check) what (i was (billed for|charged)|i "
    "paid|"
    "it came to|my bill was) (in the previous month|last month|the month before)",
    "(remind me|do you know|i forgot) (what|how much) (i paid|my bill was|it was|i spent) (last "
    "month|"
    "in the previous month|the last time|last time)",
    "(my|the) (bill|invoice|statement) (from|for|of) (last month|the previous month|the month "
    "before)",
    "(and|what about) the month before (this one|that)",
    "compare with (last month|my last bill|the previous bill)",
    "(what|how much) (was|did) (the bill|it|my account|i) (come to|cost|run up|add up to) (last "
    "month|the "
    "month before|in the previous month)",
    "(go back|look back) to (last month|the previous month) [and tell me what i (paid|owed)]",
    "(what was|how much was|tell me|read me|show me|check|what did i pay on|how high was|i want "
    "to see|"
    "can you read me|could you tell me|i'd like to hear) (my (last|previous) (bill|invoice)|last "
    "month's "
    "(bill|invoice)|the (bill|invoice) (from|of|for) last month|the previous month's bill|my "
    "bill from "
    "last month|the (bill|one) before this one|the last bill) [please]",
    "(what|how much) did i (pay|owe|get charged|spend) [on my bill|for my (bill|service)] last "
    "month",
    "(last|previous) (month's bill|bill|month|invoice) [please]",
    "how much (was i charged|were you charging me|did you charge me|did you bill me) last month",
)
EITHER_BILL = (
    "(read me|tell me about|get|show me|i have a question about|let's look at|check) (a|one of "
    "my|an old|"
    "one) (bill|bills|of the bills|invoice)",
    "(which bills (do you have|can you read)|can you read (me |)bills|i want to hear a bill)",
)
PAY_SUM_WISHES = (
    *PAY_SUM,
    "(can you|could you|would you|please) (take|knock|get) {amount} off (what i owe|my balance|my "
    "debt)"
    " [please|for me]",
    "(let's|i'd like to|shall we|i want to) (do|make|set up|arrange) a payment (for|of|over) "
    "{amount}",
    "(i'd like|i want|i would like) {amount} to go (towards|to|on|against) (my|the) (balance|bill|"
    "account)",
    "{amount} [please][,] (towards|to|for|on) the bill",
    "(could i|may i|can we) (put|place|leave) {amount} (on|down on|towards) (the|my) (account|bill|"
    "balance|invoice)",
    "(make it|let it be|that's) a payment of {amount}",
    "(only|just) {amount} (for now|today|this time) [please]",
    "(charge|debit|bill|take) my (card|account) {amount} [for the bill|please|now]",
    "(here is|here's|you can have|you'll get) {amount} [from me] [for (my|the) bill|on account]",
    "(i got paid|payday|i have some money) [today] [so] (put|take|pay|i'll pay) {amount} [off my "
    "bill|"
    "on my bill|of what i owe]",
    "(let's do|let's make it|do|i'll do|i'll give you|here's|take|get|knock|i'll send|send|use) "
    "{amount} [off "
    "|towards|on|against|for] (the bill|my bill|what i owe|my balance|the account|my invoice)",
    "{amount} (towards|on|off|for|against|to|from) (my|the) "
    "(bill|balance|account|debt|invoice|outstanding amount)",
    "(could i|i'd like to|i want to|can i|let me|i'll) (put|transfer|contribute|knock|chip "
    "in|send|drop) {amount} "
    "(on|off|towards|into|down on|against) (the bill|my account|my balance|what i owe|it)",
    "(i want to|i'd like to|i need to|can i|could i|let me|i wanna|please|i'm going to|i'll|i "
    "would like "
    "to|go ahead and) pay {amount} [(on|towards|off|of|toward|for|against) (my|the) "
    "(bill|balance|account|"
    "open balance)] [today]",
    "(pay|put|take|charge) {amount} [(on|towards|off|toward|for|against|from) (my|the) "
    "(bill|balance|"
    "account|card)]",
    "(make|i want to make|i'd like to make|can i make|can you take|process|i need to make) a "
    "payment of "
    "{amount} [on my bill|today|towards my balance]",
    "a {amount} payment [on my bill] [please]",
    "(can you|could you|please) (take|pay|put|charge|process) {amount} (off|on|towards|for) my "
    "(bill|"
    "balance|account)",
    "(i can only|i can|i could) (pay|afford|do|manage) {amount} (today|now|this month|this week)",
    "(pay|payment) {amount}",
    "i have {amount} (to put|i can put|for you) (on|towards) my (bill|balance)",
)
PAY_ALL_WISHES = (
    *PAY_ALL,
    "(just|simply|please|go ahead and|would you) (settle|clear|pay|square|zero out|sort) (the "
    "entire|"
    "the whole|my whole|my outstanding|my entire|all of my|the open) (thing|bill|balance|account|"
    "amount|debt|invoice) [for me|completely|off|now]",
    "(i'd like to|let's|i want to|can we) (get|have) (my|the|this) (bill|balance|account|debt) "
    "(paid|settled|cleared|off my back|over with) [now|today|please]",
    "(take|charge|collect|debit) (whatever i owe|it all|all that's due|the full sum|what's due|the "
    "total amount) [from my (card|account)|now|please]",
    "(i'll|let me|i want to|i'd like to) (settle up|pay up|square up|pay in full|pay everything "
    "off|"
    "clear my debt) [now|today|with you|please]",
    "(go ahead and|just|let's|time to|i'm ready to|help me) (pay|settle|clear|take care of) (my "
    "bill|the whole "
    "bill|all of it|what's open|my outstanding balance|everything i owe|the full amount)",
    "(pay|i want to pay|i'd like to pay|can i pay|let me pay|please pay|can you "
    "pay|settle|clear|i need "
    "to pay|i wanna pay|i'm calling to pay|could i settle|pay off) (my|the|this) (bill|whole "
    "bill|full "
    "bill|entire bill|balance|full balance|whole balance|entire balance|outstanding balance|open "
    "balance|"
    "internet bill|phone bill|account|invoice) [in full|today|right now|completely|off]",
    "(pay|i want to pay|i'll pay|let me pay|i'd like to pay|settle) (everything|all of it|it "
    "all|it in "
    "full|the full amount|the whole thing|the lot|what i owe|the total|it|the full balance) "
    "[today|now]",
    "(take|charge|put) (the full amount|everything|the whole balance|what i owe) (from|to|on) my "
    "card",
    "pay (off |)[all] [of] my (bill|debt|open invoice) please",
)
PAY_UNSAID = (
    "(i want to|i'd like to|can i|let me|i could) (pay|put in|send|give you) (a bit|some|part|"
    "something|a little bit) (of the debt|of it|towards it|of the total|now and the rest later)",
    "(can i|may i|could i|i'd like to) pay in (instalments|parts|two parts|several payments)",
    "(i want to|i'd like to|i need to|can i|could i|let me) (make a [partial] payment|pay "
    "(something|some|"
    "a bit|part of it|a part of my bill|some of my bill|a little)|make a part payment)",
    "(pay|put) (something|a bit|some money|a little|some of it|part of it) (on|towards|off) my "
    "(bill|"
    "balance|account)",
    "(make|take) a [partial|part|small] payment",
)
RELATIVE = (
    "(half|a third|a quarter|most|a part|some) of (the|my) (open amount|outstanding amount|debt|"
    "total|"
    "invoice|what's due)",
    "(half|a third|a quarter|most|some|two thirds|part|fifty percent|ten percent|the rest) (of "
    "it|of my "
    "bill|of the balance|of what i owe)",
    "(half|as much as i can|the minimum|as little as possible|the same as last "
    "(month|time)|whatever the "
    "minimum is)",
)
