import pytest

from models.asr_confusions import confusions
from models.subscriber_care.data.noise import CONFUSIONS_FILE


@pytest.mark.parametrize(
    ("said", "heard", "pairs"),
    [
        ("pause the wifi please", "pause the wife me please", [("wifi", "wife me")]),
        ("restart my router", "restart my router", []),
        ("add a pass", "add pass", [("a", "")]),
        ("one two three four five", "six", []),
    ],
)
def test_what_was_heard_instead(said: str, heard: str, pairs: list[tuple[str, str]]) -> None:
    assert list(confusions(said.split(), heard.split())) == pairs


def test_the_table_is_of_short_stretches_that_were_misheard() -> None:
    header, *rows = CONFUSIONS_FILE.read_text(encoding="utf-8").splitlines()

    assert header.split("\t") == ["said", "heard", "times"]
    assert len(rows) > 100
    for row in rows:
        said, heard, times = row.split("\t")
        assert said != heard
        assert int(times) >= 1
        assert 1 <= len(said.split()) <= 3
