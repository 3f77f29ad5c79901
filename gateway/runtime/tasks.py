"""Task groups whose failures look like the failure itself."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def first_cause() -> Iterator[None]:
    """Raise the first exception of an exception group in the group's place.

    For groups in which one failure ends everything: who waits for the whole wants to know why,
    not how it was put together. The group stays attached as the cause.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group
