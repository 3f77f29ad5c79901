"""A site with keys, as an operator sets it up: command, configuration file, signals."""

from __future__ import annotations

import json
import shutil
import signal
import ssl
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import openai
import pytest

from loadtests.local_site import (
    SiteProcess,
    firsthop,
    free_port_base,
    running_site,
    wait_until,
)
from tests.requirements import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def new_key(folder: Path, *options: str) -> str:
    done = firsthop("key", "create", "--file", "keys.toml", *options, cwd=folder)
    assert done.returncode == 0, done.stderr
    return next(word for word in done.stdout.split() if word.startswith("fh_"))


def write_config(folder: Path, bundle: Path, base: int, extra: str = "") -> None:
    (folder / "site.toml").write_text(
        f"""
        [http]
        port = {base}
        [grpc]
        port = {base + 1}
        [peer]
        port = {base + 2}
        [admin]
        port = {base + 3}
        [model]
        directory = "{bundle}"
        [auth]
        keys_file = "keys.toml"
        {extra}
        """
    )


@pytest.fixture
def keyed(echo_bundle: Path, tmp_path: Path) -> Iterator[tuple[SiteProcess, dict[str, str]]]:
    keys = {
        "agent": new_key(tmp_path, "--tenant", "acme"),
        "other": new_key(tmp_path, "--tenant", "other"),
        "slow": new_key(tmp_path, "--tenant", "acme", "--requests-per-minute", "2"),
    }
    base = free_port_base()
    write_config(tmp_path, echo_bundle, base)
    with running_site(tmp_path, "serve", "--config", "site.toml", port_base=base) as site:
        yield site, keys


def ask(site: SiteProcess, key: str, **headers: str) -> str:
    """One answer; returns its request id."""
    with openai.OpenAI(base_url=f"{site.http}/v1", api_key=key, max_retries=0) as client:
        answer = client.chat.completions.with_raw_response.create(
            model="default", messages=[{"role": "user", "content": "hi"}], extra_headers=headers
        )
    return answer.headers["x-request-id"]


def test_keys_classes_limits_and_tenants(keyed: tuple[SiteProcess, dict[str, str]]) -> None:
    site, keys = keyed
    request_id = ask(site, keys["agent"])
    with pytest.raises(openai.AuthenticationError):
        ask(site, keys["agent"][:-1] + "x")
    with pytest.raises(openai.PermissionDeniedError) as refused:
        ask(site, keys["agent"], **{"x-firsthop-class": "voice"})
    assert refused.value.code == "class_not_allowed"
    ask(site, keys["slow"])
    ask(site, keys["slow"])
    with pytest.raises(openai.RateLimitError) as limited:
        ask(site, keys["slow"])
    assert int(limited.value.response.headers["retry-after"]) >= 1
    with openai.OpenAI(base_url=f"{site.http}/v1", api_key=keys["agent"]) as owner:
        assert owner.get(f"/requests/{request_id}", cast_to=dict)["tenant"] == "acme"
    with (
        openai.OpenAI(base_url=f"{site.http}/v1", api_key=keys["other"]) as stranger,
        pytest.raises(openai.NotFoundError),
    ):
        stranger.get(f"/requests/{request_id}", cast_to=dict)


def test_a_revoked_key_is_refused_after_a_reload(
    keyed: tuple[SiteProcess, dict[str, str]], tmp_path: Path
) -> None:
    site, keys = keyed
    ask(site, keys["other"])
    key_id = keys["other"].split("_")[1]
    done = firsthop("key", "revoke", key_id, "--file", "keys.toml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    site.process.send_signal(signal.SIGHUP)

    def refused() -> bool:
        try:
            ask(site, keys["other"])
        except openai.AuthenticationError:
            return True
        return False

    wait_until(refused, "the revoked key is refused")
    ask(site, keys["agent"])


def test_tls_is_spoken_and_a_public_address_needs_it(echo_bundle: Path, tmp_path: Path) -> None:
    require("openssl", shutil.which("openssl") is not None, "apt-get install openssl")
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem",
        cwd=tmp_path,
        shell=True,
        check=True,
        capture_output=True,
    )
    key = new_key(tmp_path, "--tenant", "acme")
    base = free_port_base()
    write_config(tmp_path, echo_bundle, base)
    public = (tmp_path / "site.toml").read_text().replace("[http]", '[http]\nhost = "0.0.0.0"')
    (tmp_path / "public.toml").write_text(public)
    refused = firsthop("serve", "--config", "public.toml", cwd=tmp_path)
    assert refused.returncode == 1
    assert "tls.cert" in refused.stderr
    write_config(tmp_path, echo_bundle, base, '[tls]\ncert = "cert.pem"\nkey = "key.pem"\n')
    with running_site(tmp_path, "serve", "--config", "site.toml", port_base=base) as site:
        asked = urllib.request.Request(
            site.http.replace("http:", "https:") + "/v1/models",
            headers={"authorization": f"Bearer {key}"},
        )
        trusted = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        with urllib.request.urlopen(asked, timeout=10, context=trusted) as answer:
            assert json.load(answer)["data"][0]["id"] == "tiny"
