"""How many connections a listener holds at once, and which one gives way when there are too many.

A connection that waits for a request costs its client nothing and the site a file descriptor, so
the one that has waited longest makes room for a new one. One that is being answered never does.
"""

from __future__ import annotations

from typing import Protocol


class Connection(Protocol):
    """What holds a place."""

    def give_way(self) -> None:
        """Close now, because another connection needs the place."""
        ...


class ConnectionPlaces:
    """The places of one listener. A connection that holds none may call everything but `enter`."""

    def __init__(self, max_connections: int) -> None:
        self._max_connections = max_connections
        self._waiting: dict[Connection, None] = {}
        """In the order in which they began to wait."""
        self._answering: set[Connection] = set()

    def enter(self, connection: Connection) -> bool:
        """Take a place, if need be that of the longest waiting; False when all are answering."""
        if len(self._answering) + len(self._waiting) >= self._max_connections:
            if not self._waiting:
                return False
            longest_waiting = next(iter(self._waiting))
            del self._waiting[longest_waiting]
            longest_waiting.give_way()
        self._waiting[connection] = None
        return True

    def begin_answer(self, connection: Connection) -> None:
        """A request is there; the connection keeps its place until `end_answer`."""
        if connection in self._waiting:
            del self._waiting[connection]
            self._answering.add(connection)

    def end_answer(self, connection: Connection) -> None:
        """Every request is answered; the connection waits for the next one."""
        if connection in self._answering:
            self._answering.remove(connection)
            self._waiting[connection] = None

    def leave(self, connection: Connection) -> None:
        """The connection is closed."""
        self._waiting.pop(connection, None)
        self._answering.discard(connection)
