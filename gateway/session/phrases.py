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

TOOL_LOOP = "I'm sorry, I could not finish that. Could you say it again in other words?"
"""The model kept calling tools without answering."""

NOT_DONE = "All right, I have not done that."
"""What the model is shown of its answer, when a read-back was answered with something else."""

HOW_MUCH = "Sure, how much would you like to pay, in whole dollars?"
HOW_LONG = "Sure, for how many minutes should I pause it?"
WHICH_COUNTRY = "Sure, which country is the pass for?"
HOW_MANY_DAYS = "Sure, for how many days?"
"""The caller has not said a value that the call needs."""


def told_plainly(result: str) -> str:
    """What is said of a tool's result (JSON text) when the model cannot read it out."""
    failed = '"error"' in result
    return "That could not be done." if failed else "That is done."
