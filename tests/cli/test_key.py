from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.cli.main import main
from gateway.core.budget import TurnClass
from gateway.edge.access import KeyGatekeeper

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_created_key_opens_the_site_until_it_is_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "keys.toml")
    options = [
        "--tenant",
        "acme",
        "--classes",
        "agent,voice",
        "--max-concurrent",
        "3",
        "--sites",
        "edge-a,core",
    ]
    assert main(["key", "create", "--file", file, *options]) == 0
    created = capsys.readouterr()
    key = created.out.strip()
    assert "one time" in created.err
    gatekeeper = KeyGatekeeper(tmp_path / "keys.toml")
    principal = gatekeeper.authenticate(f"Bearer {key}")
    assert principal.tenant == "acme"
    assert principal.sites == ("edge-a", "core")
    gatekeeper.admit(principal, TurnClass.VOICE)

    assert main(["key", "list", "--file", file]) == 0
    listed = capsys.readouterr().out
    assert key.split("_")[2] not in listed
    assert listed.splitlines()[1].split() == [
        principal.key_id,
        "acme",
        "agent,voice",
        "-",
        "-",
        "3",
        "edge-a,core",
    ]

    assert main(["key", "revoke", principal.key_id, "--file", file]) == 0
    assert main(["key", "list", "--file", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out.partition("\n")[2]) == []


def test_a_key_grants_agent_only_unless_more_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "keys.toml")
    assert main(["key", "create", "--file", file, "--tenant", "a", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["classes"] == ["agent"]
    assert facts["key"].startswith(f"fh_{facts['id']}_")
    assert facts["requests_per_minute"] is None


def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "keys.toml")
    create = ["key", "create", "--file", file, "--tenant"]
    for arguments, code, complaint in (
        ([*create, ""], 2, "--tenant: up to 64 letters, digits and . _ -"),
        ([*create, "a", "--classes", "root"], 2, "choose from voice, agent, batch"),
        ([*create, "a", "--requests-per-minute", "-1"], 2, "a number above 0"),
        ([*create, "a", "--max-concurrent", "0"], 2, "a whole number from 1 to"),
        ([*create, "a", "--file", str(tmp_path / "no" / "k")], 1, "there is no directory"),
        (["key", "list", "--file", file], 1, "No such file"),
        (["key", "revoke", "abc", "--file", file], 1, "no such keys file"),
    ):
        assert main(arguments) == code, arguments
        err = capsys.readouterr().err
        assert complaint in err
        assert err.count("\n") == 1
    assert not (tmp_path / "keys.toml").exists()
    assert main([*create, "a"]) == 0
    assert main(["key", "revoke", "abc", "--file", file]) == 1
    assert "no key has the id abc" in capsys.readouterr().err
