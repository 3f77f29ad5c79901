from collections import Counter
from itertools import islice
from random import Random

import pytest

from gateway.core.countries import COUNTRIES
from gateway.core.values import Kind, said
from gateway.session.said_values import utterances
from models.subscriber_care.cases import FRESH_CASES_FILE, read_cases
from models.subscriber_care.data import spoken
from models.subscriber_care.data.mix import dialogue, dialogues
from models.subscriber_care.data.noise import restyle
from models.subscriber_care.data.phrasing import PatternError, expand
from models.subscriber_care.data.places import ALIASES, country
from models.subscriber_care.findings import VALUE_ARGUMENTS
from models.subscriber_care.format import TOOLS, Called, Heard, Said, problems_of
from models.subscriber_care.served import messages_of

NUM_WORDS_AT_MOST = 30


def test_the_same_seed_makes_the_same_dialogues() -> None:
    first = list(islice(dialogues(seed=3), 50))

    assert first == list(islice(dialogues(seed=3), 50))
    assert first[10:] == list(islice(dialogues(seed=3, start=10), 40))
    assert first != list(islice(dialogues(seed=4), 50))


def test_every_call_is_valid_and_every_reply_short() -> None:
    tools: Counter[str] = Counter()
    for turns in islice(dialogues(seed=5), 1500):
        for turn in turns:
            if isinstance(turn, Called):
                tools[turn.tool] += 1
                assert problems_of(turn) == []
            elif isinstance(turn, Said):
                assert len(turn.text.split()) <= NUM_WORDS_AT_MOST
                assert turn.text.endswith((".", "?", "!"))
                assert turn.text[0].isupper()

    assert set(tools) == set(TOOLS)
    assert min(tools.values()) >= 20


_SAID_ARGUMENTS = {
    ("pay_bill", "amount"): Kind.DOLLARS,
    ("pause_wifi", "minutes"): Kind.MINUTES,
    ("add_roaming", "country"): Kind.COUNTRY,
    ("add_roaming", "days"): Kind.DAYS,
    ("book_technician", "day"): Kind.DAY,
}


def test_every_value_called_is_one_that_the_session_has_heard() -> None:
    num_values = 0
    unheard = []
    for turns in islice(dialogues(seed=8), 1500):
        earlier: Called | None = None
        for at, turn in enumerate(turns):
            if not isinstance(turn, Called):
                continue
            heard = said(utterances(messages_of(turns[:at])))
            kept = earlier.arguments if earlier and earlier.tool == turn.tool else {}
            earlier = turn
            for name, value in turn.arguments.items():
                kind = _SAID_ARGUMENTS.get((turn.tool, name))
                if kind is None:
                    continue
                num_values += 1
                found = heard[kind].values
                if value not in found and (found or kept.get(name) != value):
                    unheard.append((turn, utterances(messages_of(turns[:at]))))

    assert num_values > 1000
    assert len(unheard) <= num_values / 500, unheard


def test_callers_seldom_say_the_same_twice() -> None:
    said = [t.text for d in islice(dialogues(seed=6), 1500) for t in d if isinstance(t, Heard)]

    assert len(set(said)) / len(said) > 0.8


def test_no_development_case_is_a_sentence_of_the_generator() -> None:
    cases = read_cases()
    written = [*cases, *read_cases(FRESH_CASES_FILE)]
    wanted = {_plain(c.turns[-1].text) for c in written if isinstance(c.turns[-1], Heard)}

    generated = {
        _plain(turn.text)
        for index in range(30_000)
        for turn in dialogue(1, index, style="plain")
        if isinstance(turn, Heard)
    }

    with_values = [c for c in cases if c.call and not VALUE_ARGUMENTS.isdisjoint(c.call.arguments)]
    assert len(cases) >= 300
    assert len(with_values) >= 150
    assert wanted & generated == set()


def _plain(text: str) -> str:
    return " ".join("".join(c for c in text.lower() if c.isalnum() or c == " ").split())


@pytest.mark.parametrize(
    ("pattern", "sentences"),
    [
        ("a (b|c) d", {"a b d", "a c d"}),
        ("[a ]b", {"a b", "b"}),
        ("(a [b]|c)|{x}", {"a b", "a", "c", "filled"}),
        ("yes[,] {x} ?", {"yes, filled?", "yes filled?"}),
    ],
)
def test_a_pattern_stands_for_exactly_its_sentences(pattern: str, sentences: set[str]) -> None:
    rng = Random(1)

    assert {expand(pattern, rng, {"x": "filled"}) for _ in range(200)} == sentences


@pytest.mark.parametrize("pattern", ["(a", "a)", "[a|b", "(a]"])
def test_a_pattern_with_unmatched_brackets_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        expand(pattern, Random(1), {})


_WORDS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split()
    )
} | {
    word: 10 * tens
    for tens, word in enumerate(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2
    )
}


def _read_out(words: str) -> int:
    """Read a number without colloquial forms, which stand for several."""
    total = group = 0
    for word in words.replace("-", " ").replace(" and ", " ").split():
        if word == "thousand":
            total, group = total + max(group, 1) * 1000, 0
        elif word == "hundred":
            group = max(group, 1) * 100
        else:
            group += 1 if word == "a" else _WORDS[word]
    return total + group


def test_number_words_mean_their_number() -> None:
    rng = Random(2)
    for n in range(1, 10_000):
        words = spoken.number(n, rng, digits=False)
        if n % 1000 < 100 or "hundred" in words.split("thousand")[-1]:
            assert _read_out(words) == n, words


def test_digits_are_the_number() -> None:
    rng = Random(2)

    assert {spoken.number(1204, rng, digits=True) for _ in range(50)} == {"1204", "1,204"}


def test_lengths_of_time_are_as_long_as_they_say() -> None:
    rng = Random(3)
    drawn = [spoken.minutes(rng, typed=True) for _ in range(3000)]
    said = {expand(words, rng, {}): value for value, words in drawn}

    assert said["an hour and a half"] == 90
    assert said["half an hour"] == 30
    assert all(1 <= value <= spoken.MINUTES_PER_DAY for value in said.values())


def test_amounts_of_each_length_are_as_likely() -> None:
    rng = Random(4)
    lengths = Counter(len(str(spoken.any_size(rng))) for _ in range(4000))

    assert set(lengths) == {1, 2, 3, 4}
    assert min(lengths.values()) > 800


def test_every_country_is_drawn_and_aliases_lead_to_countries() -> None:
    rng = Random(7)
    drawn = [country(rng) for _ in range(5000)]

    assert set(ALIASES) <= set(COUNTRIES)
    assert {name for name, _ in drawn} == set(COUNTRIES)
    assert all(said == name or said in ALIASES[name] for name, said in drawn)


@pytest.mark.parametrize("style", ["neat", "sloppy", "transcript"])
def test_noise_never_touches_digits(style: str) -> None:
    for index in range(300):
        noisy = restyle("pay 1204 dollars on my bill", style, Random(index))  # type: ignore[arg-type]
        assert "1204" in noisy


def test_neat_text_is_written_as_people_write() -> None:
    text = restyle("is the wifi down in new zealand on monday", "neat", Random(1))

    assert text.startswith("Is the ")
    assert text.endswith("in New Zealand on Monday?")
