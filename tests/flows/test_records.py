"""What a site knows of its turns after it was started again, or with a disk that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import openai

from loadtests.local_site import firsthop, running_site

if TYPE_CHECKING:
    from pathlib import Path

    from loadtests.local_site import SiteProcess


def ask(site: SiteProcess, request_id: str, **more: str) -> None:
    client = openai.OpenAI(base_url=f"{site.http}/v1", api_key="none", max_retries=0)
    client.chat.completions.create(
        model="default",
        messages=[{"role": "user", "content": "good day"}],
        max_tokens=8,
        extra_headers={"x-request-id": request_id},
        extra_body=more,
    )


def test_a_turn_is_explained_after_a_restart(echo_bundle: Path, tmp_path: Path) -> None:
    with running_site(tmp_path, "--model", str(echo_bundle)) as site:
        ask(site, "before-1", safety_identifier="anna")
        ask(site, "before-2", user="bert")
    with running_site(tmp_path, "--model", str(echo_bundle)) as site:
        ask(site, "after-1", safety_identifier="anna")
        explained = firsthop("explain", "before-1", "--site", site.admin, cwd=tmp_path)
        assert explained.returncode == 0, explained.stderr
        assert "before-1" in explained.stdout
        found = site.admin_json("/v1/requests?user=anna&tenant=local")["data"]
        assert [turn["request_id"] for turn in found] == ["after-1", "before-1"]
        since = site.admin_json("/v1/requests?since=2020-01-01&limit=2")["data"]
        assert [turn["request_id"] for turn in since] == ["after-1", "before-2"]
        recent = site.admin_json("/v1/requests")["data"]
        assert [turn["request_id"] for turn in recent] == ["after-1"], "those in memory"
    kept = b"".join(path.read_bytes() for path in (tmp_path / ".firsthop/records").rglob("*.seg*"))
    assert b"before-2" in kept
    assert not any(said in kept for said in (b"good day", b"anna", b"bert"))


def test_a_site_without_a_place_for_records_answers(echo_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_text("")
    with running_site(
        tmp_path,
        "--model",
        str(echo_bundle),
        FIRSTHOP_TELEMETRY_RECORDS_DIRECTORY=str(tmp_path / "in-the-way"),
    ) as site:
        ask(site, "turn-1")
        assert site.admin_json("/v1/requests/turn-1")["outcome"] == "answered"
