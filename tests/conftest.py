"""What tests of several rooms share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from models.make_tiny import write_tiny_bundle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory that loads in milliseconds and answers predictably."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
