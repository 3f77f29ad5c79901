"""Traces, metrics and logs. The only room that knows the OpenTelemetry SDK."""
