"""Which sites there are, and what the links between them are like.

    sites = ["client", "edge-a", "central"]

    [default]                       # for every pair that is not named; optional
    rtt_ms = 20

    [links.client]
    edge-a = { rtt_ms = 5, jitter_ms = 0.5, loss_ratio = 0.001, rate_mbit_per_s = 500 }
    central = { rtt_ms = 80 }

A complaint names file, line and key.
"""

from __future__ import annotations

import re
from itertools import combinations
from math import isfinite
from typing import TYPE_CHECKING

import msgspec

from gateway.config.toml_lines import TomlFile
from gateway.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_NUM_SITES = 250
"""One subnet of 256 addresses holds them all."""

MIN_RATE_BIT_PER_S = 64e3
_NAMES = re.compile("[a-z_]+")
_SITE = re.compile("[a-z0-9][a-z0-9-]{0,40}")


class Link(msgspec.Struct, frozen=True):
    """A path between two sites, the same in both directions.

    Each direction delays by half the round-trip time, plus or minus `jitter_s` evenly distributed,
    in order; loses each packet with `loss_ratio`; and sends at `rate_bit_per_s` (0: any rate; else
    at least MIN_RATE_BIT_PER_S, or one packet would fill the queue). Raises ValueError for a
    figure out of range.
    """

    rtt_s: float
    jitter_s: float = 0.0
    loss_ratio: float = 0.0
    rate_bit_per_s: float = 0.0

    def __post_init__(self) -> None:
        """Hold every figure to its range."""
        _within("rtt", self.rtt_s, 10.0)
        _within("jitter", self.jitter_s, self.rtt_s / 2)
        _within("loss_ratio", self.loss_ratio, 1.0)
        _within("rate", self.rate_bit_per_s, 1e12)
        if 0 < self.rate_bit_per_s < MIN_RATE_BIT_PER_S:
            raise ValueError(
                f"rate must be 0 (any) or at least {MIN_RATE_BIT_PER_S / 1e6:g} Mbit/s, "
                f"not {self.rate_bit_per_s / 1e6:g}"
            )


def _within(name: str, value: float, most: float) -> None:
    if not (isfinite(value) and 0 <= value <= most):
        raise ValueError(f"{name} must be from 0 to {most:g}, not {value:g}")


class LinkMatrix(msgspec.Struct, frozen=True):
    """Sites and the link of every pair of them. Raises ValueError."""

    sites: tuple[str, ...]
    links: tuple[tuple[str, str, Link], ...]
    """Every pair once, in the order of `sites`."""

    def __post_init__(self) -> None:
        """Hold the sites and pairs together."""
        if not 2 <= len(self.sites) <= MAX_NUM_SITES or len(set(self.sites)) < len(self.sites):
            raise ValueError(f"2 to {MAX_NUM_SITES} sites, each once, not {len(self.sites)}")
        for site in self.sites:
            if not _SITE.fullmatch(site):
                raise ValueError(f"a site is named like `edge-a`, not {site!r}")
        pairs = [(one, other) for one, other, _ in self.links]
        if pairs != list(combinations(self.sites, 2)):
            raise ValueError("there must be one link for every pair, in the order of the sites")

    @classmethod
    def of(
        cls,
        sites: tuple[str, ...],
        links: Mapping[tuple[str, str], Link],
        default: Link | None = None,
    ) -> LinkMatrix:
        """The matrix of these links, a pair in either order. Raises ValueError."""
        found = []
        for one, other in combinations(sites, 2):
            link = links.get((one, other)) or links.get((other, one)) or default
            if link is None:
                raise ValueError(f"no link between {one} and {other}, and no default")
            found.append((one, other, link))
        return cls(sites, tuple(found))

    def address(self, site: str) -> str:
        """The site's IPv4 address on every path."""
        return f"{SUBNET}.{self.sites.index(site) + 1}"


SUBNET = "127.99.0"
"""The first three bytes; the last is the site's place, from 1. Seen only inside namespaces.

A site takes these for loopback, so it serves there without keys and certificates, as it would on
a developer's machine; the namespaces route them over the links like any others.
"""


class _LinkKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    rtt_ms: float
    jitter_ms: float = 0.0
    loss_ratio: float = 0.0
    rate_mbit_per_s: float = 0.0

    def link(self) -> Link:
        return Link(
            self.rtt_ms / 1e3, self.jitter_ms / 1e3, self.loss_ratio, self.rate_mbit_per_s * 1e6
        )


def read_matrix(path: Path) -> LinkMatrix:
    """The matrix in a TOML file. Raises ConfigError."""
    file = TomlFile.read(path)
    for key in file.document:
        if key not in {"sites", "default", "links"}:
            raise ConfigError(f"{file.origin(key)}: {key}: unknown key")
    if "sites" not in file.document:
        raise ConfigError(f"{path}:1: sites: missing; a list of names")
    try:
        sites = msgspec.convert(file.document["sites"], tuple[str, ...])
    except msgspec.ValidationError as error:
        raise ConfigError(f"{file.origin('sites')}: sites: a list of names ({error})") from error
    default = None
    if "default" in file.document:
        default = _link(file, ("default",), file.document["default"])
    links = _links(file, sites)
    try:
        return LinkMatrix.of(sites, links, default)
    except ValueError as error:
        raise ConfigError(f"{file.origin('sites')}: sites: {error}") from error


def _links(file: TomlFile, sites: tuple[str, ...]) -> dict[tuple[str, str], Link]:
    links: dict[tuple[str, str], Link] = {}
    tables = file.document.get("links", {})
    if not isinstance(tables, dict):
        raise ConfigError(f"{file.origin('links')}: links: a table of sites")
    for one, others in tables.items():
        if not isinstance(others, dict):
            raise ConfigError(f"{file.origin('links', one)}: links.{one}: a table of other sites")
        for other, keys in others.items():
            at, name = file.origin("links", one, other), f"links.{one}.{other}"
            for site in (one, other):
                if site not in sites:
                    raise ConfigError(f"{at}: {name}: {site!r} is not in `sites`")
            if one == other or (one, other) in links or (other, one) in links:
                raise ConfigError(f"{at}: {name}: each pair of two sites is named once")
            links[one, other] = _link(file, ("links", one, other), keys)
    return links


def _link(file: TomlFile, key: tuple[str, ...], keys: object) -> Link:
    try:
        return msgspec.convert(keys, _LinkKeys).link()
    except (msgspec.ValidationError, ValueError) as error:
        # Complaints name the key that they are about.
        words = _NAMES.findall(str(error))
        spelt = keys if isinstance(keys, dict) else {}
        named = next(
            (name for name in spelt if name in words or name.partition("_")[0] in words), None
        )
        at = (*key, named) if named else key
        raise ConfigError(f"{file.origin(*at)}: {'.'.join(key)}: {error}") from error
