"""Listeners share the files that a process may open."""

from __future__ import annotations

import pytest

from gateway.core.errors import ConfigError
from gateway.edge import connection_shares as shares

_OTHERS = 256
_LEAST_GRPC = 32


@pytest.fixture(params=[1024, 20_000, 1_048_576])
def num_files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(shares, "raise_descriptor_limit", lambda: request.param)
    return int(request.param)


def test_all_together_leave_files_for_the_rest(num_files: int) -> None:
    http, grpc = shares.connection_shares(0)
    assert min(http, grpc) > 0
    assert http + 2 * grpc <= num_files - _OTHERS


def test_what_is_asked_for_is_given_or_refused(num_files: int) -> None:
    most = num_files - _OTHERS - 2 * _LEAST_GRPC
    assert shares.connection_shares(most) == (most, _LEAST_GRPC)
    with pytest.raises(ConfigError, match=r"limits\.max_connections: .*ulimit"):
        shares.connection_shares(most + 1)
