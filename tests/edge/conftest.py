from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from openai import OpenAI

from tests.edge.fakes import KEY, Site, serve

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared_http_site() -> Iterator[Site]:
    with serve() as site:
        yield site


@pytest.fixture
def http_site(shared_http_site: Site) -> Site:
    """A site behind real HTTP whose runner plays a script; new for every test but its port."""
    shared_http_site.reset()
    return shared_http_site


@pytest.fixture
def client(http_site: Site) -> Iterator[OpenAI]:
    with OpenAI(base_url=http_site.v1, api_key=KEY, max_retries=0) as opened:
        yield opened
