"""The keys of a site's configuration as data, derived from the annotations of `site`."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from gateway.config.site import SiteConfig

MASK = "********"


class Key(msgspec.Struct, frozen=True):
    """One key: what it may hold, what it holds when nobody says, and what it is for."""

    section: str
    name: str
    annotation: Any
    default: object
    meta: Meta

    @property
    def dotted(self) -> str:
        """`section.name`, as in messages and on the command line."""
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"FIRSTHOP_{self.section}_{self.name}".upper()

    @property
    def help(self) -> str:
        """One sentence."""
        return self.meta.description or ""

    @property
    def is_path(self) -> bool:
        """Whether it names a file or directory."""
        return bool((self.meta.extra or {}).get("path"))

    @property
    def is_list(self) -> bool:
        """Whether it holds several texts."""
        return get_origin(get_args(self.annotation)[0]) is tuple

    def shown(self, value: object) -> object:
        """The value as it may be printed: secrets and credentials in an address are masked."""
        if (self.meta.extra or {}).get("secret") and value:
            return MASK
        if not (self.meta.extra or {}).get("url") or not isinstance(value, str):
            return value
        credentials, at, _ = urlsplit(value).netloc.rpartition("@")
        return value.replace(f"{credentials}@", f"{MASK}@", 1) if at else value

    def accepts(self) -> str:
        """What values are allowed, in words: `int, 1 to 1024`."""
        extra = self.meta.extra or {}
        if "words" in extra:
            return str(extra["words"])
        plain = get_args(self.annotation)[0]
        unit = extra.get("unit", "")
        return ", ".join(
            part for part in (_type_words(plain), _range_words(self.meta), unit) if part
        )


@cache
def site_keys() -> dict[str, Key]:
    """Every key by its dotted name, in the order of the table."""
    found: dict[str, Key] = {}
    defaults = SiteConfig()
    for section in SiteConfig.__struct_fields__:
        values = getattr(defaults, section)
        hints = get_type_hints(type(values), include_extras=True)
        for name in values.__struct_fields__:
            annotation = hints[name]
            meta = next(part for part in annotation.__metadata__ if isinstance(part, Meta))
            key = Key(section, name, annotation, getattr(values, name), meta)
            found[key.dotted] = key
    return found


def section_keys(section: str) -> list[Key]:
    """The keys of one section; empty when there is no such section."""
    return [key for key in site_keys().values() if key.section == section]


def section_help(section: str) -> str:
    """What a section is about."""
    return (type(getattr(SiteConfig(), section)).__doc__ or "").strip()


def _type_words(plain: Any) -> str:
    if get_origin(plain) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(plain))
    if get_origin(plain) is tuple:
        return "list of text"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return names[plain]


def _range_words(meta: Meta) -> str:
    if meta.pattern:
        return f"matching `{meta.pattern}`"
    low, high = meta.ge, meta.le
    if low is not None and high is not None:
        return f"{low:g} to {high:g}" if isinstance(low, float) else f"{low} to {high}"
    bounds = (("above", meta.gt), ("at least", low), ("below", meta.lt), ("at most", high))
    return " and ".join(
        f"{word} {bound:,}".replace(",", " ") for word, bound in bounds if bound is not None
    )
