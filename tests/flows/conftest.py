from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from loadtests.local_site import TEXT_ONLY, SiteProcess, running_site
from models.make_tiny import write_tiny_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is a flow."""
    for item in items:
        if "tests/flows/" in item.path.as_posix():
            item.add_marker(pytest.mark.flow)


@pytest.fixture(scope="module", autouse=True)
def engines_of_speech(request: pytest.FixtureRequest) -> Iterator[None]:
    """Sites start without them unless the module is marked `voice`."""
    with pytest.MonkeyPatch.context() as environment:
        if request.node.get_closest_marker("voice") is None:
            for name, value in TEXT_ONLY.items():
                environment.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def echo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model that repeats the last message, and never ends one that ends in `...`."""
    return write_tiny_bundle(tmp_path_factory.mktemp("flows") / "tiny")


@pytest.fixture(scope="module")
def echo_site(echo_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteProcess]:
    """A site with the echo model, shared by a module's tests."""
    with running_site(tmp_path_factory.mktemp("site"), "--model", str(echo_bundle)) as site:
        yield site
