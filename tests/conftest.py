"""What tests of several rooms share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from models.make_tiny import write_tiny_bundle

if TYPE_CHECKING:
    from pathlib import Path

# How long an example takes says something about the machine, not about the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory that loads in milliseconds and answers predictably."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")
