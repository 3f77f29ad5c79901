"""What is wrong with a client's JSON, in the words of the client's own fields."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.core.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

_MISSING = re.compile(r"Object missing required field `(\w+)`")
_INDEX = re.compile(r"\[[^\]]*\]")
_MAX_REASON_CHARS = 300
"""A reason quotes the offending value, which may be as long as the body."""


def named_fault(fault: str, hints: Mapping[str, str], *, under: str = "") -> InvalidRequest:
    """From msgspec's "what - at `$.path`" or "what - at `key` in `$.path`".

    `hints` say what to do instead, by path without indices; `under` is the path of the value that
    was decoded, within the request.
    """
    reason, at, place = fault.rpartition(" - at ")
    if not at:
        reason, place = fault, ""
    path = place.removeprefix("`key` in ").strip("`").removeprefix("$").removeprefix(".")
    if missing := _MISSING.match(reason):
        path = f"{path}.{missing[1]}" if path else missing[1]
    path = f"{under}.{path}" if under and path else under or path
    hint = hints.get(_INDEX.sub("", path))
    where = f"{path}: " if path else ""
    what = f"{reason[:_MAX_REASON_CHARS]} ({hint})" if hint else reason[:_MAX_REASON_CHARS]
    return InvalidRequest(where + what, param=path or None)
