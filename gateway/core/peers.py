"""All peers of a site, and which of them may be ejected."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.core.peer_view import PeerView


class Peers:
    """The peers a site has links to. Not for several threads."""

    __slots__ = ("_by_name", "shuffled")

    def __init__(self, views: Iterable[PeerView] = ()) -> None:
        self._by_name = {view.name: view for view in views}
        self.shuffled = list(self._by_name.values())
        """The same in no order: `core.routing` draws from it and leaves it otherwise shuffled."""

    def __len__(self) -> int:
        return len(self.shuffled)

    def __iter__(self) -> Iterator[PeerView]:
        return iter(self._by_name.values())

    def in_drawing_order(self) -> tuple[PeerView, ...]:
        """All peers as the next draw finds them: the same order and numbers draw the same peers."""
        return tuple(self.shuffled)

    def get(self, name: str) -> PeerView | None:
        """The peer of this name, or None."""
        return self._by_name.get(name)

    def add(self, view: PeerView) -> None:
        """A peer that is new, or takes the place of the one of its name."""
        self.remove(view.name)
        self._by_name[view.name] = view
        self.shuffled.append(view)

    def remove(self, name: str) -> None:
        """Forget a peer; unknown names are ignored."""
        view = self._by_name.pop(name, None)
        if view is not None:
            self.shuffled.remove(view)

    def judge(self, view: PeerView, now_s: float) -> bool:
        """Eject a peer if it is an outlier and not too many are; whether it was ejected.

        Never more than half of all peers at once: were most of them outliers, the fault would
        be on this side, or everywhere.
        """
        if not view.is_outlier:
            return False
        num_out = sum(other.ejected_until_s > now_s for other in self.shuffled)
        if 2 * (num_out + (view.ejected_until_s <= now_s)) > len(self.shuffled):
            return False
        view.eject(now_s)
        return True
