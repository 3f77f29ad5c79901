"""`python -m gateway` and the `firsthop` command."""

from __future__ import annotations

import signal
import sys

# First of all: SIGTERM ends a start, too, the way Ctrl-C does.
signal.signal(signal.SIGTERM, signal.default_int_handler)

from gateway.cli.main import main  # noqa: E402
from gateway.runtime.descriptors import fill_standard_descriptors  # noqa: E402

if __name__ == "__main__":
    fill_standard_descriptors()
    sys.exit(main())
