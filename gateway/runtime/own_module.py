"""How a module of this package is run as a process of its own.

Never with the current directory on the import path, where `python -m` puts it first: what lies
beside a model or a configuration is no code of ours.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import gateway

if TYPE_CHECKING:
    from collections.abc import Mapping


def module_command(module: str, *arguments: str) -> tuple[str, ...]:
    """The command line; `module_environment` goes with it."""
    return (sys.executable, "-P", "-m", module, *arguments)


def module_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`environ`, with this package importable from wherever it was imported here."""
    root = str(Path(gateway.__file__).parent.parent)
    path = environ.get("PYTHONPATH")
    return {**environ, "PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root}
