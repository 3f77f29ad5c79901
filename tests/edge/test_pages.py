"""The pages of a site: whole by themselves, and held to that by their headers."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.edge.fakes import Site

pytestmark = pytest.mark.flow

STATIC = files("gateway.edge.console").joinpath("static")
NAMES = sorted(one.name for one in STATIC.iterdir())


def test_the_talk_page_may_load_nothing_from_elsewhere(http_site: Site) -> None:
    page = httpx.get(f"{http_site.url}/talk")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    asks, rest = policy.rpartition("connect-src ")[::-2]
    assert asks == "*"  # its call may go on at any site
    assert "*" not in rest
    console = httpx.get(f"{http_site.url}/").headers["content-security-policy"]
    assert console.endswith("connect-src 'self'")
    assert "microphone=(self)" in page.headers["permissions-policy"]


@pytest.mark.parametrize("name", NAMES)
def test_files_refer_to_files_that_are_there(name: str, http_site: Site) -> None:
    text = STATIC.joinpath(name).read_text(encoding="utf-8")
    assert not re.search(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z]+\.[a-z]", text), name
    for reference in re.findall(r"/static/([\w.-]+)", text):
        assert reference in NAMES
    answer = httpx.get(f"{http_site.url}/static/{name}")
    assert answer.content == text.encode()
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_the_browser_has_is_not_sent_again(http_site: Site) -> None:
    first = httpx.get(f"{http_site.url}/static/talk.js")
    again = httpx.get(
        f"{http_site.url}/static/talk.js", headers={"if-none-match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_there_is_nothing_else_under_static(http_site: Site) -> None:
    for path in ("/static/", "/static/pages.py", "/static/../pages.py", "/static/%2e%2e/pages.py"):
        assert httpx.get(f"{http_site.url}{path}").status_code == 404


def test_the_page_says_that_an_ai_speaks() -> None:
    assert "AI assistant, not a person" in STATIC.joinpath("talk.html").read_text()
