"""The public gRPC contract and the command that turns it into Python."""
