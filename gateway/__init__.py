"""Firsthop: the edge gateway of an AI grid."""

import os

__version__ = "0.1.0"

# Read by gRPC when it is first imported. The site starts its engine by exec and never forks, and
# gRPC's handlers for forks would complain about every such start.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
