"""How many connections each public listener may have, of the files a process may open."""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.core.errors import ConfigError
from gateway.runtime.descriptors import raise_descriptor_limit

_RESERVED_FILES: Final = 256
"""Open files for all but HTTP and gRPC connections: the admin port, the engine and its next start,
the account, what Python loads."""
_DEFAULT_CONNECTIONS: Final = 8192
_LEAST_GRPC_CONNECTIONS: Final = 32


class ConnectionShares(NamedTuple):
    """How many a listener may have."""

    http: int
    grpc: int
    """Agents', and as many of peers."""


def connection_shares(given: int) -> ConnectionShares:
    """The limits of the public listeners, so that none takes the files that the others need.

    HTTP has what is `given`, or for 0 half of what is free; gRPC's two listeners share the rest.
    Raises ConfigError when this process may not open as many files.
    """
    num_files = raise_descriptor_limit()
    num_free = max(4, num_files - _RESERVED_FILES)
    http = given or min(_DEFAULT_CONNECTIONS, num_free // 2)
    num_others = _RESERVED_FILES + 2 * _LEAST_GRPC_CONNECTIONS
    if given > num_files - num_others:
        raise ConfigError(
            f"limits.max_connections: {given} connections and {num_others} other files are "
            f"more than the {num_files} this process may open; lower it or raise `ulimit -n`"
        )
    return ConnectionShares(http, min(_DEFAULT_CONNECTIONS, (num_free - http) // 2))
