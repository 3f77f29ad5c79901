"""A whole site on an emulated accelerator."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING

import openai

from loadtests.local_site import firsthop, running_site

if TYPE_CHECKING:
    from pathlib import Path


def test_it_answers_as_long_as_asked_and_says_what_it_is(echo_bundle: Path, tmp_path: Path) -> None:
    emulated = ("--model", str(echo_bundle), "--accelerator", "emulated:rtx-pro-6000")
    with (
        running_site(tmp_path, *emulated) as site,
        openai.OpenAI(base_url=f"{site.http}/v1", api_key="none", max_retries=0) as client,
    ):
        answers = [
            client.chat.completions.create(
                model="default",
                messages=[{"role": "user", "content": "hello"}],
                max_tokens=40,
                temperature=0,
            )
            for _ in range(2)
        ]
        with urllib.request.urlopen(f"{site.http}/v1/models", timeout=10) as models:
            (model,) = [one for one in json.load(models)["data"] if one["id"] == "tiny"]
    texts = [answer.choices[0].message.content for answer in answers]
    assert texts[0] == texts[1]
    assert texts[0] is not None
    assert len(texts[0]) == 40
    assert texts[0].isalpha()
    assert "emulated:rtx-pro-6000" in json.dumps(model)
    assert "emulating rtx-pro-6000 (assumed): answers are made up" in site.log.read_text()


def test_an_unusable_profile_is_one_line(echo_bundle: Path, tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text('basis = "assumed"\nabout = 3\n')
    ended = firsthop(
        *("up", "--model", str(echo_bundle), "--accelerator", f"emulated:{profile}"), cwd=tmp_path
    )
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines() == [
        f"firsthop: command line: model.accelerator: {profile}:2: about: Expected `str`, got `int`"
    ]
