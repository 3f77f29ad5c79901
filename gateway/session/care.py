"""The demo subscriber's account and what each subscriber-care tool does to it.

Pure: an account and arguments in, the new account and the tool's result out. `account` keeps the
result of every call, so that a repeated call changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec

from gateway.core.countries import COUNTRIES, written


class Effect(StrEnum):
    """What a tool does to the world, and so what it needs before it may run."""

    READ = "read"
    REVERSIBLE = "reversible"
    IRREVERSIBLE = "irreversible"
    """Read back and confirmed by the session first."""


class Visit(msgspec.Struct, frozen=True):
    """A booked technician visit."""

    day: str
    window: str
    reference: str


class Account(msgspec.Struct, frozen=True):
    """A subscriber's state. The defaults are the demo subscriber."""

    open_dollars: int = 64
    current_bill_dollars: int = 64
    last_bill_dollars: int = 59
    due_in_days: int = 9
    plan: str = "basic"
    next_plan: str = ""
    """The plan that begins with the next bill; empty when it stays the same."""
    used_gb: int = 12
    allowance_gb: int = 20
    down_mbps: int = 94
    up_mbps: int = 18
    outages: dict[str, str] = msgspec.field(default_factory=lambda: {"tv": "6 pm"})
    visit: Visit | None = None
    num_visits: int = 0
    roaming: dict[str, int] = {}
    paused_minutes: dict[str, int] = {}
    sim_blocked: str = ""
    security_code: str = "4277"
    """What callers are asked for where the site verifies them."""


Arguments = dict[str, Any]
Result = dict[str, Any]
DECLINED: Result = {"error": "declined_by_caller"}

_ROAMING_DOLLARS_PER_DAY = 2
_COVERED = frozenset(COUNTRIES) - {"north korea", "vatican city"}
_change = msgspec.structs.replace


def _check_outage(account: Account, args: Arguments) -> tuple[Account, Result]:
    service = args["service"]
    fixed_by = account.outages.get(service)
    if fixed_by is None:
        return account, {"service": service, "outage": False}
    return account, {"service": service, "outage": True, "fixed_by": fixed_by}


def _restart_device(account: Account, args: Arguments) -> tuple[Account, Result]:
    return account, {"device": args["device"], "status": "restarting", "ready_in_minutes": 3}


def _run_speed_test(account: Account, args: Arguments) -> tuple[Account, Result]:
    return account, {"down_mbps": account.down_mbps, "up_mbps": account.up_mbps}


def _get_bill(account: Account, args: Arguments) -> tuple[Account, Result]:
    if args["period"] == "last":
        return account, {
            "period": "last",
            "total_dollars": account.last_bill_dollars,
            "open_dollars": 0,
        }
    return account, {
        "period": "current",
        "total_dollars": account.current_bill_dollars,
        "open_dollars": account.open_dollars,
        "due_in_days": account.due_in_days,
    }


def _pay_bill(account: Account, args: Arguments) -> tuple[Account, Result]:
    if account.open_dollars == 0:
        return account, {"error": "nothing_to_pay"}
    paid_dollars = args.get("amount", account.open_dollars)
    if paid_dollars > account.open_dollars:
        return account, {"error": "amount_exceeds_balance", "open_dollars": account.open_dollars}
    after = _change(account, open_dollars=account.open_dollars - paid_dollars)
    return after, {"paid_dollars": paid_dollars, "open_dollars": after.open_dollars}


def _get_data_usage(account: Account, args: Arguments) -> tuple[Account, Result]:
    allowance = "unlimited" if account.plan == "unlimited" else account.allowance_gb
    result = {"used_gb": account.used_gb, "allowance_gb": allowance}
    return account, result | ({"next_plan": account.next_plan} if account.next_plan else {})


def _change_plan(account: Account, args: Arguments) -> tuple[Account, Result]:
    plan = args["plan"]
    if plan == (account.next_plan or account.plan):
        return account, {"error": "already_on_plan", "plan": plan}
    if plan == account.plan:
        return _change(account, next_plan=""), {"plan": plan, "starts": "already"}
    return _change(account, next_plan=plan), {"plan": plan, "starts": "next bill"}


def _book_technician(account: Account, args: Arguments) -> tuple[Account, Result]:
    if account.visit is not None:
        booked = account.visit
        return account, {"error": "already_booked", "day": booked.day, "window": booked.window}
    number = account.num_visits + 1
    visit = Visit(args["day"], args["window"], f"T{4820 + number}")
    after = _change(account, visit=visit, num_visits=number)
    return after, msgspec.to_builtins(visit)


def _cancel_technician(account: Account, args: Arguments) -> tuple[Account, Result]:
    if account.visit is None:
        return account, {"error": "no_visit_booked"}
    cancelled = {"cancelled": True, "day": account.visit.day, "window": account.visit.window}
    return _change(account, visit=None), cancelled


def _show_wifi_password(account: Account, args: Arguments) -> tuple[Account, Result]:
    return account, {"sent_to": "phone ending 42"}


def _pause_wifi(account: Account, args: Arguments) -> tuple[Account, Result]:
    who, minutes = args["who"], args["minutes"]
    after = _change(account, paused_minutes={**account.paused_minutes, who: minutes})
    return after, {"who": who, "minutes": minutes}


