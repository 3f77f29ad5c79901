from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.shorter_talk import last_part
from gateway.core.turn import Message, Role

ROLES = {"s": Role.SYSTEM, "u": Role.USER, "a": Role.ASSISTANT, "t": Role.TOOL}


def talk(roles: str) -> list[Message]:
    return [Message(ROLES[role], str(index)) for index, role in enumerate(roles)]


@pytest.mark.parametrize(
    ("roles", "num_kept", "left"),
    [
        ("suauau", 1, "05"),
        ("suauau", 2, "05"),
        ("suauau", 3, "0345"),
        ("suauau", 9, "012345"),
        ("suauau", 0, "012345"),
        ("uauatat", 3, "0123456"),
        ("uauat", 3, "234"),
        ("usau", 1, "13"),
        ("", 1, ""),
    ],
)
def test_what_is_left_of_a_conversation(roles: str, num_kept: int, left: str) -> None:
    assert "".join(one.content for one in last_part(talk(roles), num_kept)) == left


@given(st.text("suat", max_size=12), st.integers(0, 12))
def test_instructions_stay_and_the_rest_begins_with_the_user(roles: str, num_kept: int) -> None:
    whole = talk(roles)
    kept = last_part(whole, num_kept)
    assert [one for one in whole if one.role is Role.SYSTEM] == [
        one for one in kept if one.role is Role.SYSTEM
    ]
    spoken = [one for one in kept if one.role is not Role.SYSTEM]
    if kept != whole:
        assert spoken[0].role is Role.USER
        assert len(spoken) <= num_kept
