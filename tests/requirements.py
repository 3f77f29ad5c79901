"""Parts of the machine that some tests need, and what to do when one is missing."""

from __future__ import annotations

import os

import pytest


def require(part: str, present: bool, mend: str) -> None:
    """Skip the test unless `part` is present.

    Where `FIRSTHOP_REQUIRE` (a comma-separated list, set in CI) names the part, fail instead, so
    that a missing part cannot pass for a tested one. `mend` is the line that brings it.
    """
    if present:
        return
    reason = f"{part} is missing; {mend}"
    if part in os.environ.get("FIRSTHOP_REQUIRE", "").split(","):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