def _add_roaming(account: Account, args: Arguments) -> tuple[Account, Result]:
    country, days = args["country"], args["days"]
    if country not in _COVERED:
        return account, {"error": "country_not_covered", "country": country}
    if country in account.roaming:
        return account, {"error": "already_active", "country": country}
    after = _change(account, roaming={**account.roaming, country: days})
    price_dollars = days * _ROAMING_DOLLARS_PER_DAY
    return after, {"country": country, "days": days, "price_dollars": price_dollars}


def _block_sim(account: Account, args: Arguments) -> tuple[Account, Result]:
    if account.sim_blocked:
        return account, {"error": "already_blocked"}
    reason = args["reason"]
    return _change(account, sim_blocked=reason), {"blocked": True, "reason": reason}


def _transfer_to_human(account: Account, args: Arguments) -> tuple[Account, Result]:
    return account, {"transferring": True, "wait_minutes": 4}


class CareTool(msgspec.Struct, frozen=True):
    """A server-side tool: its effect and what it does."""

    effect: Effect
    apply: Callable[[Account, Arguments], tuple[Account, Result]]
    is_public: bool = False
    """Tells or changes nothing of an account: nobody has to be verified for it."""


CARE_TOOLS: dict[str, CareTool] = {
    "check_outage": CareTool(Effect.READ, _check_outage, is_public=True),
    "restart_device": CareTool(Effect.REVERSIBLE, _restart_device),
    "run_speed_test": CareTool(Effect.READ, _run_speed_test, is_public=True),
    "get_bill": CareTool(Effect.READ, _get_bill),
    "pay_bill": CareTool(Effect.IRREVERSIBLE, _pay_bill),
    "get_data_usage": CareTool(Effect.READ, _get_data_usage),
    "change_plan": CareTool(Effect.IRREVERSIBLE, _change_plan),
    "book_technician": CareTool(Effect.REVERSIBLE, _book_technician),
    "cancel_technician": CareTool(Effect.REVERSIBLE, _cancel_technician),
    "show_wifi_password": CareTool(Effect.READ, _show_wifi_password),
    "pause_wifi": CareTool(Effect.REVERSIBLE, _pause_wifi),
    "add_roaming": CareTool(Effect.REVERSIBLE, _add_roaming),
    "block_sim": CareTool(Effect.IRREVERSIBLE, _block_sim),
    "transfer_to_human": CareTool(Effect.READ, _transfer_to_human, is_public=True),
}


DEVICE_NAMES = {"modem": "modem", "router": "router", "tv_box": "TV box"}
"""As they are said."""


def counted(number: int, unit: str) -> str:
    """A number of things as it is said: "1 day", "2 days"."""
    return f"{number} {unit}{'s' * (number != 1)}"


def dollars(number: int) -> str:
    """A sum as it is said: "1 dollar", "64 dollars"."""
    return counted(number, "dollar")


def group_name(who: str) -> str:
    """Whose Wi-Fi it is: "everyone", "the kids"."""
    return who if who == "everyone" else f"the {who}"


def visit_time(visit: Result, *, on: str = "") -> str:
    """The day and window of a visit: "Monday morning"; `on` stands before a weekday."""
    day = visit["day"]
    shown = day if day in ("today", "tomorrow") else f"{on}{day.capitalize()}"
    return f"{shown} {visit['window']}"


def spelled_out(name: str, args: Arguments, account: Account) -> Arguments:
    """The arguments with what they leave open filled in, so that consent is to a sum."""
    if name == "pay_bill":
        return {"amount": account.open_dollars} | args
    return args


def read_back(name: str, args: Arguments, account: Account) -> str:
    """The question the session asks before a tool runs on `spelled_out` arguments."""
    return f"Just to confirm: I will {_action(name, args, account)}. Shall I go ahead?"


def _action(name: str, args: Arguments, account: Account) -> str:
    match name:
        case "pay_bill" if args["amount"] == account.open_dollars:
            return f"pay your whole open balance of {dollars(account.open_dollars)}"
        case "pay_bill":
            return f"pay {dollars(args['amount'])} towards your bill"
        case "change_plan":
            return f"move you to the {args['plan']} plan"
        case "block_sim":
            return f"block your SIM as {args['reason']}"
        case "restart_device":
            return f"restart your {DEVICE_NAMES[args['device']]}"
        case "book_technician":
            return f"book a technician for {visit_time(args)}"
        case "cancel_technician" if account.visit is not None:
            visit = msgspec.to_builtins(account.visit)
            return f"cancel your technician visit {visit_time(visit, on='on ')}"
        case "pause_wifi":
            length = counted(args["minutes"], "minute")
            return f"pause the Wi-Fi for {group_name(args['who'])} for {length}"
        case "add_roaming":
            days = args["days"]
            return (
                f"add a pass for {written(args['country'])} for {counted(days, 'day')}, "
                f"for {dollars(days * _ROAMING_DOLLARS_PER_DAY)}"
            )
        case _:
            return f"do this: {name.replace('_', ' ')}"
