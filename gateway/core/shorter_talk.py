"""What of a conversation is read when there is no time for all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.turn import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.turn import Message


def last_part(messages: Sequence[Message], num_kept: int) -> list[Message]:
    """The instructions and about `num_kept` of the last other messages; all, if it cannot be cut.

    What is kept begins with words of the user, so that no answer lacks its question and no tool's
    result its call.
    """
    spoken = [index for index, one in enumerate(messages) if one.role is not Role.SYSTEM]
    begins = [index for index in spoken[-num_kept:] if messages[index].role is Role.USER]
    if not num_kept or not begins:
        return list(messages)
    first = begins[0]
    return [one for index, one in enumerate(messages) if index >= first or one.role is Role.SYSTEM]
