"""What a caller asks of a turn in headers, checked: class, budget, whose tools."""

from __future__ import annotations

import math
import re

from gateway.core.budget import TurnClass
from gateway.core.errors import InvalidRequest, quoted

_DAY_MS = 86_400_000.0
_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{0,12})?", re.ASCII)


def turn_class_of(given: str | None) -> TurnClass | None:
    """Of `x-firsthop-class`. Raises InvalidRequest."""
    try:
        return None if given is None else TurnClass(given)
    except ValueError:
        raise InvalidRequest(
            f"x-firsthop-class is one of {', '.join(TurnClass)}, not {quoted(given or '')}",
            param="x-firsthop-class",
        ) from None


def budget_s_of(given_ms: str | None) -> float | None:
    """Of `x-slo-ttft-ms`, in seconds. Raises InvalidRequest."""
    if given_ms is None:
        return None
    budget_ms = float(given_ms) if _DECIMAL.fullmatch(given_ms) else math.nan
    if not 0.0 < budget_ms < _DAY_MS:
        raise InvalidRequest(
            f"x-slo-ttft-ms takes milliseconds above 0 and below a day, not {quoted(given_ms)}",
            param="x-slo-ttft-ms",
        )
    return budget_ms / 1e3


def wants_server_tools(given: str | None) -> bool:
    """Of `x-firsthop-tools`. Raises InvalidRequest."""
    if given not in (None, "client", "server"):
        raise InvalidRequest(
            f"x-firsthop-tools is client or server, not {quoted(given)}", param="x-firsthop-tools"
        )
    return given == "server"
