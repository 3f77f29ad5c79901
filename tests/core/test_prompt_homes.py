from gateway.core.prompt_homes import PromptHomes

SYSTEM = tuple(range(128))
TURN = (*SYSTEM, *[500] * 100)


def test_the_longest_beginning_counts_in_whole_blocks() -> None:
    homes = PromptHomes()
    assert homes.of(TURN) == (0, ())
    homes.add(TURN, "b")
    assert homes.of((*TURN, *[600] * 200)) == (192, ("b",))
    assert homes.of((*SYSTEM, 7)) == (128, ("b",))
    assert homes.of(SYSTEM) == (64, ("b",)), "the last token must be prefilled"
    assert homes.of((1, *TURN)) == (0, ())


def test_what_several_sites_have_names_them_all_the_newest_first() -> None:
    homes = PromptHomes()
    homes.add(TURN, "b")
    homes.add((*SYSTEM, *[700] * 64), "c")
    assert homes.of((*SYSTEM, *[800] * 64)) == (128, ("c", "b"))
    assert homes.of((*TURN, 1)) == (192, ("b",))


def test_what_is_long_ago_is_forgotten_and_short_prompts_are_not_kept() -> None:
    homes = PromptHomes()
    homes.add(TURN, "b")
    for number in range(1000):
        homes.add((number,) * 20, "c")
    assert homes.of((*TURN, 1))[1] == ("b",)
    for number in range(64):
        homes.add((number,) * 64, "c")
    assert homes.of((*TURN, 1)) == (0, ())


def test_a_conversation_takes_one_place_however_long_it_is() -> None:
    homes = PromptHomes()
    homes.add((9,) * 64, "c")
    for num_blocks in range(2, 200):
        homes.add((1,) * 64 * num_blocks, "b")
    assert homes.of((9,) * 65) == (64, ("c",))
    assert homes.of((1,) * 64 * 300) == (64 * 199, ("b",))
