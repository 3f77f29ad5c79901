"""Headers that decide something, HTTP's and gRPC's alike: each may be given once.

Of a header given twice, one proxy believes the first and the next one the last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

_DECIDING: Final = frozenset(
    {"authorization", "x-slo-ttft-ms", "x-request-id", "idempotency-key", "traceparent"}
)
_DECIDING_PREFIX: Final = "x-firsthop-"


def refuse_repeated(names: Iterable[str]) -> None:
    """Raises InvalidRequest when one of these names, in lower case, decides and comes twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidRequest(f"{name} is given more than once", param=name)
        if name in _DECIDING or name.startswith(_DECIDING_PREFIX):
            seen.add(name)
