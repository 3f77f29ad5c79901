from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

import pytest

from gateway.config.keys_file import edit_keys, new_key
from gateway.core.budget import TurnClass
from gateway.core.errors import ClassNotAllowed, ConfigError, RateLimited, Unauthenticated
from gateway.core.limits import Limits
from gateway.core.turn import Principal
from gateway.edge.access import KeyGatekeeper, OpenGatekeeper

if TYPE_CHECKING:
    from pathlib import Path

AGENT, VOICE = TurnClass.AGENT, TurnClass.VOICE
UNLIMITED = Limits()


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def add_key(
    path: Path, *, classes: tuple[TurnClass, ...] = (AGENT,), limits: Limits = UNLIMITED
) -> tuple[str, str]:
    key, key_id, entry = new_key(
        tenant="acme", classes=classes, limits=limits, created=datetime.date(2030, 1, 2)
    )
    with edit_keys(path) as keys:
        keys[key_id] = entry
    return key, key_id


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def test_an_open_site_takes_everyone_as_local() -> None:
    gatekeeper = OpenGatekeeper()
    assert gatekeeper.authenticate(None) == Principal("local")
    assert gatekeeper.authenticate("Bearer sk-anything") == Principal("local")
    lease = gatekeeper.admit(Principal(), TurnClass.BATCH)
    lease.charge_tokens(10**9)
    lease.release()


def test_a_key_names_its_tenant(keys_file: Path) -> None:
    key, key_id = add_key(keys_file)
    gatekeeper = KeyGatekeeper(keys_file)
    for spelling in (f"Bearer {key}", f"bearer {key}", f"  Bearer   {key} "):
        assert gatekeeper.authenticate(spelling) == Principal("acme", key_id)


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer ", "Basic abc", "abc"])
def test_no_key(keys_file: Path, given: str | None) -> None:
    add_key(keys_file)
    with pytest.raises(Unauthenticated, match="needs a key"):
        KeyGatekeeper(keys_file).authenticate(given)


def test_wrong_keys(keys_file: Path) -> None:
    key, key_id = add_key(keys_file)
    other, _ = add_key(keys_file)
    gatekeeper = KeyGatekeeper(keys_file)
    secret = other.rsplit("_", 1)[1]
    for given in (
        "x",
        "fh_",
        "fh_a_b",
        f"fh_{key_id}_",
        f"fh_{key_id}_{secret}",
        key[:-1],
        "é" * 9,
    ):
        with pytest.raises(Unauthenticated, match="does not know"):
            gatekeeper.authenticate(f"Bearer {given}")


def test_a_key_grants_only_its_classes(keys_file: Path) -> None:
    _, key_id = add_key(keys_file, classes=(AGENT, TurnClass.BATCH))
    gatekeeper = KeyGatekeeper(keys_file)
    gatekeeper.admit(Principal("acme", key_id), AGENT).release()
    with pytest.raises(ClassNotAllowed, match="'voice'; granted: agent, batch"):
        gatekeeper.admit(Principal("acme", key_id), VOICE)


def test_limits_are_counted_by_key(keys_file: Path) -> None:
    clock = Clock()
    _, first = add_key(keys_file, limits=Limits(requests_per_minute=1, tokens_per_minute=60))
    _, second = add_key(keys_file, limits=Limits(max_concurrent=1))
    gatekeeper = KeyGatekeeper(keys_file, monotonic=clock)
    lease = gatekeeper.admit(Principal("acme", first), AGENT)
    with pytest.raises(RateLimited, match="1 requests per minute") as refused:
        gatekeeper.admit(Principal("acme", first), AGENT)
    assert refused.value.retry_after_s == pytest.approx(60.0)
    lease.charge_tokens(120)
    clock.now_s = 60.0
    with pytest.raises(RateLimited, match="60 tokens per minute"):
        gatekeeper.admit(Principal("acme", first), AGENT)

    other = gatekeeper.admit(Principal("acme", second), AGENT)
    with pytest.raises(RateLimited, match="1 turns at the same time"):
        gatekeeper.admit(Principal("acme", second), AGENT)
    other.release()
    gatekeeper.admit(Principal("acme", second), AGENT)


def test_reload_keeps_counts_takes_new_keys_and_drops_revoked_ones(keys_file: Path) -> None:
    key, key_id = add_key(keys_file, limits=Limits(max_concurrent=1))
    gatekeeper = KeyGatekeeper(keys_file)
    lease = gatekeeper.admit(Principal("acme", key_id), AGENT)
    added, _ = add_key(keys_file)
    with pytest.raises(Unauthenticated):
        gatekeeper.authenticate(f"Bearer {added}")
    gatekeeper.reload()
    gatekeeper.authenticate(f"Bearer {added}")
    with pytest.raises(RateLimited):
        gatekeeper.admit(Principal("acme", key_id), AGENT)

    with edit_keys(keys_file) as keys:
        del keys[key_id]
    gatekeeper.reload()
    with pytest.raises(Unauthenticated):
        gatekeeper.authenticate(f"Bearer {key}")
    with pytest.raises(Unauthenticated):
        gatekeeper.admit(Principal("acme", key_id), AGENT)
    lease.release()


def test_a_key_that_was_revoked_and_is_back_begins_anew(keys_file: Path) -> None:
    _, key_id = add_key(keys_file, limits=Limits(requests_per_minute=1))
    gatekeeper = KeyGatekeeper(keys_file, monotonic=Clock())
    lease = gatekeeper.admit(Principal("acme", key_id), AGENT)
    with edit_keys(keys_file) as keys:
        entry = keys.pop(key_id)
    gatekeeper.reload()
    with edit_keys(keys_file) as keys:
        keys[key_id] = entry
    gatekeeper.reload()
    lease.release()
    gatekeeper.admit(Principal("acme", key_id), AGENT)
    with pytest.raises(RateLimited):
        gatekeeper.admit(Principal("acme", key_id), AGENT)


def test_a_spoiled_keys_file_leaves_the_old_keys_in_force(keys_file: Path) -> None:
    key, _ = add_key(keys_file)
    gatekeeper = KeyGatekeeper(keys_file)
    good = keys_file.read_text()
    for spoiled in ("keys = ", good.replace("tenant", "tenent"), good.replace("agent", "root")):
        keys_file.write_text(spoiled)
        with pytest.raises(ConfigError, match=r"keys\.toml"):
            gatekeeper.reload()
        gatekeeper.authenticate(f"Bearer {key}")


def test_a_keys_file_that_was_emptied_is_told(
    keys_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key, _ = add_key(keys_file)
    gatekeeper = KeyGatekeeper(keys_file)
    assert not caplog.records
    keys_file.write_text("")
    gatekeeper.reload()
    assert f"{keys_file} holds no key: nobody is let in" in caplog.text
    with pytest.raises(Unauthenticated):
        gatekeeper.authenticate(f"Bearer {key}")
