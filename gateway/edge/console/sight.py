"""What whoever opens a console may see: sums for everybody, the rest for those who are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from gateway.core.errors import Unauthenticated

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.edge.desk import Gatekeeper


class Sight(msgspec.Struct, frozen=True):
    """What a reader may see."""

    name: str
    """`admin`: all of it. `key`: all of it, and its tenant's turns. `summary`: sums only."""
    tenant: str | None = None
    """Whose turns; None: everybody's."""


ADMIN: Final = Sight("admin")
SUMMARY: Final = Sight("summary", "")


def public_sight(gatekeeper: Gatekeeper) -> Callable[[str | None], Sight]:
    """The rule of a public port, for `Authorization` values.

    A key that is not known raises Unauthenticated; without one there is the summary. A site that
    needs no keys can be reached from its own machine only, and knows everybody.
    """

    def sight(authorization: str | None) -> Sight:
        try:
            principal = gatekeeper.authenticate(authorization)
        except Unauthenticated:
            if authorization is not None:
                raise
            return SUMMARY
        return Sight("key", principal.tenant)

    return sight
