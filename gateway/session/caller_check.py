"""Carries out the check of callers: whose code, and how often it may be guessed."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.core.caller_check import QUESTION, check_caller
from gateway.session import phrases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.core.turn import Message
    from gateway.session.account import AccountStore

_MAX_WRONG: Final = 5
"""Different wrong codes for one account within `_KEPT_S`; then nobody is verified for it."""
_KEPT_S: Final = 900.0
_MAX_TENANTS: Final = 4096


class Review(NamedTuple):
    """A conversation without codes, whether its caller is known, and what to say at once."""

    messages: tuple[Message, ...]
    is_verified: bool
    answer: str = ""


class CallerCheck:
    """Knows which codes were wrong lately, by tenant, in this process."""

    def __init__(
        self, store: AccountStore, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._wrong: OrderedDict[str, dict[str, float]] = OrderedDict()
        """When each wrong code was first seen."""

    async def review(self, tenant: str, messages: Sequence[Message]) -> Review:
        """Read a conversation of the tenant's. Raises what `AccountStore.account` raises."""
        account = await self._store.account(tenant)
        checked = check_caller(messages, account.security_code)
        if self._is_locked(tenant, checked.wrong_codes):
            answer = phrases.NOT_VERIFIED if checked.is_wrong_now or checked.is_verified else ""
            return Review(checked.messages, is_verified=False, answer=answer)
        answer = f"{phrases.WRONG_CODE} {QUESTION}" if checked.is_wrong_now else ""
        return Review(checked.messages, checked.is_verified, answer)

    def _is_locked(self, tenant: str, wrong_codes: frozenset[str]) -> bool:
        now_s = self._monotonic()
        seen = self._wrong.pop(tenant, {})
        seen = {code: at_s for code, at_s in seen.items() if now_s - at_s < _KEPT_S}
        for code in wrong_codes:
            seen.setdefault(code, now_s)
        if seen:
            self._wrong[tenant] = seen
        if len(self._wrong) > _MAX_TENANTS:
            self._wrong.popitem(last=False)
        return len(seen) >= _MAX_WRONG
