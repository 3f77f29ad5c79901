"""The configuration of Realtime sessions, over WebSocket and as calls."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class Realtime(msgspec.Struct, frozen=True):
    """Realtime sessions, in text and in speech."""

    max_sessions: Annotated[
        int, Meta(ge=0, le=1 << 16, description="Sessions at the same time; more are told to wait.")
    ] = 256
    max_starts_per_s: Annotated[
        float,
        Meta(
            gt=0,
            le=10_000,
            description="Sessions that may begin each second; a minute's worth may at once.",
            extra={"unit": "1/s"},
        ),
    ] = 20.0
    session_limit_s: Annotated[
        float,
        Meta(gt=0, le=86_400, description="How long a session may last.", extra={"unit": "s"}),
    ] = 3600.0
