from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.edge.fakes import Site, serve

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
