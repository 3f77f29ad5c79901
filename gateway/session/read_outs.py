"""What is said of the result of one of the server's tools: by the session, not by the model.

A wrong sum or date is worse than no answer, so no figure passes through the model on its way to
the caller. A short first clause comes first, then the facts; the wording is the one the model was
trained on, so that it finds its own manner in the history of the next turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.core.countries import written
from gateway.session import phrases
from gateway.session.care import DEVICE_NAMES, counted, dollars, group_name, visit_time

if TYPE_CHECKING:
    from gateway.session.care import Result

_SERVICES = {"internet": "internet", "tv": "TV", "mobile": "mobile", "phone": "phone"}
_OFFERS = {
    "internet": "Shall I restart your router?",
    "tv": "Shall I restart your TV box?",
    "mobile": "Would you like a technician visit?",
    "phone": "Would you like a technician visit?",
}
"""What comes next where no outage explains the trouble."""
_DECLINED = {
    "pay_bill": "Okay, nothing was paid.",
    "change_plan": "Okay, your plan stays as it is.",
    "block_sim": "Okay, your SIM is not blocked.",
}


def read_out(tool: str, result_text: str) -> str:
    """The sentences for the result (JSON text) of a tool of `care`."""
    result: Result = msgspec.json.decode(result_text, type=dict[str, Any])
    if "error" in result:
        return _failure(tool, result)
    match tool:
        case "get_bill":
            return _bill(result)
        case "pay_bill":
            return _payment(result)
        case "book_technician":
            return (
                f"Done, a technician comes {visit_time(result)}. "
                f"Your reference is {result['reference']}."
            )
        case "cancel_technician":
            return f"Done, your visit {visit_time(result, on='on ')} is cancelled."
        case "transfer_to_human":
            wait = counted(result["wait_minutes"], "minute")
            return f"Okay, I'm putting you through now. The wait is about {wait}."
        case "change_plan":
            return _plan(result)
        case _:
            return _line(tool, result)


def _line(tool: str, result: Result) -> str:
    """Results that concern the line, the SIM and the devices on it."""
    match tool:
        case "check_outage":
            return _outage(result)
        case "restart_device":
            ready = counted(result["ready_in_minutes"], "minute")
            device = DEVICE_NAMES[result["device"]]
            return f"Done, your {device} is restarting. It will be ready in {ready}."
        case "run_speed_test":
            down, up = result["down_mbps"], result["up_mbps"]
            return f"Done, I measured {down} megabits down and {up} up."
        case "get_data_usage":
            return _usage(result)
        case "show_wifi_password":
            return f"Done, I sent the Wi-Fi password to your {result['sent_to']}."
        case "pause_wifi":
            length = counted(result["minutes"], "minute")
            return f"Done, Wi-Fi is paused for {group_name(result['who'])} for {length}."
        case "add_roaming":
            return (
                f"Done, your pass for {written(result['country'])} is active for "
                f"{counted(result['days'], 'day')}, for {dollars(result['price_dollars'])}."
            )
        case "block_sim":
            return f"Done, your SIM is blocked as {result['reason']}. Nobody can use it."
        case _:
            raise ValueError(f"no sentence for the results of {tool!r}")


def _failure(tool: str, result: Result) -> str:
    match result["error"]:
        case "declined_by_caller":
            return _DECLINED.get(tool, phrases.NOT_DONE)
        case "nothing_to_pay":
            return "Good news, there's nothing to pay right now."
        case "amount_exceeds_balance":
            # No offer to pay that instead: a "yes" to it would still carry the larger amount.
            return f"Sorry, that's more than you owe: only {dollars(result['open_dollars'])} open."
        case "already_on_plan":
            return f"You're already on the {result['plan'].capitalize()} plan, so nothing changes."
        case "already_booked":
            return f"You already have a visit booked for {visit_time(result)}. Shall I cancel it?"
        case "no_visit_booked":
            return "You have no technician visit booked, so there's nothing to cancel."
        case "country_not_covered":
            return f"Sorry, there's no pass for {written(result['country'])}."
        case "already_active":
            return f"You already have a pass for {written(result['country'])}."
        case "already_blocked":
            return "Your SIM is already blocked, so nobody can use it."
        case _:
            return phrases.COULD_NOT


def _bill(result: Result) -> str:
    total, open_sum = dollars(result["total_dollars"]), result["open_dollars"]
    if result["period"] == "last":
        rest = f"{dollars(open_sum)} still open" if open_sum else "and it's paid"
        return f"Your last bill was {total}, {rest}."
    if open_sum == 0:
        return f"Good news, your bill of {total} is paid. Nothing is open."
    rest = "" if open_sum == result["total_dollars"] else f"{dollars(open_sum)} still open, "
    due = {0: "today", 1: "tomorrow"}.get(
        result["due_in_days"], f"in {counted(result['due_in_days'], 'day')}"
    )
    return f"Your current bill is {total}, {rest}due {due}."


def _payment(result: Result) -> str:
    left = result["open_dollars"]
    rest = f"{dollars(left)} remain{'s' * (left == 1)} open" if left else "Nothing is open any more"
    return f"Done, you paid {dollars(result['paid_dollars'])}. {rest}."


def _plan(result: Result) -> str:
    plan = result["plan"].capitalize()
    if result["starts"] == "next bill":
        return f"Done, you're moving to the {plan} plan with your next bill."
    return f"Done, you stay on the {plan} plan."


def _usage(result: Result) -> str:
    used, allowance = result["used_gb"], result["allowance_gb"]
    if allowance == "unlimited":
        now = f"You've used {used} gigabytes, and your data is unlimited."
    else:
        now = f"You've used {used} of your {allowance} gigabytes this month."
    if "next_plan" not in result:
        return now
    return f"{now} Your {result['next_plan'].capitalize()} plan starts with your next bill."


def _outage(result: Result) -> str:
    service = result["service"]
    if result["outage"]:
        return (
            f"Sorry, yes, there's an outage on your {_SERVICES[service]} service. "
            f"It should be fixed by {result['fixed_by']}."
        )
    return (
        f"Good news, there's no known {_SERVICES[service]} outage at your address. "
        f"{_OFFERS[service]}"
    )
