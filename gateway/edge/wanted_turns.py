"""Which turns `/v1/requests` is asked for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from gateway.core.budget import TurnClass
from gateway.core.errors import InvalidRequest
from gateway.core.stages import Outcome
from gateway.telemetry.record_store import TurnQuery
from gateway.wire.realtime.items import session_of_call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.telemetry.record_store import Pseudonyms
    from gateway.telemetry.records import KeptTurn

DEFAULT_NUM_TURNS: Final = 50
MAX_NUM_TURNS: Final = 1000
FILTERS: Final = (
    "limit", "class", "outcome", "slow", "since", "until", "id", "session", "call", "caller",
    "user", "tenant",
)  # fmt: skip
_Choice = TypeVar("_Choice", TurnClass, Outcome)


class WantedTurns(msgspec.Struct, frozen=True):
    """A query and what its turns must be besides."""

    query: TurnQuery
    turn_class: TurnClass | None
    outcome: Outcome | None
    slow: bool
    tenant: str | None

    @classmethod
    def of(cls, asked: Mapping[str, str], pseudonyms: Pseudonyms) -> WantedTurns:
        """From the parameters of a URL, all optional. Raises InvalidRequest.

        `since` and `until` are RFC 3339 instants, `call` is a voice call's id. `caller` is a
        pseudonym as records show it; `user` is whom a client named, of the `tenant`.
        """
        for name in asked:
            if name not in FILTERS:
                known = ", ".join(FILTERS[:-1])
                raise InvalidRequest(
                    f"{name!r} is no filter; there are {known} and {FILTERS[-1]}", param=name
                )
        query = TurnQuery(
            request_id=asked.get("id"),
            session=_session(asked),
            caller=_caller(asked, pseudonyms),
            since_ns=_instant_ns("since", asked.get("since"), TurnQuery().since_ns),
            until_ns=_instant_ns("until", asked.get("until"), TurnQuery().until_ns),
            limit=_limit(asked.get("limit", str(DEFAULT_NUM_TURNS))),
        )
        return cls(
            query,
            turn_class=_choice(TurnClass, "class", asked.get("class")),
            outcome=_choice(Outcome, "outcome", asked.get("outcome")),
            slow=_flag("slow", asked.get("slow", "0")),
            tenant=asked.get("tenant"),
        )

    def takes(self, turn: KeptTurn) -> bool:
        """Whether a turn of the query is wanted; slow are those that missed their budget."""
        record = turn.record
        return (
            (self.turn_class is None or record.turn_class is self.turn_class)
            and (self.outcome is None or record.outcome is self.outcome)
            and (self.tenant is None or record.tenant == self.tenant)
            and (not self.slow or record.within_budget is False)
        )


def _session(asked: Mapping[str, str]) -> str | None:
    session, call = asked.get("session"), asked.get("call")
    if call is None:
        return session
    if session is not None:
        raise InvalidRequest("call names a session: ask for one of them", param="call")
    return session_of_call(call)


def _caller(asked: Mapping[str, str], pseudonyms: Pseudonyms) -> str | None:
    user, caller = asked.get("user"), asked.get("caller")
    if user is None:
        return caller
    if "tenant" not in asked or caller is not None:
        raise InvalidRequest("user needs the tenant whose user it is, and no caller", param="user")
    return pseudonyms.of(asked["tenant"], user)


def _instant_ns(param: str, given: str | None, default_ns: int) -> int:
    if given is None:
        return default_ns
    try:
        instant = datetime.fromisoformat(given)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        return max(0, round(instant.timestamp() * 1e9))
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(
            f"{param} must be an instant like 2026-11-22T07:00:00Z, not {given!r}", param=param
        ) from error


def _limit(given: str) -> int:
    if given.isascii() and given.isdigit() and 1 <= int(given) <= MAX_NUM_TURNS:
        return int(given)
    raise InvalidRequest(f"limit must be 1 to {MAX_NUM_TURNS}, not {given!r}", param="limit")


def _choice(kind: type[_Choice], param: str, given: str | None) -> _Choice | None:
    if given is None:
        return None
    if given in list(kind):
        return kind(given)
    raise InvalidRequest(f"{param} must be one of {', '.join(kind)}, not {given!r}", param=param)


def _flag(param: str, given: str) -> bool:
    if given in ("0", "1"):
        return given == "1"
    raise InvalidRequest(f"{param} must be 0 or 1, not {given!r}", param=param)
