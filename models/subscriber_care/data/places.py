"""Countries as the tools want them (English name, lower case) and what callers call them."""

from functools import cache
from random import Random

from gateway.core.countries import COUNTRIES

ALIASES = {
    "united kingdom": ("the uk", "uk", "britain", "great britain", "the united kingdom",
                       "england", "scotland", "wales", "northern ireland"),
    "united states": ("the us", "the usa", "usa", "america", "the states", "the united states",
                      "the united states of america"),
    "netherlands": ("holland", "the netherlands"),
    "united arab emirates": ("the uae", "uae", "the emirates", "dubai"),
    "czech republic": ("czechia", "the czech republic"),
    "south korea": ("korea", "the republic of korea"),
    "ivory coast": ("cote d'ivoire", "the ivory coast"),
    "turkey": ("turkiye",),
    "myanmar": ("burma",),
    "eswatini": ("swaziland",),
    "cape verde": ("cabo verde",),
    "timor-leste": ("east timor",),
    "vatican city": ("the vatican",),
    "bosnia and herzegovina": ("bosnia",),
    "trinidad and tobago": ("trinidad",),
    "antigua and barbuda": ("antigua",),
    "saint lucia": ("st lucia",),
    "congo": ("the congo",),
    "ireland": ("the republic of ireland",),
    "new zealand": ("nz",),
    "china": ("mainland china",),
    **{name: (f"the {name}",) for name in ("bahamas", "maldives", "philippines", "seychelles",
       "gambia", "dominican republic", "cayman islands", "isle of man", "faroe islands")},
}  # fmt: skip

NOT_A_COUNTRY = tuple(
    """europe, asia, africa, south america, the middle east, the caribbean, the mediterranean,
    scandinavia, the balkans, paris, london, rome, barcelona, berlin, new york, tokyo, bangkok,
    lisbon, amsterdam, athens, prague, vienna, istanbul, toronto, sydney, bali, ibiza, mallorca,
    tenerife, crete, cancun, the alps, the coast, abroad, overseas, a few countries""".replace(
        "\n", " "
    ).split(", ")
)
NOT_A_COUNTRY = tuple(" ".join(name.split()) for name in NOT_A_COUNTRY)

_POPULAR = ("france", "spain", "italy", "germany", "mexico", "canada", "united kingdom", "japan",
            "united states", "greece", "portugal", "turkey", "thailand", "india")  # fmt: skip


def country(rng: Random) -> tuple[str, str]:
    """Draw a country: the tool's name for it and what the caller says."""
    draw = rng.random()
    if draw < 0.15:
        name = rng.choice(tuple(ALIASES))
    else:
        name = rng.choice(_POPULAR if draw < 0.25 else COUNTRIES)
    if name in ALIASES and rng.random() < 0.6:
        return name, rng.choice(ALIASES[name])
    return name, name


@cache
def proper_names() -> tuple[str, ...]:
    """Every name to capitalise in well-typed text, longest first."""
    spoken = [alias.removeprefix("the ") for aliases in ALIASES.values() for alias in aliases]
    regions = [name.removeprefix("the ") for name in NOT_A_COUNTRY]
    plain = {"us", "coast", "abroad", "overseas", "a few countries"}
    return tuple(sorted({*COUNTRIES, *spoken, *regions} - plain, key=lambda n: (-len(n), n)))
