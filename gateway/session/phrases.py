"""The few sentences the session itself says, in the assistant's name."""

from __future__ import annotations

NO_ACCESS = (
    "I can't do that here, because this conversation has no access to your account. "
    "Ask for the server's tools to be switched on."
)
"""The model called a tool that this conversation does not have."""

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

TOOL_LOOP = "I'm sorry, I could not finish that. Could you say it again in other words?"
"""The model kept calling tools without answering."""

NOT_DONE = "All right, I have not done that."
"""What the model is shown of its answer, when a read-back was answered with something else."""

HOW_MUCH = "Sure, how much would you like to pay, in whole dollars?"
HOW_LONG = "Sure, for how many minutes should I pause it?"
WHICH_COUNTRY = "Sure, which country is the pass for?"
HOW_MANY_DAYS = "Sure, for how many days?"
WHICH_DAY = "Sure, which day suits you?"
"""The caller has not said a value that the call needs."""


def told_plainly(result: str) -> str:
    """What is said of a tool's result (JSON text) when the model cannot read it out."""
    failed = '"error"' in result
    return "That could not be done." if failed else "That is done."
