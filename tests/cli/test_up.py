from __future__ import annotations

import ast
import json
import re
import shlex
import socket
from typing import TYPE_CHECKING

import msgspec
import pytest

from gateway.cli.main import main
from gateway.cli.up import local_site, ready_text
from gateway.config.keys import site_keys
from gateway.config.site import SiteConfig
from loadtests.local_site import ONE_SITE, firsthop

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in site_keys().values():
        monkeypatch.delenv(key.variable, raising=False)


def test_ports_follow_the_port_base() -> None:
    site = local_site(port_base=9000).site
    assert (site.http.port, site.grpc.port, site.admin.port) == (9000, 9001, 9003)
    site = local_site().site
    assert (site.http.port, site.grpc.port, site.admin.port) == (8080, 8081, 8083)


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIRSTHOP_HTTP_PORT", "7000")
    monkeypatch.setenv("FIRSTHOP_MODEL_ALIASES", "mine")
    loaded = local_site(model="dir", accelerator="emulated:x")
    assert loaded.site.http.port == 7000
    assert loaded.site.model.aliases == ("mine",)
    assert (loaded.site.model.directory, loaded.site.model.accelerator) == ("dir", "emulated:x")
    assert local_site(port_base=9000).site.http.port == 9000


def test_the_names_clients_send_are_taken() -> None:
    loaded = local_site()
    assert loaded.site.model.aliases == ("gpt-4o*", "gpt-realtime*")
    assert loaded.origins["model.aliases"] == "firsthop up"


def site_with(directory: Path | None = None) -> SiteConfig:
    site, change = SiteConfig(), msgspec.structs.replace
    model = change(site.model, directory=str(directory or ""))
    return change(site, http=change(site.http, port=9000), model=model)


def curl_of(text: str) -> list[str]:
    (line,) = re.findall(r"^(curl .*)$", text, re.MULTILINE)
    return shlex.split(line)


def test_the_ready_text_has_addresses_and_examples_that_can_be_pasted() -> None:
    text = ready_text(site_with())
    assert "http://127.0.0.1:9000/talk " in text
    for address in ("http://127.0.0.1:9000/v1 ", "127.0.0.1:8081 ", "http://127.0.0.1:8083 "):
        assert address in text
    curl = curl_of(text)
    assert curl[2] == "http://127.0.0.1:9000/v1/chat/completions"
    assert json.loads(curl[-1])["messages"][0]["role"] == "user"
    snippet = re.search(r"^from openai.*?^$", text, re.MULTILINE | re.DOTALL)
    assert snippet is not None
    ast.parse(snippet.group())
    assert "pip install openai" in text[: snippet.start()]


def test_only_a_model_with_the_accounts_tools_is_asked_for_the_balance(tiny_bundle: Path) -> None:
    assistant, other = ready_text(site_with()), ready_text(site_with(tiny_bundle))
    for words in ("x-firsthop-tools: server", "What is my balance?", ".firsthop/account.sqlite"):
        assert words in assistant
        assert words not in other
    assert curl_of(other)


def test_a_model_that_is_not_there_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gateway.config.site.SHIPPED_MODEL", tmp_path / "absent")
    assert main(["up"]) == 1
    assert "--model or model.directory" in capsys.readouterr().err


def test_a_port_in_use_is_named_with_the_option_that_helps(
    tmp_path: Path, tiny_bundle: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        arguments = [*ONE_SITE, "--port-base", port, "--model"]
        refused = firsthop(*arguments, str(tiny_bundle), cwd=tmp_path)
        wrong = firsthop(*arguments, "/nope", cwd=tmp_path)
    assert (refused.returncode, wrong.returncode) == (1, 1)
    assert f"127.0.0.1:{port} is in use" in refused.stderr
    assert 'make run ARGS="--port-base N"' in refused.stderr
    assert "/nope is not a directory" in wrong.stderr
