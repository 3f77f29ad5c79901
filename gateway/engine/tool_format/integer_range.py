"""A regular expression for exactly the integers of a range."""

from __future__ import annotations


def integer_pattern(low: int, high: int) -> str:
    """Decimal integers from `low` to `high`: no leading zeros, no ``-0``, no plus sign.

    Written without look-arounds or anchors. Raises ValueError when `low` is above `high`.
    """
    if low > high:
        raise ValueError(f"no integer is at least {low} and at most {high}")
    parts: list[str] = []
    if low < 0:
        parts.append(f"-(?:{_natural(max(1, -high), -low)})")
    if high >= 0:
        parts.append(_natural(max(0, low), high))
    return "|".join(parts)


def _natural(low: int, high: int) -> str:
    """Alternatives for ``0 <= low <= high``, one run for each number of digits."""
    runs: list[str] = []
    while low <= high:
        last = min(high, 10 ** len(str(low)) - 1)
        runs.append(_same_length(str(low), str(last)))
        low = last + 1
    return "|".join(runs)


def _same_length(low: str, high: str) -> str:
    """Alternatives between two digit strings of equal length."""
    num_rest = len(low) - 1
    if not num_rest or (set(low[1:]) == {"0"} and set(high[1:]) == {"9"}):
        return _digit(low[0], high[0]) + _any_digits(num_rest)
    if low[0] == high[0]:
        return f"{low[0]}(?:{_same_length(low[1:], high[1:])})"
    first, last = int(low[0]), int(high[0])
    parts: list[str] = []
    if set(low[1:]) != {"0"}:
        parts.append(f"{first}(?:{_same_length(low[1:], '9' * num_rest)})")
        first += 1
    upper = ""
    if set(high[1:]) != {"9"}:
        upper = f"{last}(?:{_same_length('0' * num_rest, high[1:])})"
        last -= 1
    if first <= last:
        parts.append(_digit(str(first), str(last)) + _any_digits(num_rest))
    return "|".join([*parts, upper] if upper else parts)


def _digit(low: str, high: str) -> str:
    return low if low == high else f"[{low}-{high}]"


def _any_digits(count: int) -> str:
    return f"[0-9]{{{count}}}" if count else ""
