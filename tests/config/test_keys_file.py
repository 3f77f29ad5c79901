from __future__ import annotations

import datetime
import stat
from typing import TYPE_CHECKING

import pytest

from gateway.config.keys_file import KeyEntry, edit_keys, new_key, read_keys, split_key
from gateway.core.budget import TurnClass
from gateway.core.errors import ConfigError, SetupError
from gateway.core.limits import Limits

if TYPE_CHECKING:
    from pathlib import Path

DAY = datetime.date(2030, 1, 2)


def made(limits: Limits | None = None, tenant: str = "acme") -> tuple[str, str, KeyEntry]:
    classes = (TurnClass.AGENT, TurnClass.VOICE)
    return new_key(tenant=tenant, classes=classes, limits=limits or Limits(), created=DAY)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    entries = {}
    for limits in (Limits(), Limits(60.0, 1e6, 4), Limits(max_concurrent=1)):
        key, key_id, entry = made(limits)
        entries[key_id] = entry
        with edit_keys(path) as keys:
            keys[key_id] = entry
        assert key.split("_")[2] not in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(path) == entries
    assert list(path.parent.iterdir()) == [path]


def test_a_key_matches_its_own_entry_only() -> None:
    first, _, entry = made()
    second, _, _ = made()
    assert first != second
    for key, expected in ((first, True), (second, False)):
        parts = split_key(key)
        assert parts is not None
        assert entry.matches(parts[1]) is expected


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "keys.toml"
    path.write_text("")
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_keys(path)


def test_a_digest_that_is_no_whole_number_of_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    entry = made()[2]
    with edit_keys(path) as keys:
        keys["a"] = entry
    path.write_text(path.read_text().replace(entry.salt, f"{entry.salt}0"))
    with pytest.raises(ConfigError, match=r"keys\.a: .*salt"):
        read_keys(path)


def test_a_failed_edit_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    with edit_keys(path) as keys:
        keys["a"] = made()[2]
    before = path.read_bytes()

    def failing_edit() -> None:
        with edit_keys(path) as keys:
            keys.clear()
            raise SetupError("stop")

    with pytest.raises(SetupError, match="stop"):
        failing_edit()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_two_edits_at_once_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    with (
        edit_keys(path) as keys,
        pytest.raises(SetupError, match="another `firsthop key`"),
        edit_keys(path),
    ):
        keys.clear()
    assert read_keys(path) == {}


@pytest.mark.parametrize("tenant", ["", 'a"b', "a b", "-a", "a" * 65, "a\nb", "acme\n"])
def test_a_tenant_that_the_file_cannot_hold_is_refused(tenant: str) -> None:
    with pytest.raises(ConfigError, match="tenant"):
        made(tenant=tenant)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1\n", r"keys\.toml:1: x: a keys file has only"),
        ("keys = 3\n", r"keys\.toml:1: keys: a keys file has only"),
        ("\n[keys.ab]\ntenant = 'a'\n", r"keys\.toml:2: keys\.ab: .*missing required field"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=complaint):
        read_keys(path)
