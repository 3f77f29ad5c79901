from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.config.keys import site_keys
from gateway.config.load import Given, load_site
from gateway.config.site import SiteConfig
from gateway.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    return tmp_path / "site.toml"


def test_nothing_given_gives_the_defaults() -> None:
    loaded = load_site(environ={})
    assert loaded.site == SiteConfig()
    assert set(loaded.origins) == set(site_keys())
    assert set(loaded.origins.values()) == {"default"}


def test_each_source_is_stronger_than_the_one_before(site_file: Path) -> None:
    site_file.write_text("# a site\n[model]\nnum_slots = 2\nthreads = 2\nspinning = true\n")
    loaded = load_site(
        site_file,
        environ={"FIRSTHOP_MODEL_NUM_SLOTS": "3", "FIRSTHOP_MODEL_THREADS": "3"},
        presets={"model.num_slots": Given(1, "preset"), "http.port": Given(1, "preset")},
        overrides={"model.threads": 4},
    )
    model = loaded.site.model
    assert (model.num_slots, model.threads, model.spinning) == (3, 4, True)
    assert loaded.site.http.port == 1
    origins = {
        name: loaded.origins[f"model.{name}"] for name in ("num_slots", "threads", "spinning")
    }
    assert origins == {
        "num_slots": "environment FIRSTHOP_MODEL_NUM_SLOTS",
        "threads": "command line",
        "spinning": f"{site_file}:5",
    }
    assert loaded.origins["http.port"] == "preset"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[http]\n\nport = 70000\n", ":3: http.port: takes whole number, 0 to 65535, not 70000"),
        ("[http]\nport = '80'\n", ":2: http.port: takes whole number, 0 to 65535, not '80'"),
        ("http.port = true\n", ":1: http.port: takes whole number, 0 to 65535, not True"),
        ("http = { host = 'x',\n port = 0.5 }\n".replace("\n port", " port"), ":1: http.port: "),
        ("[http]\nprot = 80\n", ":2: http.prot: unknown key; did you mean http.port?"),
        ("[htpp]\nport = 80\n", ":1: htpp: unknown section; did you mean http?"),
        ("\n\nhttp = 3\n", ":3: http: a section, written [http]"),
        ("[site]\nid = 'Über'\n", ":2: site.id: takes text, matching"),
        ('[site]\nid = "edge-b\\n"\n', ":2: site.id: takes text, matching"),
        (
            "[model]\naccelerator = 'tpu'\n",
            ":2: model.accelerator: takes `auto`, `cpu`, `cuda` or `emulated:PROFILE`, not",
        ),
        ("[model]\naliases = [\n 'a',\n 3,\n]\n", ":2: model.aliases: takes list of text"),
        ("[budgets]\nvoice_ms = -1\n", ":2: budgets.voice_ms: takes number, above 0"),
        ("[budgets]\nvoice_ms = nan\n", ":2: budgets.voice_ms: takes number, above 0"),
        ("[http]\nport = \n", "not valid TOML: Invalid value (at line 2"),
        ("[tls]\ncert = 'a'\n", ":2: tls.cert: set tls.key too"),
        ("[http]\nport = 5\n[grpc]\nport = 5\n", ":4: grpc.port: 5 is also http.port"),
        ("[http]\nhost = '0.0.0.0'\n", ":2: http.host: 0.0.0.0 is a public address"),
        ("[grpc]\nhost = '::'\n", ":2: grpc.host: :: is a public address"),
        ("[peer]\nhost = '10.0.0.1'\n", ":2: peer.host: 10.0.0.1 is a public address; set peer."),
        ("[peer]\nauthority = 'ca.pem'\n", ":2: peer.authority: set tls.cert and tls.key too"),
        ("[grid]\npeers = ['edge-b']\n", ":2: grid.peers: takes list of text"),
        ("[fabric]\nconnect = ['hub:7447']\n", ":2: fabric.connect: takes list of text"),
        (
            "[fabric]\nconnect = ['tls/hub:7447']\n",
            ":2: fabric.connect: tls/hub:7447 needs peer.authority",
        ),
        (
            "[fabric]\nlisten = ['tcp/0.0.0.0:7447']\n",
            ":2: fabric.listen: tcp/0.0.0.0:7447 leaves this machine",
        ),
        (
            "[peer]\nhost = '0.0.0.0'\nallow_plaintext = true\n"
            "[fabric]\nconnect = ['tcp/hub:7447']\n",
            ":2: peer.host: 0.0.0.0 is every address",
        ),
        ("[grid]\npeers = ['edge-a=h:1']\n", ":2: grid.peers: a site is listed twice, or is this"),
        ("[admin]\nhost = '10.0.0.1'\n", ":2: admin.host: 10.0.0.1 is not a loopback address"),
    ],
)
def test_a_complaint_names_file_line_and_key(site_file: Path, text: str, complaint: str) -> None:
    site_file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_site(site_file, environ={})
    assert str(site_file) in str(refused.value)
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_public_address_needs_keys_and_tls_both(site_file: Path) -> None:
    public = "[http]\nhost = '0.0.0.0'\n"
    keys, tls = "[auth]\nkeys_file = 'k'\n", "[tls]\ncert = 'c'\nkey = 'k'\n"
    for text, missing in (
        (public, "set auth.keys_file and tls.cert with tls.key, or"),
        (public + keys, "set tls.cert with tls.key, or"),
        (public + tls, "set auth.keys_file, or"),
    ):
        site_file.write_text(text)
        with pytest.raises(ConfigError, match=missing):
            load_site(site_file, environ={})
    site_file.write_text(public + keys + tls)
    assert load_site(site_file, environ={}).site.http.host == "0.0.0.0"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_neither(host: str) -> None:
    assert load_site(environ={"FIRSTHOP_HTTP_HOST": host}).site.http.host == host


