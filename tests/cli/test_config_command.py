from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from gateway.cli.main import main
from gateway.config.keys import MASK, site_keys

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in site_keys().values():
        monkeypatch.delenv(key.variable, raising=False)


def test_the_reference_page_is_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "reference"]) == 0
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == page, "run: make docs"


def test_every_key_has_help() -> None:
    for key in site_keys().values():
        assert key.help.endswith("."), key.dotted


def test_show_prints_values_with_origins_and_reads_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "site.toml"
    file.write_text('[site]\nid = "edge-x"\n')
    monkeypatch.setenv("FIRSTHOP_MODEL_ALIASES", 'a"b,c')
    assert main(["config", "show", "--config", str(file)]) == 0
    out = capsys.readouterr().out
    assert f'id = "edge-x"  # {file}:2' in out
    assert "# environment FIRSTHOP_MODEL_ALIASES" in out
    shown = tomllib.loads(out)
    assert shown["model"]["aliases"] == ['a"b', "c"]
    assert shown["http"] == {"host": "127.0.0.1", "port": 8080}


def test_show_json_and_masks_credentials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FIRSTHOP_TELEMETRY_OTLP_ENDPOINT", "http://user:pass@host:4317")
    monkeypatch.setenv("FIRSTHOP_CORE_API_KEY", "sk-passed")
    for arguments in (["config", "show"], ["config", "show", "--json"]):
        assert main(arguments) == 0
        out = capsys.readouterr().out
        assert "pass" not in out
        assert f"http://{MASK}@host:4317" in out
    assert json.loads(out)["http.port"] == {"value": 8080, "origin": "default"}


def test_check_accepts_a_good_site(
    tmp_path: Path, tiny_bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "site.toml"
    file.write_text(f'[model]\ndirectory = "{tiny_bundle}"\n')
    assert main(["config", "check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: ok, site edge-a\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[http]\nprot = 1\n", ":2: http.prot: unknown key"),
        ('[model]\ndirectory = "absent"\n', "is not a directory"),
        ('[tls]\ncert = "c.pem"\nkey = "k.pem"\n', ":2: tls.cert: there is no file"),
        ('[auth]\nkeys_file = "keys.toml"\n', ":2: auth.keys_file: "),
    ],
)
def test_check_names_what_is_wrong(
    tmp_path: Path,
    tiny_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    complaint: str,
) -> None:
    monkeypatch.setattr("gateway.config.site.SHIPPED_MODEL", tiny_bundle)
    file = tmp_path / "site.toml"
    file.write_text(text)
    assert main(["config", "check", str(file)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("firsthop: ")
    assert complaint in captured.err


@pytest.mark.parametrize("accelerator", ["tpu", "emulated:nope"])
def test_check_and_serve_say_all_that_would_stop_a_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], accelerator: str
) -> None:
    file = tmp_path / "site.toml"
    file.write_text(
        f'[model]\naccelerator = "{accelerator}"\ndirectory = "{tmp_path}"\n'
        '[auth]\nkeys_file = "absent.toml"\n[limits]\nmax_queued = -1\n'
    )
    for command in (["config", "check", str(file)], ["serve", "--config", str(file)]):
        assert main(command) == 1
        complaints = capsys.readouterr().err.splitlines()
        assert all(line.startswith(f"firsthop: {file}:") for line in complaints), complaints
        assert "limits.max_queued" in complaints[-1]
    assert ("model.accelerator" in complaints[0]) is (accelerator == "tpu")

    file.write_text(file.read_text().replace("-1", "1").replace("tpu", "emulated:other"))
    for command in (["config", "check", str(file)], ["serve", "--config", str(file)]):
        assert main(command) == 1
        complaints = capsys.readouterr().err.splitlines()
        assert [line.split(": ")[2] for line in complaints] == [
            "model.directory",
            "model.accelerator",
            "auth.keys_file",
        ]


def test_show_can_show_what_up_starts_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--up", "--json"]) == 0
    aliases = json.loads(capsys.readouterr().out)["model.aliases"]
    assert aliases == {"value": ["gpt-4o*", "gpt-realtime*"], "origin": "firsthop up"}


def test_the_account_stands_beside_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "site.toml"
    file.write_text("")
    assert main(["config", "show", "--config", str(file), "--json"]) == 0
    database = json.loads(capsys.readouterr().out)["account.database"]
    assert database == {"value": str(tmp_path / ".firsthop/account.sqlite"), "origin": "default"}
