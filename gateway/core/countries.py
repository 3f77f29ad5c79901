"""Countries that a roaming pass can be for, and what callers call them.

The names are what tools take: English, lower case. "The" before a name is not part of it.
"""

from __future__ import annotations

COUNTRIES: tuple[str, ...] = tuple(
    " ".join(name.split())
    for name in """
    afghanistan, albania, algeria, andorra, angola, antigua and barbuda, argentina, armenia,
    aruba, australia, austria, azerbaijan, bahamas, bahrain, bangladesh, barbados, belarus,
    belgium, belize, benin, bermuda, bhutan, bolivia, bosnia and herzegovina, botswana, brazil,
    brunei, bulgaria, burkina faso, burundi, cambodia, cameroon, canada, cape verde, cayman
    islands, central african republic, chad, chile, china, colombia, comoros, congo, costa rica,
    croatia, cuba, curacao, cyprus, czech republic, denmark, djibouti, dominica, dominican
    republic, ecuador, egypt, el salvador, equatorial guinea, eritrea, estonia, eswatini,
    ethiopia, faroe islands, fiji, finland, france, french polynesia, gabon, gambia, georgia,
    germany, ghana, gibraltar, greece, greenland, grenada, guadeloupe, guam, guatemala,
    guernsey, guinea, guinea-bissau, guyana, haiti, honduras, hong kong, hungary, iceland,
    india, indonesia, iran, iraq, ireland, isle of man, israel, italy, ivory coast, jamaica,
    japan, jersey, jordan, kazakhstan, kenya, kiribati, kosovo, kuwait, kyrgyzstan, laos,
    latvia, lebanon, lesotho, liberia, libya, liechtenstein, lithuania, luxembourg, macau,
    madagascar, malawi, malaysia, maldives, mali, malta, marshall islands, martinique,
    mauritania, mauritius, mexico, micronesia, moldova, monaco, mongolia, montenegro, morocco,
    mozambique, myanmar, namibia, nauru, nepal, netherlands, new caledonia, new zealand,
    nicaragua, niger, nigeria, north korea, north macedonia, norway, oman, pakistan, palau,
    palestine, panama, papua new guinea, paraguay, peru, philippines, poland, portugal, puerto
    rico, qatar, reunion, romania, russia, rwanda, saint kitts and nevis, saint lucia, saint
    vincent and the grenadines, samoa, san marino, sao tome and principe, saudi arabia, senegal,
    serbia, seychelles, sierra leone, singapore, slovakia, slovenia, solomon islands, somalia,
    south africa, south korea, south sudan, spain, sri lanka, sudan, suriname, sweden,
    switzerland, syria, taiwan, tajikistan, tanzania, thailand, timor-leste, togo, tonga,
    trinidad and tobago, tunisia, turkey, turkmenistan, tuvalu, uganda, ukraine, united arab
    emirates, united kingdom, united states, uruguay, uzbekistan, vanuatu, vatican city,
    venezuela, vietnam, yemen, zambia, zimbabwe
    """.split(",")
)

ALIASES: dict[str, tuple[str, ...]] = {
    "united kingdom": (
        "uk",
        "britain",
        "great britain",
        "england",
        "scotland",
        "wales",
        "northern ireland",
        "u k",
        "u.k.",
    ),
    "united states": (
        "us",
        "usa",
        "america",
        "states",
        "united states of america",
        "u s",
        "u s a",
        "u.s.",
        "u.s.a.",
        "us of a",
        "hawaii",
    ),
    "netherlands": ("holland",),
    "united arab emirates": (
        "uae",
        "emirates",
        "dubai",
        "abu dhabi",
    ),
    "czech republic": ("czechia",),
    "south korea": (
        "korea",
        "republic of korea",
    ),
    "ivory coast": ("cote d'ivoire",),
    "turkey": (
        "turkiye",
        "türkiye",
    ),
    "myanmar": ("burma",),
    "eswatini": ("swaziland",),
    "cape verde": ("cabo verde",),
    "timor-leste": (
        "east timor",
        "timor leste",
    ),
    "vatican city": ("vatican", "holy see"),
    "bosnia and herzegovina": ("bosnia",),
    "trinidad and tobago": ("trinidad",),
    "antigua and barbuda": ("antigua",),
    "saint lucia": ("st lucia",),
    "ireland": ("republic of ireland",),
    "new zealand": ("nz",),
    "china": ("mainland china",),
    "saint vincent and the grenadines": (
        "saint vincent",
        "st vincent",
    ),
    "saint kitts and nevis": (
        "st kitts",
        "saint kitts",
    ),
    "guinea-bissau": ("guinea bissau",),
    "hong kong": ("hongkong",),
    "russia": ("russian federation",),
    "sri lanka": ("ceylon",),
    "saudi arabia": ("saudi",),
    "spain": ("canary islands", "canaries"),
    "greece": ("greek islands", "grece"),
    "brazil": ("brasil",),
    "switzerland": ("swizerland", "switserland"),
    "croatia": ("crotia",),
    "portugal": ("portugual",),
    "italy": ("itly",),
    "thailand": ("tailand",),
    "philippines": ("phillipines", "philipines"),
    "morocco": ("marocco",),
    "vietnam": ("viet nam",),
    "north macedonia": ("macedonia",),
    "sao tome and principe": ("sao tome",),
}
"""Other names by country. A part that names its whole (England, Dubai) counts as the whole."""

NOT_COUNTRIES = (
    "south america", "north america", "central america", "latin america", "new mexico",
    "new england", "south wales", "new south wales", "prince of wales",
)  # fmt: skip
"""Places whose names hold a country's: a caller who names one has named no country."""

_SMALL_WORDS = frozenset({"and", "of", "the"})


def written(country: str) -> str:
    """A country's name as it is written: "Trinidad and Tobago", "Guinea-Bissau"."""
    return " ".join(
        word if word in _SMALL_WORDS else "-".join(part.capitalize() for part in word.split("-"))
        for word in country.split()
    )
