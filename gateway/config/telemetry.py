"""The configuration of what a site promises, and of what it tells about itself."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway.core.slo import Objectives


class Slo(msgspec.Struct, frozen=True):
    """Which part of the turns with a budget is to meet it, by class; see docs/telemetry.md."""

    voice_ratio: Annotated[float, Meta(gt=0, lt=1, description="Objective of class voice.")] = 0.99
    agent_ratio: Annotated[float, Meta(gt=0, lt=1, description="Objective of class agent.")] = 0.99
    batch_ratio: Annotated[
        float, Meta(gt=0, lt=1, description="Objective of class batch, where a turn has a budget.")
    ] = 0.95

    def objectives(self) -> Objectives:
        """The same, as the core counts."""
        return Objectives(self.voice_ratio, self.agent_ratio, self.batch_ratio)


OtlpProtocol = Literal["grpc", "http/protobuf"]
"""In the words of OTEL_EXPORTER_OTLP_PROTOCOL."""


class Telemetry(msgspec.Struct, frozen=True):
    """What the site tells about itself."""

    otlp_endpoint: Annotated[
        str,
        Meta(
            pattern="^(https?://.+)?$",
            description="OTLP receiver of spans and metrics, `http://host:4317`; empty: none.",
            extra={"url": True},
        ),
    ] = ""
    otlp_protocol: Annotated[
        OtlpProtocol,
        Meta(
            description="How it is spoken to. HTTP goes to `/v1/traces` and `/v1/metrics` below "
            "the endpoint, `http://host:4318`."
        ),
    ] = "grpc"
    log_format: Annotated[
        Literal["console", "json"], Meta(description="Shape of the log lines on stderr.")
    ] = "console"
    records_kept: Annotated[
        int,
        Meta(ge=1, le=1 << 20, description="Recent turns kept for `/v1/requests` and `explain`."),
    ] = 2048
    records_directory: Annotated[
        str,
        Meta(
            description="Where the turns of the last days are kept, without what was said, in a "
            "directory of the site's name; empty: only in memory. This default, too, is relative "
            "to the configuration file.",
            extra={"path": True},
        ),
    ] = ".firsthop/records"
    records_max_mib: Annotated[
        int,
        Meta(ge=32, le=1 << 20, description="What they may take.", extra={"unit": "MiB"}),
    ] = 256
    records_days: Annotated[
        float, Meta(gt=0, le=3660, description="How long they are kept.", extra={"unit": "days"})
    ] = 7.0
    decisions_ratio: Annotated[
        float,
        Meta(
            ge=0,
            le=1,
            description="Part of the requests whose routing decisions are kept with all they were "
            "made from, for `firsthop replay`.",
        ),
    ] = 0.01
    decisions_max_mib: Annotated[
        int, Meta(ge=32, le=1 << 20, description="What they may take.", extra={"unit": "MiB"})
    ] = 64
