"""What counts as misheard, and weights that tell it apart."""

import numpy as np
import pytest

from loadtests.hearing_confidence import Sample, figures, weights, word_errors


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("pay my bill", "pay my bill", 0.0),
        ("pay my bill", "pay the bill", 1 / 3),
        ("pay my bill", "pay", 2 / 3),
        ("yes", "you know yes", 2.0),
        ("no thanks", "", 1.0),
    ],
)
def test_words_put_in_left_out_and_replaced(said: str, heard: str, errors: float) -> None:
    assert word_errors(said.split(), heard.split()) == pytest.approx(errors)


def test_results_that_are_asked_about_are_counted_by_what_they_are() -> None:
    found = [Sample("v", (), 0.9, 0.0)] * 3 + [Sample("v", (), 0.01, 1.0)] * 3
    found += [Sample("v", (), 0.01, 0.0), Sample("v", (), 0.01, 0.3)]
    rates = figures(found)
    assert (rates["right"]["n"], rates["right"]["asked_again_ratio"]) == (4, 0.25)
    assert (rates["wrong"]["n"], rates["wrong"]["asked_again_ratio"]) == (3, 1.0)


def test_weights_separate_right_from_wrong() -> None:
    chance = np.random.default_rng(1)
    found = [
        Sample("v", (float(chance.normal(is_wrong * -2.0, 0.3)), 1.0), 0.5, float(is_wrong))
        for is_wrong in (0, 1) * 50
    ]
    fitted = weights(found)
    sums = np.array([one.evidence for one in found]) @ fitted
    assert np.mean((sums > 0) == [one.word_errors == 0.0 for one in found]) > 0.97
