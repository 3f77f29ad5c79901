"""OTLP over HTTP (https://opentelemetry.io/docs/specs/otlp/#otlphttp), protobuf bodies.

The SDK's exporter for it would bring an HTTP client of its own; what is said is a POST a second.
"""

from __future__ import annotations

import logging
import os
import ssl
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.util.re import parse_env_headers

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from gateway.telemetry.records import KeptTurn
    from gateway.telemetry.turn_spans import TurnSpans

_logger = logging.getLogger(__name__)

_RETRYABLE: Final = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_FIRST_PAUSE_S: Final = 0.25


class OtlpPost:
    """Posts to one path below `endpoint`. Headers and certificates come from the
    OTEL_EXPORTER_OTLP_* environment, as with every exporter."""

    def __init__(self, endpoint: str, path: str, *, timeout_s: float) -> None:
        self._url = f"{endpoint.rstrip('/')}/{path}"
        self._timeout_s = timeout_s
        given = os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", "")
        self._headers = {
            **parse_env_headers(given, liberal=True),
            "content-type": "application/x-protobuf",
        }
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if self._url.startswith("https:"):
            authority = os.environ.get("OTEL_EXPORTER_OTLP_CERTIFICATE") or None
            context = ssl.create_default_context(cafile=authority)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def send(self, body: bytes) -> bool:
        """Whether it was taken within the timeout; if not, the log says why. Does not raise."""
        deadline_s, pause_s = time.monotonic() + self._timeout_s, _FIRST_PAUSE_S
        while True:
            try:
                self._post(body, max(0.001, deadline_s - time.monotonic()))
            except urllib.error.HTTPError as error:
                cause, may_retry = f"HTTP {error.code}", error.code in _RETRYABLE
                error.close()
            except (OSError, HTTPException, ValueError) as error:  # no answer, or no HTTP
                cause, may_retry = str(error) or type(error).__name__, True
            else:
                return True
            if not may_retry or time.monotonic() + pause_s >= deadline_s:
                _logger.error("Failed to export to %s: %s", self._url, cause)
                return False
            time.sleep(pause_s)
            pause_s *= 2.0

    def _post(self, body: bytes, timeout_s: float) -> None:
        request = urllib.request.Request(self._url, body, self._headers, method="POST")
        with self._opener.open(request, timeout=timeout_s):
            pass  # what was taken in part is the collector's to say in its own log


class HttpTurnExporter:
    """A `TurnExporter`."""

    def __init__(self, endpoint: str, spans: TurnSpans, *, timeout_s: float) -> None:
        self._spans = spans
        self._post = OtlpPost(endpoint, "v1/traces", timeout_s=timeout_s)

    def export(self, turns: list[KeptTurn]) -> None:
        """Send them, or say in the log why not."""
        self._post.send(self._spans.request(turns))

    def close(self) -> None:
        """Nothing is open between two requests."""


class HttpMetricExporter(MetricExporter):
    """What the SDK's reader hands metrics to."""

    def __init__(self, endpoint: str, *, timeout_s: float) -> None:
        super().__init__()
        self._post = OtlpPost(endpoint, "v1/metrics", timeout_s=timeout_s)

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Send them."""
        taken = self._post.send(encode_metrics(metrics_data).SerializeToString())
        return MetricExportResult.SUCCESS if taken else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is kept."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Nothing is open."""
