from __future__ import annotations

from gateway.core.neighbours import Candidate, choose_neighbours


def test_the_nearest_are_chosen_and_the_unmeasured_fill_what_is_left() -> None:
    candidates = [
        Candidate("far", 0.030),
        Candidate("unknown", None),
        Candidate("near", 0.005),
        Candidate("broken", 0.001, is_failing=True),
    ]
    assert choose_neighbours(candidates, 2) == ["near", "far"]
    assert choose_neighbours(candidates, 3) == ["near", "far", "unknown"]
    assert choose_neighbours(candidates, 9) == ["near", "far", "unknown", "broken"]
    assert choose_neighbours(candidates, 0) == []


def test_a_link_is_not_given_up_for_a_little() -> None:
    linked = Candidate("linked", 0.010, is_linked=True)
    assert choose_neighbours([linked, Candidate("new", 0.0075)], 1) == ["linked"]
    assert choose_neighbours([linked, Candidate("new", 0.0065)], 1) == ["new"]
    tiny = Candidate("tiny", 0.0002, is_linked=True)
    assert choose_neighbours([tiny, Candidate("new", 0.0001)], 1) == ["tiny"]


def test_an_unmeasured_link_yields_to_what_was_measured() -> None:
    linked = Candidate("linked", None, is_linked=True)
    assert choose_neighbours([linked, Candidate("new", 0.5)], 1) == ["new"]
