from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.edge.fakes import Site, serve
from tests.edge.realtime.fake_voice import FakeVoices

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIALLED = {"http_site", "voice_site"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything that dials a site is a flow."""
    for item in items:
        if "tests/edge/realtime/" in item.path.as_posix() and _DIALLED.intersection(
            getattr(item, "fixturenames", ())
        ):
            item.add_marker(pytest.mark.flow)


@pytest.fixture(scope="session")
def shared_voices() -> FakeVoices:
    return FakeVoices()


@pytest.fixture(scope="session")
def shared_voice_site(shared_voices: FakeVoices) -> Iterator[Site]:
    with serve(voices=shared_voices) as site:
        yield site


@pytest.fixture
def voices(shared_voices: FakeVoices) -> FakeVoices:
    """The voice of `voice_site`, as new."""
    shared_voices.reset()
    return shared_voices


@pytest.fixture
def voice_site(shared_voice_site: Site, voices: FakeVoices) -> Site:
    """A site that hears and speaks, as new but for its port."""
    shared_voice_site.reset()
    return shared_voice_site
