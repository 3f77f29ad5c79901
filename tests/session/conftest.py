"""The shipped assistant's text side, for all tests of sessions."""

from __future__ import annotations

import pytest

from gateway.config.site import SHIPPED_MODEL
from gateway.engine.bundle import load_bundle
from gateway.engine.text_model import TextModel


@pytest.fixture(scope="session")
def model() -> TextModel:
    return TextModel.from_bundle(load_bundle(SHIPPED_MODEL))
