"""The few sentences the session itself says, in the assistant's name."""

from __future__ import annotations

NO_ACCESS = "I can't do that here, because this conversation has no access to that."
"""The model called a tool that nobody in this conversation can run."""

NO_CORE_MODEL = (
    "That goes beyond what I can help with. "
    "A larger model would answer it, but none is connected to this site."
)
"""The model handed the turn to the core tier and there is none."""

CORE_FAILED = (
    "That goes beyond what I can help with. "
    "The larger model that would answer it cannot be reached just now, so please try again later."
)
"""The model handed the turn to the core tier, and nothing came back."""

CORE_BROKE_OFF = " I'm sorry, the larger model broke off here."
"""The core tier failed in the middle of its answer."""

ONE_MOMENT = "One moment, I am asking a larger model. "
"""Said to a caller on the phone while the core tier works."""

COULD_NOT = "I'm sorry, I could not do that. Could you say it again in other words?"
"""A tool failed in a way that callers need not know."""

NOT_DONE = "Okay, I have not done that."
"""A read-back was declined."""

LEFT_ALONE = "All right, I leave it as it is."
"""The caller does not want what the model called."""

PAYMENT_STANDS = "I'm sorry, a payment cannot be undone once it is made."
"""The caller wants a payment back."""

NOTHING_ASKED = "All right. What can I do for you?"
"""The caller said yes, and nothing had been asked."""

HOW_MUCH = "Sure, how much would you like to pay, in whole dollars?"
HOW_LONG = "Sure, for how many minutes should I pause it?"
WHICH_COUNTRY = "Sure, which country is the pass for?"
HOW_MANY_DAYS = "Sure, for how many days?"
WHICH_PLAN = "Sure, which plan would you like: Basic, Plus or Unlimited?"
LOST_OR_STOLEN = "Sure, was it lost or stolen?"
WHICH_DEVICE = "Sure, which one: the modem, the router or the TV box?"
WHICH_DAY = "Sure, which day suits you?"
WHICH_WINDOW = "Sure, in the morning, in the afternoon or in the evening?"
WHICH_VISIT = "Would you like to book a technician visit, or to cancel one?"
FOR_WHOM = "Sure, for the kids, for guests or for everyone?"
"""The caller has not said a value that the call needs."""

NOT_CAUGHT = "I'm sorry, I did not catch that."
ONCE_MORE = "Could you say it again?"
SAY_AGAIN = f"{NOT_CAUGHT} {ONCE_MORE}"
"""A caller's words were lost: the recogniser failed, or is not sure of them."""

CUT_OFF = "I'm sorry, we were cut off."
"""The line was lost and is there again."""

WRONG_CODE = "I'm sorry, that is not the code."
NOT_VERIFIED = "I'm sorry, I could not verify you, so I can't do anything on this account just now."
"""Too many wrong codes were said for the account."""

LINES_BUSY = "I'm sorry, all lines are busy. Please call again in a few minutes."
"""The site is full: what a caller hears who has nothing to read it on."""

STILL_THERE = "Are you still there?"
"""Nobody has said anything for a while."""

AI_NOTICE = "Hello, you are talking to an AI assistant. What can I do for you?"
"""The first thing a caller hears, where it is told that no human speaks."""

NO_ANSWER = "I'm sorry, I cannot answer just now. Please try again in a moment."
"""A caller's turn was shed or failed."""

PROMPTS = (AI_NOTICE, LINES_BUSY, SAY_AGAIN, STILL_THERE, NO_ANSWER, ONE_MOMENT)
"""What is said in calls so often that its sound is kept."""
