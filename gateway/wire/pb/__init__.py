"""Generated from protos/firsthop/v1 by `python -m protos.generate`."""
