import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.countries import ALIASES, COUNTRIES
from gateway.core.values import Kind, Said, said

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def in_words(number: int, *, with_and: bool) -> str:
    """An independent speller, for the round trip."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        ones = f" {_ONES[number % 10]}" if number % 10 else ""
        return _TENS[number // 10 - 2] + ones
    size, word = (100, "hundred") if number < 1000 else (1000, "thousand")
    head, rest = divmod(number, size)
    tail = ""
    if rest:
        joint = " and " if with_and and rest < 100 else " "
        tail = joint + in_words(rest, with_and=with_and)
    return f"{in_words(head, with_and=with_and)} {word}{tail}"


def dollars(text: str) -> tuple[object, ...]:
    return said([text])[Kind.DOLLARS].values


def minutes(text: str) -> tuple[object, ...]:
    return said([text])[Kind.MINUTES].values


def days(text: str) -> tuple[object, ...]:
    return said([text])[Kind.DAYS].values


def countries(text: str) -> tuple[object, ...]:
    return said([text])[Kind.COUNTRY].values


@given(st.integers(1, 9999), st.booleans())
def test_every_number_in_words_is_understood(number: int, with_and: bool) -> None:
    assert dollars(f"pay {in_words(number, with_and=with_and)} dollars please") == (number,)


@given(st.integers(1, 99_999))
def test_every_number_in_digits_is_understood(number: int) -> None:
    assert dollars(f"pay ${number}") == dollars(f"pay {number:,} dollars") == (number,)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("pay forty", (40,)),
        ("pay forty-five bucks", (45,)),
        ("a hundred and twenty dollars", (120,)),
        ("a hundred dollars", (100,)),
        ("twelve hundred dollars", (1200,)),
        ("twelve fifty", (1250,)),
        ("sixty two twenty five", (6225,)),
        ("twelve oh five", (1205,)),
        ("pay forty dollars.", (40,)),
        ("pay 9$ please", (9,)),
        ("eighty um five dollars", (85,)),
        ("forty dollars no wait fifty", (50,)),
        ("pay forty dollars on the 14th", (40,)),
        ("one twenty", (120,)),
        ("two thousand five hundred", (2500,)),
        ("$40.00 please", (40,)),
        ("pay forty no fifty dollars", (50,)),
        ("pay forty, sorry, I mean fifty dollars", (50,)),
        ("not forty fifty dollars", (50,)),
        ("thirty instead of twenty", (30,)),
        ("pay thirty dollars rather than twenty", (30,)),
        ("pay forty dollars for this one", (40,)),
        ("pay 40 dollars at 5", (40,)),
        ("pay 12.50", ()),
        ("pay half of it", ()),
        ("pay my bill", ()),
        ("pay zero dollars", ()),
        ("pay twenty percent", ()),
        ("pay forty dollars for two weeks ago", (40,)),
        ("one five zero dollars", (150,)),
        ("pay five oh dollars", (50,)),
        ("pay five five dollars", (5,)),
        ("five oh sorry six dollars", (6,)),
        ("", ()),
    ],
)
def test_amounts(text: str, values: tuple[int, ...]) -> None:
    assert dollars(text) == values


@pytest.mark.parametrize(
    "text",
    [
        "pay 0 dollars",
        "pay a grand",
        "a fiver off the bill",
        "50 dollars less than i owe",
        "pay zero",
        "pay nothing",
        "pay 12.50",
        "$12.50",
        "12 dollars and 50 cents",
        "fifty cents",
        "forty-five point five dollars",
        "pay 100000000000 dollars",
        "1/2 of it",
        "½ of it",
        "everything except 20 dollars",
        "all but twenty",
        "the whole bill minus 20",
        "don't pay 40 dollars",
        "I don't want to pay 40",
        "-5 dollars",
        "-$5",
        "minus five dollars",
        "10 euros",
        "€10",
        "ten pounds please",
        "forty or fifty dollars",
        "pay 5 dollars and pay 6 dollars",
        "a dozen dollars",
        "two dozen dollars",
        "a couple of dollars",
        "pay on the 15th",
        "pay on the fifteenth",
        "pay 5k",
        "$1e1",
        "10-20 dollars",
        "10+5",
        "10+10 dollars",
        "two 10 dollar bills",
        "I have 20 dollars, pay 5",
        "20 less than my balance",
        "in 2 instalments",
        "six figures",
        "pay my bill at 5",
        "pay my bill at 5 pm",
        "the last four digits of my card",
        "is that all I owe?",
    ],
)
def test_an_amount_that_cannot_be_paid_was_said_all_the_same(text: str) -> None:
    found = said([text])[Kind.DOLLARS]
    assert found.values == ()
    assert found.is_unclear


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("40 not 50", (40,)),
        ("pay 40, not 50 dollars", (40,)),
        ("don't pay 50 pay 40", (40,)),
        ("pay 12.50, no, 12 dollars", (12,)),
        ("I don't care, take 40 dollars", (40,)),
        ("no, not fifty, sixty", (60,)),
        ("ten point zero dollars", (10,)),
    ],
)
def test_what_is_not_wanted_leaves_what_is(text: str, values: tuple[int, ...]) -> None:
    found = said([text])[Kind.DOLLARS]
    assert (found.values, found.is_unclear) == (values, False)


@pytest.mark.parametrize(
    "text", ["pay bill 4821", "one more thing, pay my bill", "zero out my balance"]
)
def test_a_number_that_is_no_sum_is_no_amount(text: str) -> None:
    assert said([text])[Kind.DOLLARS] == Said()


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("move me to the plus plan", Kind.PLAN, ("plus",)),
        ("change my plan", Kind.PLAN, ()),
        ("not basic, unlimited", Kind.PLAN, ("unlimited",)),
        ("block my sim", Kind.REASON, ()),
        ("I can't find my phone", Kind.REASON, ("lost",)),
        ("it slid out of my pocket", Kind.REASON, ("lost",)),
        ("my fone was stollen", Kind.REASON, ("stolen",)),
        ("someone took my phone", Kind.REASON, ("stolen",)),
        ("restart the set-top box", Kind.DEVICE, ("tv_box",)),
        ("for my daughter", Kind.GROUP, ("kids",)),
        ("some time in the evening", Kind.WINDOW, ("evening",)),
        ("the day after tomorrow", Kind.DAY, ()),
        ("this evening", Kind.DAY, ("today",)),
    ],
)
def test_choices_are_known_by_their_names(text: str, kind: Kind, values: tuple[str, ...]) -> None:
    assert said([text])[kind].values == values


@pytest.mark.parametrize("text", ["-10 minutes", "don't pause it for ten minutes"])
def test_a_time_that_is_not_wanted_is_none(text: str) -> None:
    assert minutes(text) == ()


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("an hour", (60,)),
        ("hour and a half", (90,)),
        ("the next hour", (60,)),
        ("1 1/2 hours", (90,)),
        ("1½ hours", (90,)),
        ("1:15 hours", (75,)),
        ("a solid hour", (60,)),
        ("2 hors", (120,)),
        ("next week", ()),
        ("half an hour", (30,)),
        ("an hour and a half", (90,)),
        ("one and a half hours", (90,)),
        ("two and a half hours", (150,)),
        ("a quarter of an hour", (15,)),
        ("three quarters of an hour", (45,)),
        ("an hour and twenty minutes", (80,)),
        ("an hour and twenty", (80,)),
        ("2 hours 15 minutes", (135,)),
        ("ninety minutes", (90,)),
        ("1.5 hours", (90,)),
        ("a couple of hours", (120,)),
        ("two full hours", (120,)),
        ("for 2 hours.", (120,)),
        ("1h45", (105,)),
        ("for the next hour and three quarters", (105,)),
        ("half hour", (30,)),
        ("1/2 hour", (30,)),
        ("an hour and a quarter", (75,)),
        ("three quarters of an um hour", (45,)),
        ("the whole day", (1440,)),
        ("45", (45,)),
        ("for forty five", (45,)),
        ("twenty minutes no make it thirty minutes", (30,)),
        ("two days", ()),
        ("a while", ()),
    ],
)
def test_minutes(text: str, values: tuple[int, ...]) -> None:
    assert minutes(text) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a week", (7,)),
        ("2 wks", (14,)),
        ("two weeks", (14,)),
        ("a fortnight", (14,)),
        ("ten days", (10,)),
        ("a month", (30,)),
        ("a week and two days", (9,)),
        ("Two weeks.", (14,)),
        ("48 hours", (2,)),
        ("a single day", (1,)),
        ("a couple of days", (2,)),
        ("three nights", (3,)),
        ("a week and a half", ()),
        ("four months", ()),
        ("a long weekend", ()),
        ("next week", ()),
    ],
)
def test_days(text: str, values: tuple[int, ...]) -> None:
    assert days(text) == values


@pytest.mark.parametrize(
    ("utterances", "is_unclear"),
    [
        (["I need some help", "pay what I owe"], False),
        (["pay a bit of it"], True),
        (["pay some of it", "actually all of it"], False),
    ],
)
def test_the_latest_word_on_how_much_counts(utterances: list[str], is_unclear: bool) -> None:
    assert said(utterances)[Kind.DOLLARS].is_unclear is is_unclear


@given(st.sampled_from(COUNTRIES))
def test_every_country_is_found_in_any_case(country: str) -> None:
    assert countries(f"I am going to {country.title()} next week") == (country,)


@given(st.sampled_from([(name, alias) for name, all_ in ALIASES.items() for alias in all_]))
def test_every_alias_means_its_country(pair: tuple[str, str]) -> None:
    country, alias = pair
    assert countries(f"roaming for the {alias} please") == (country,)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("give us a pass", ()),
        ("all over South America", ()),
        ("a pass for the us", ("united states",)),
        ("south korea", ("south korea",)),
        ("Côte d’Ivoire", ("ivory coast",)),
        ("st. vincent", ("saint vincent and the grenadines",)),
        ("the greek islands", ("greece",)),
        ("itly", ("italy",)),
        ("papua new guinea", ("papua new guinea",)),
        ("france no sorry germany", ("germany",)),
        ("france and germany", ("france", "germany")),
        ("nigeria", ("nigeria",)),
        ("abroad", ()),
    ],
)
def test_countries(text: str, values: tuple[str, ...]) -> None:
    assert countries(text) == values


def test_the_latest_utterance_with_a_value_decides() -> None:
    assert said(["pay forty dollars", "make it fifty"])[Kind.DOLLARS].values == (50,)
    assert said(["a pass for japan", "two weeks"])[Kind.COUNTRY].values == ("japan",)
    assert said(["a pass for japan", "two weeks"])[Kind.DAYS].values == (14,)


def test_a_unit_beats_a_bare_number() -> None:
    found = said(["pay 40 dollars on account 4821"])[Kind.DOLLARS]
    assert found == Said((40,))


def test_relative_amounts_are_told_apart() -> None:
    assert said(["pay half of it"])[Kind.DOLLARS].is_unclear
    assert not said(["pay it all"])[Kind.DOLLARS].is_unclear
    assert not said(["pay half, so forty dollars"])[Kind.DOLLARS].is_unclear


@given(st.lists(st.text(max_size=80), max_size=4))
def test_any_text_is_taken(utterances: list[str]) -> None:
    numbers = (Kind.DOLLARS, Kind.MINUTES, Kind.DAYS)
    for kind, found in said(utterances).items():
        for value in found.values:
            assert isinstance(value, int if kind in numbers else str)


@pytest.mark.parametrize(
    "text",
    ["9 or " * 4000, "five dollars " + "9 x " * 4000, "pay " + "9" * 5000, "a " * 9000],
)
def test_long_texts_take_time_in_proportion_to_their_length(text: str) -> None:
    began_s = time.thread_time()
    said([text])
    assert time.thread_time() - began_s < 2.0  # 0.3 s here; what grows with the square takes 20 s


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("Tuesday's fine", ("tuesday",)),
        ("monday, no, sunday evening", ("sunday",)),
        ("can you come tonight", ("today",)),
        ("this afternoon would be best", ("today",)),
        ("the day after tomorrow", ()),
        ("wensday or tomorow", ("wednesday", "tomorrow")),
        ("next week", ()),
    ],
)
def test_named_days(text: str, values: tuple[str, ...]) -> None:
    assert said([text])[Kind.DAY].values == values
