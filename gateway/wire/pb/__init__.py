"""Generated from protos/firsthop/v1/agent.proto by `python -m protos.generate`."""
