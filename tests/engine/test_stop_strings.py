from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.engine.stop_strings import StopScanner, partial_suffix_chars

stop_lists = st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=4)
piece_lists = st.lists(st.text("ab\n", max_size=5), max_size=12)


def naive_cut(text: str, stops: list[str]) -> str | None:
    """The text before the stop string that is complete first, or None when there is none."""
    for end in range(len(text) + 1):
        complete = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: min(complete)]
    return None


@given(pieces=piece_lists, stops=stop_lists)
def test_it_cuts_where_the_naive_search_does(pieces: list[str], stops: list[str]) -> None:
    scanner = StopScanner(stops)
    shown = ""
    for piece in pieces:
        safe, hit = scanner.feed(piece)
        shown += safe
        assert hit == scanner.hit
        assert not any(stop in shown for stop in stops)
        # Nothing shown may turn out to have begun a stop string.
        assert not hit or shown == naive_cut("".join(pieces), stops)
    shown += scanner.flush()
    expected = naive_cut("".join(pieces), stops)
    assert shown == ("".join(pieces) if expected is None else expected)
    assert scanner.hit == (expected is not None)


@given(pieces=piece_lists, stops=stop_lists)
def test_it_holds_back_no_more_than_may_begin_a_stop_string(
    pieces: list[str], stops: list[str]
) -> None:
    scanner = StopScanner(stops)
    shown = seen = ""
    for piece in pieces:
        seen += piece
        safe, hit = scanner.feed(piece)
        shown += safe
        if hit:
            break
        assert seen.startswith(shown)
        assert any(stop.startswith(seen[len(shown) :]) for stop in stops)


def test_without_stop_strings_everything_passes() -> None:
    scanner = StopScanner(())
    assert scanner.feed("text") == ("text", False)
    assert scanner.flush() == ""


def test_nothing_comes_out_after_a_hit() -> None:
    scanner = StopScanner(["END"])
    assert scanner.feed("a EN") == ("a ", False)
    assert scanner.feed("D b") == ("", True)
    assert scanner.feed("more") == ("", True)
    assert scanner.flush() == ""


def test_partial_suffixes() -> None:
    assert partial_suffix_chars("a<tool", ("<tool_call>",)) == 5
    assert partial_suffix_chars("a<tool_call>", ("<tool_call>",)) == 0
    assert partial_suffix_chars("<<", ("<<c>", "<b>")) == 2
    assert partial_suffix_chars("", ("<c>",)) == 0
