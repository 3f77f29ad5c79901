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


def test_a_quarter_of_the_links_lead_to_other_regions_one_to_each() -> None:
    home = [Candidate(f"home-{n}", 0.001 * n, region="home") for n in range(1, 10)]
    away = [
        Candidate("south-far", 0.09, region="south"),
        Candidate("south", 0.05, region="south"),
        Candidate("east", 0.06, region="east"),
        Candidate("west", 0.07, region="west"),
        Candidate("north", 0.02, region="north", is_failing=True),
    ]
    nearest_six = [f"home-{n}" for n in range(1, 7)]
    assert choose_neighbours([*home, *away], 8, region="home") == [*nearest_six, "south", "east"]
    assert choose_neighbours([*home, *away], 3, region="home") == nearest_six[:3]
    assert len(choose_neighbours(home, 8, region="home")) == 8
