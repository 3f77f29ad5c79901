"""Benchmarks and load tests. A claim is a script here, its command and its committed JSON."""
