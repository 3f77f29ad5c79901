"""Whose address is whose: checks, nominations, restarts, expiry and copies."""

from __future__ import annotations

import hmac
import secrets

from hypothesis import given
from hypothesis import strategies as st

from gateway.media.worker.ice import (
    CONSENT_S,
    Address,
    CallAddresses,
    Credentials,
    Terms,
    Verdict,
)
from gateway.media.worker.stun import BindingRequest

HOME: Address = ("192.0.2.1", 1)
ELSEWHERE: Address = ("192.0.2.2", 2)


def terms(their_ufrag: str = "them") -> Terms:
    return Terms(Credentials.fresh(), their_ufrag)


def check(
    of: Terms, *, nominate: bool = True, unknown: tuple[int, ...] = (), pwd: str = ""
) -> BindingRequest:
    signed = secrets.token_bytes(8)
    signature = hmac.digest((pwd or of.ours.pwd).encode(), signed, "sha1")
    transaction = secrets.token_bytes(12)
    return BindingRequest(transaction, of.username, nominate, unknown, signed, signature)


def admit(addresses: CallAddresses, of: Terms, address: Address, now_s: float) -> None:
    request = check(of)
    assert addresses.judge(request, address, of) is Verdict.GENUINE
    addresses.admit(request, address, of, now_s)


def test_names_and_passwords_are_of_ices_alphabet_and_long_enough() -> None:
    ours = Credentials.fresh()
    assert len(ours.ufrag) == 16
    assert len(ours.pwd) == 32
    assert (ours.ufrag + ours.pwd).replace("+", "a").replace("/", "a").isalnum()
    assert Credentials.fresh() != ours


def test_a_client_that_nominates_another_address_takes_the_call_there() -> None:
    agreed = terms()
    addresses = CallAddresses(agreed)
    admit(addresses, agreed, HOME, 0.0)
    assert addresses.nominated == HOME
    request = check(agreed, nominate=False)
    addresses.admit(request, ELSEWHERE, agreed, 1.0)
    assert addresses.nominated == HOME
    admit(addresses, agreed, ELSEWHERE, 2.0)
    assert addresses.nominated == ELSEWHERE
    assert set(addresses.checked_s) == {HOME, ELSEWHERE}


def test_what_is_not_signed_or_is_a_copy_claims_nothing() -> None:
    agreed = terms()
    addresses = CallAddresses(agreed)
    assert addresses.judge(check(agreed, pwd="guess"), HOME, agreed) is Verdict.FORGED
    request = check(agreed)
    assert addresses.judge(request, HOME, agreed) is Verdict.GENUINE
    assert addresses.judge(request, HOME, agreed) is Verdict.GENUINE, "sent again by the client"
    assert addresses.judge(request, ELSEWHERE, agreed) is Verdict.COPIED
    asks_more = check(agreed, unknown=(3,))
    assert addresses.judge(asks_more, HOME, agreed) is Verdict.NOT_UNDERSTOOD


def test_a_restart_keeps_the_old_name_until_the_new_one_is_used() -> None:
    before, after = terms(), terms("again")
    addresses = CallAddresses(before)
    admit(addresses, before, HOME, 0.0)
    addresses.restart(after)
    assert addresses.terms_of(before.username) is before
    admit(addresses, before, ELSEWHERE, 1.0)
    assert addresses.nominated == HOME, "a nomination of before the restart moves nothing"
    admit(addresses, after, ELSEWHERE, 2.0)
    assert addresses.nominated == ELSEWHERE
    assert addresses.terms_of(before.username) is None
    assert addresses.terms_of(f"{after.ours.ufrag}:them") is None


def test_an_address_without_checks_expires() -> None:
    agreed = terms()
    addresses = CallAddresses(agreed)
    admit(addresses, agreed, ELSEWHERE, 0.0)
    admit(addresses, agreed, HOME, 10.0)
    addresses.expire(CONSENT_S + 1.0)
    assert list(addresses.checked_s) == [HOME]
    addresses.expire(CONSENT_S + 11.0)
    assert not addresses.checked_s
    assert addresses.nominated is None


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans()), max_size=60))
def test_what_is_kept_is_bounded_and_holds_where_to_send(moves: list[tuple[int, bool]]) -> None:
    agreed = terms()
    addresses = CallAddresses(agreed)
    for now_s, (host, nominate) in enumerate(moves):
        request = check(agreed, nominate=nominate)
        addresses.admit(request, (f"192.0.2.{host}", 9), agreed, float(now_s))
        addresses.expire(float(now_s))
        assert len(addresses.checked_s) <= 8
        assert addresses.nominated in addresses.checked_s
