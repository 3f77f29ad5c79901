"""The configuration of calls: the voice workers and their sound."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class Voice(msgspec.Struct, frozen=True):
    """WebRTC calls and Realtime connections."""

    workers: Annotated[
        int,
        Meta(ge=0, le=64, description="Processes that carry calls; 0: this site takes none."),
    ] = 1
    host: Annotated[
        str, Meta(min_length=1, description="IP address that calls' UDP packets come to.")
    ] = "127.0.0.1"
    port: Annotated[
        int,
        Meta(
            ge=0,
            le=65_535,
            description="UDP port of the first worker, the next has the next; 0: free ones.",
        ),
    ] = 20_080
    advertised_host: Annotated[
        str,
        Meta(
            description="IP address that clients are told, where a NAT stands before this "
            "machine; empty: `voice.host`."
        ),
    ] = ""
    max_calls: Annotated[
        int, Meta(ge=1, le=4096, description="Calls and Realtime connections of one worker.")
    ] = 200
    calls_per_s: Annotated[
        float,
        Meta(
            gt=0,
            le=1000,
            description="New calls of one worker beyond a burst of 20; more are refused.",
            extra={"unit": "1/s"},
        ),
    ] = 20.0
    lost_s: Annotated[
        float,
        Meta(
            gt=0,
            le=60,
            description="A call is lost when nothing has come from its client for so long.",
            extra={"unit": "s"},
        ),
    ] = 7.0
    grace_s: Annotated[
        float,
        Meta(
            ge=0,
            le=600,
            description="A lost call may be taken up again for so long, with its conversation.",
            extra={"unit": "s"},
        ),
    ] = 30.0
    bitrate_bps: Annotated[
        int,
        Meta(
            ge=6000,
            le=128_000,
            description="Opus bit rate of what is said to callers.",
            extra={"unit": "bit/s"},
        ),
    ] = 24_000
    complexity: Annotated[
        int, Meta(ge=0, le=10, description="Opus's effort at it: quality for CPU time.")
    ] = 3
