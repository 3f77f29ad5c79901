"""How callers say whole numbers, sums of money and lengths of time, with the value they mean."""

from dataclasses import dataclass
from random import Random

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()

MINUTES_PER_DAY = 1440
MAX_ROAMING_DAYS = 90


@dataclass(frozen=True, slots=True)
class Value:
    """A slot's value and the words for it."""

    value: str | int
    words: str


def number(n: int, rng: Random, *, digits: bool) -> str:
    """Say a whole number from 0 to 9,999 as digits or in one of its spoken forms."""
    if digits:
        return f"{n:,}" if n > 999 and rng.random() < 0.3 else str(n)
    if n < 100:
        return _below_hundred(n, rng)
    if n < 1000:
        return _hundreds(n, rng)
    if n % 1000 >= 100 and n % 1000 // 100 and n % 100 == 0 and rng.random() < 0.6:
        return f"{_below_hundred(n // 100, rng)} hundred"
    if n % 100 and n // 100 % 10 and rng.random() < 0.25:
        return f"{_below_hundred(n // 100, rng)} {_below_hundred(n % 100, rng, 'oh ')}"
    thousands = "a" if n < 2000 and rng.random() < 0.4 else _ONES[n // 1000]
    rest = n % 1000
    if not rest:
        return f"{thousands} thousand"
    joint = " and " if rest < 100 and rng.random() < 0.7 else " "
    tail = _below_hundred(rest, rng) if rest < 100 else _hundreds(rest, rng, clipped=0.0)
    return f"{thousands} thousand{joint}{tail}"


def _below_hundred(n: int, rng: Random, ones_prefix: str = "") -> str:
    if n < 20:
        return (ones_prefix if n < 10 else "") + _ONES[n]
    ones = n % 10
    return _TENS[n // 10] + (rng.choice(" -") + _ONES[ones] if ones else "")


def _hundreds(n: int, rng: Random, *, clipped: float = 0.15) -> str:
    """`clipped`: how often the word "hundred" is left out."""
    rest = n % 100
    if rest >= 10 and rng.random() < clipped:
        return f"{_ONES[n // 100]} {_below_hundred(rest, rng)}"
    head = (
        "a hundred" if clipped and n < 200 and rng.random() < 0.4 else f"{_ONES[n // 100]} hundred"
    )
    if not rest:
        return head
    return head + rng.choice((" and ", " ")) + _below_hundred(rest, rng)


def any_size(rng: Random, high: int = 9999) -> int:
    """Draw from 1 to `high`, each number of digits as likely as the other; round ones often."""
    n = 0
    while not 1 <= n <= high:
        power = rng.randrange(len(str(high)))
        n = rng.randrange(10**power, 10 ** (power + 1))
        if n > 20 and rng.random() < 0.35:
            n = n // 5 * 5
        if n > 200 and rng.random() < 0.25:
            n = n // 100 * 100
    return n


def dollars(rng: Random, *, typed: bool) -> Value:
    """Draw an amount of whole dollars, 1 to 9,999."""
    n = any_size(rng)
    digits = rng.random() < (0.8 if typed else 0.25)
    said = number(n, rng, digits=digits)
    if digits and rng.random() < 0.5:
        return Value(n, rng.choice((f"${said}", f"${said}", f"{said}$")))
    unit = "dollar" if n == 1 else rng.choice(("dollars", "dollars", "dollars", "bucks"))
    return Value(n, said if rng.random() < 0.1 else f"{said} {unit}")


_FIXED_MINUTES = (
    (15, "(a quarter of an hour|quarter of an hour|a quarter hour)"),
    (30, "(half an hour|a half hour|half hour|thirty minutes|30 mins)"),
    (45, "(three quarters of an hour|forty five minutes|45 min)"),
    (60, "(an hour|one hour|1 hour|a full hour|60 minutes|sixty minutes|1h)"),
    (75, "(an hour and a quarter|one and a quarter hours|one hour fifteen)"),
    (90, "(an hour and a half|one and a half hours|one hour thirty|1.5 hours|one hour and a half)"),
    (105, "(an hour and three quarters|one hour forty five|1h45)"),
    (120, "(a couple of hours|two hours|2 hours|a couple hours|2h|2 hrs|two full hours)"),
    (150, "(two and a half hours|2.5 hours|two hours and a half|two hours thirty)"),
    (720, "(half a day|twelve hours|12 hours)"),
    (1440, "(a day|a whole day|24 hours|twenty four hours|one day|a full day|a full 24 hours)"),
)


def minutes(rng: Random, *, typed: bool) -> tuple[int, str]:
    """Draw a pause of 1 to 1,440 minutes; the words are a pattern still to be expanded."""
    digits = rng.random() < (0.7 if typed else 0.25)
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(_FIXED_MINUTES)
    if kind < 0.5:
        n = rng.choice((5, 10, 15, 20, 25, 30, 40, 45, 50, 60, 90, 120))
        return n, f"{number(n, rng, digits=digits)} (minutes|minutes|mins|min)"
    if kind < 0.68:
        n = any_size(rng, MINUTES_PER_DAY)
        return n, f"{number(n, rng, digits=digits)} minute{'s' * (n != 1)}"
    hours = rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 9, 10, rng.randrange(11, 24)))
    said = number(hours, rng, digits=digits)
    if kind < 0.84:
        return 60 * hours, f"{said} (hours|hours|hrs)" if hours > 1 else f"{said} hour"
    if kind < 0.9 and hours > 1:
        return 60 * hours + 30, f"({said} and a half hours|{said} hours and a half)"
    rest = rng.choice((5, 10, 15, 20, 25, 30, 40, 45, 50, rng.randrange(1, 60)))
    minute_words = number(rest, rng, digits=digits)
    hour_words = "an hour" if hours == 1 else f"{said} hours"
    return 60 * hours + rest, f"{hour_words} [and] {minute_words} minute{'s' * (rest != 1)}"


_FIXED_DAYS = (
    (1, "(a day|one day|1 day|just the one day|a single day|24 hours)"),
    (2, "(a couple of days|two days|a couple days|48 hours)"),
    (7, "(a week|one week|1 week|seven days|a whole week|a full week)"),
    (8, "(a week and a day|eight days)"),
    (10, "(a week and three days|ten days|10 days)"),
    (14, "(two weeks|a fortnight|2 weeks|a couple of weeks|fourteen days|two full weeks)"),
    (21, "(three weeks|3 weeks|twenty one days)"),
    (28, "(four weeks|4 weeks)"),
    (30, "(a month|one month|thirty days|a whole month|1 month)"),
    (60, "(two months|2 months|a couple of months|sixty days)"),
    (90, "(three months|3 months|ninety days|three full months)"),
)


def days(rng: Random, *, typed: bool) -> tuple[int, str]:
    """Draw a stay of 1 to 90 days; the words are a pattern still to be expanded."""
    kind = rng.random()
    digits = rng.random() < (0.7 if typed else 0.25)
    if kind < 0.35:
        return rng.choice(_FIXED_DAYS)
    if kind < 0.47:
        weeks = rng.randrange(2, 13)
        return 7 * weeks, f"{number(weeks, rng, digits=digits)} weeks"
    n = rng.randrange(1, 15) if kind < 0.7 else rng.randrange(1, MAX_ROAMING_DAYS + 1)
    return n, f"{number(n, rng, digits=digits)} day{'s' * (n != 1)}"
