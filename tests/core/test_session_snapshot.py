from __future__ import annotations

import msgspec
import pytest

from gateway.core.kept_snapshots import KeptSnapshots
from gateway.core.session_errors import SessionNotFound
from gateway.core.session_snapshot import MAX_CONTENT_BYTES, GridKey, SealedSnapshot, Version
from tests.core.snapshots import DIALOGUE, KEY, NOW_S, TERMS, sealed, session_id, snapshot

change = msgspec.structs.replace


def test_a_snapshot_comes_back_whole() -> None:
    whole = change(snapshot(), dialogue=DIALOGUE, turn_id="t", finish="stop", seed=1 << 62)
    assert whole.terms == TERMS
    assert KEY.open(KEY.seal(whole, Version(1, "edge-a", 1))) == whole


@pytest.mark.parametrize(
    "forged",
    [
        change(sealed(), version=Version(2, "edge-a", 1)),
        change(sealed(), version=Version(1, "edge-b", 1)),
        change(sealed(), session=session_id(2)),
        change(sealed(), content=sealed(2).content),
        change(sealed(), signature=b""),
        GridKey("x" * 32).seal(snapshot(), Version(1, "edge-a", 1)),
    ],
)
def test_what_is_changed_or_foreign_is_not_valid(forged: SealedSnapshot) -> None:
    assert KEY.is_valid(sealed())
    assert not KEY.is_valid(forged)


def test_what_is_too_long_is_sealed_without_content() -> None:
    version = Version(1, "edge-a", 2)
    long = KEY.seal(snapshot(text="x" * MAX_CONTENT_BYTES), version)
    assert long.is_too_long
    assert KEY.is_valid(long)
    with pytest.raises(SessionNotFound):
        KEY.open(long)


def test_a_token_names_its_session_and_no_other_text_does() -> None:
    token = KEY.token(session_id())
    assert KEY.session_of(token) == session_id()
    others = (
        "",
        token[:-1],
        f"{token}0",
        token.replace(session_id(), session_id(2)),
        GridKey("x" * 32).token(session_id()),
        "fhs_ü" + "é" * 95,
    )
    for other in others:
        with pytest.raises(SessionNotFound):
            KEY.session_of(other)


def test_versions_grow_with_the_epoch_first() -> None:
    assert Version(2, "a", 1) > Version(1, "z", 9)
    assert Version(1, "a", 2) > Version(1, "a", 1)


def test_only_a_newer_snapshot_takes_the_place_of_one() -> None:
    kept = KeptSnapshots()
    assert kept.keep("edge-a", sealed(seq=2), NOW_S) is None
    assert kept.keep("edge-b", sealed(seq=1), NOW_S) == sealed(seq=2)
    assert kept.keep("edge-b", sealed(epoch=2), NOW_S) is None
    assert kept.get(session_id(), NOW_S) == sealed(epoch=2)
    assert len(kept) == 1


def test_a_peer_with_too_many_loses_its_own_oldest() -> None:
    kept = KeptSnapshots(max_num=2)
    for number, peer in enumerate(("edge-a", "edge-b", "edge-b", "edge-b"), 1):
        kept.keep(peer, sealed(number), NOW_S)
    assert [kept.get(session_id(number), NOW_S) is not None for number in (1, 2, 3, 4)] == [
        True,
        False,
        True,
        True,
    ]


def test_a_peer_keeps_so_many_bytes() -> None:
    one_bytes = len(sealed().content) + 512
    kept = KeptSnapshots(max_bytes=2 * one_bytes)
    for number in (1, 2, 3):
        kept.keep("edge-a", sealed(number), NOW_S)
    assert len(kept) == 2
    tiny = KeptSnapshots(max_bytes=one_bytes - 1)
    tiny.keep("edge-a", sealed(), NOW_S)
    assert len(tiny) == 0


def test_what_has_expired_is_gone() -> None:
    kept = KeptSnapshots(lifetime_s=50.0)
    kept.keep("edge-a", sealed(1), NOW_S)
    assert kept.get(session_id(), NOW_S + 49.0) is not None
    assert kept.get(session_id(), NOW_S + 50.0) is None
    kept.keep("edge-a", sealed(2), NOW_S + 50.0)
    assert len(kept) == 1