@pytest.mark.parametrize("host", ["example.org", "localhost.example.org", "::ffff:10.0.0.1", "0"])
def test_a_name_or_anything_else_counts_as_public(host: str) -> None:
    with pytest.raises(ConfigError, match="public"):
        load_site(environ={"FIRSTHOP_HTTP_HOST": host})


def test_a_relative_path_in_a_file_is_relative_to_the_file(site_file: Path) -> None:
    site_file.write_text("[model]\ndirectory = 'm'\n[auth]\nkeys_file = '/k'\n")
    site = load_site(site_file, environ={"FIRSTHOP_ACCOUNT_DATABASE": "here.sqlite"}).site
    assert site.model.directory == str(site_file.parent / "m")
    assert site.auth.keys_file == "/k"
    assert site.account.database == "here.sqlite"


def test_environment_values_take_the_type_of_their_key() -> None:
    site = load_site(
        environ={
            "FIRSTHOP_MODEL_ALIASES": "gpt-4o*, other ,",
            "FIRSTHOP_MODEL_SPINNING": "true",
            "FIRSTHOP_BUDGETS_VOICE_MS": "250",
            "FIRSTHOP_REQUIRE": "node",
        }
    ).site
    assert site.model.aliases == ("gpt-4o*", "other")
    assert site.model.spinning is True
    assert site.budgets.defaults().voice_s == 0.25


@pytest.mark.parametrize("variable", ["FIRSTHOP_MODEL_NUM_SLOT", "FIRSTHOP_MODELL_NUM_SLOTS"])
def test_an_unknown_variable_is_refused(variable: str) -> None:
    with pytest.raises(ConfigError, match="did you mean FIRSTHOP_MODEL_NUM_SLOTS"):
        load_site(environ={variable: "3"})


def test_variables_of_other_parts_are_left_alone() -> None:
    loaded = load_site(environ={"FIRSTHOP_REQUIRE": "node"})
    assert set(loaded.origins.values()) == {"default"}


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_site(tmp_path / "absent.toml", environ={})
    (tmp_path / "latin.toml").write_bytes(b"[site]\nregion = '\xe9'\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_site(tmp_path / "latin.toml", environ={})


def test_a_missing_shipped_model_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("gateway.config.site.SHIPPED_MODEL", tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"--model or model\.directory"):
        _ = SiteConfig().model.path


CORE = {"FIRSTHOP_CORE_URL": "https://api.example.com/v1", "FIRSTHOP_CORE_MODEL": "gpt-x"}


def test_two_variables_connect_a_core() -> None:
    core = load_site(environ=CORE).site.core
    assert (core.url, core.model, core.key()) == ("https://api.example.com/v1", "gpt-x", "")


@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"FIRSTHOP_CORE_URL": "http://127.0.0.1:1/v1"}, "set core.model too"),
        ({**CORE, "FIRSTHOP_CORE_URL": "core:80"}, "core.url: takes text"),
        ({**CORE, "FIRSTHOP_CORE_URL": "http://core:99999"}, "core.url: Port out of range"),
        ({**CORE, "FIRSTHOP_CORE_API_KEY": "a", "FIRSTHOP_CORE_API_KEY_FILE": "b"}, "one of them"),
        (
            {**CORE, "FIRSTHOP_CORE_URL": "http://10.0.0.1/v1", "FIRSTHOP_CORE_API_KEY": "a"},
            "over https:// only",
        ),
        ({**CORE, "FIRSTHOP_CORE_API_KEY": "sk secret"}, "core.api_key: takes text"),
    ],
)
def test_a_server_that_cannot_be_asked_is_a_fault(environ: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint) as caught:
        load_site(environ=environ)
    assert "secret" not in str(caught.value)


def test_a_servers_key_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    core = load_site(environ={**CORE, "FIRSTHOP_CORE_API_KEY_FILE": str(file)}).site.core
    with pytest.raises(ConfigError, match="No such file"):
        core.key()
    file.write_text("sk-1\n")
    assert core.key() == "sk-1"
    file.write_text("sk-1\nsk-2\n")
    with pytest.raises(ConfigError, match="no key on one line"):
        core.key()


def test_the_capacity_of_anothers_model_is_not_cut_here() -> None:
    told = {
        "FIRSTHOP_UPSTREAM_URL": "http://127.0.0.1:8000/v1",
        "FIRSTHOP_UPSTREAM_MODEL": "large",
        "FIRSTHOP_LIMITS_CAPACITY_FILE": "/run/capacity",
    }
    with pytest.raises(ConfigError, match=r"limits\.capacity_file: another server"):
        load_site(environ=told)
    del told["FIRSTHOP_UPSTREAM_URL"]
    load_site(environ=told)
