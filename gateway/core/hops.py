"""How a turn travels from site to site: where it has been and how far it may still go."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

MAX_HOPS = 2
"""Times a turn may be handed on. More would cost round trips that no budget has; a refusal goes
back to whoever offered, who knows other sites."""
MAX_NUM_REGIONS: Final = 64
"""To which a caller may hold a turn, wherever it goes."""
MAX_NUM_SITES: Final = 64
"""To which a key may hold its turns."""
MAX_NAME_CHARS: Final = 256
"""Of a region's name, and of what else callers name that is kept or passed on."""

SiteName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}\Z")]


class Hops(msgspec.Struct, frozen=True, array_like=True):
    """The way of a turn. `path` has the sites that handed it on, in order."""

    path: Annotated[tuple[SiteName, ...], Meta(max_length=MAX_HOPS)] = ()
    left: Annotated[int, Meta(ge=0, le=MAX_HOPS)] = MAX_HOPS
    """How often it may be handed on from here."""

    def received(self) -> Hops:
        """The same with no more hops left than its path allows, whatever the sender says."""
        return Hops(self.path, min(self.left, MAX_HOPS - len(self.path)))

    def onward(self, site: str) -> Hops:
        """As `site` hands it on. Raises ValueError when no hop is left."""
        if self.left < 1:
            raise ValueError("a turn without hops left is not handed on")
        return Hops((*self.path, site), self.left - 1)


class Admitted(msgspec.Struct, frozen=True):
    """A turn was taken; `path` leads from there to who generates."""

    path: tuple[str, ...]
