import pytest

from gateway.core.voice_line import HEARD_HZ
from gateway.session.voice.recent_sound import RecentSound

WINDOW_S = 0.032


def window(number: int) -> bytes:
    return number.to_bytes(2, "little") * 512


def test_what_was_before_can_be_had_again() -> None:
    recent = RecentSound()
    for number in range(10):
        assert recent.add(window(number), (number + 1) * WINDOW_S) == window(number)
    assert recent.since(7 * WINDOW_S) == window(7) + window(8) + window(9)
    assert recent.since(10 * WINDOW_S) == b""


def test_only_a_second_is_kept() -> None:
    recent = RecentSound()
    for number in range(100):
        recent.add(window(number), (number + 1) * WINDOW_S)
    assert len(recent.since(0.0)) == 2 * HEARD_HZ


def test_sound_that_was_given_already_is_cut() -> None:
    recent = RecentSound()
    recent.add(window(0) + window(1), 2 * WINDOW_S)
    assert recent.add(window(1) + window(2), 3 * WINDOW_S) == window(2)
    assert recent.since(0.0) == window(0) + window(1) + window(2)


def test_a_gap_forgets_and_what_led_up_to_speech_comes_with_it() -> None:
    recent = RecentSound()
    recent.add(window(0), WINDOW_S)
    assert recent.add(b"", 50 * WINDOW_S) == b""
    led_up = b"".join(map(window, range(41, 51)))
    assert recent.add(led_up + window(51), 51 * WINDOW_S) == led_up + window(51)
    assert recent.since(0.0) == led_up + window(51)


@pytest.mark.parametrize(("loud_windows", "quiet_s"), [(6, 4 * WINDOW_S), (10, 0.0), (0, 0.0)])
def test_where_speech_faded_out_is_known_unless_it_was_soft(
    loud_windows: int, quiet_s: float
) -> None:
    recent = RecentSound()
    for number in range(20):
        recent.add(window(2000 if number < loud_windows else 3), (number + 1) * WINDOW_S)
    assert recent.quiet_before(10 * WINDOW_S) == pytest.approx(quiet_s)
