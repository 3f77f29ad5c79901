"""Bytes: protobuf conversions and the one mapping of error codes to HTTP and gRPC."""
