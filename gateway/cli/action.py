"""An action of a command, as `create` is of `firsthop key`: its own help, with examples."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.cli.main import Subparsers


def add_action(
    actions: Subparsers[argparse.ArgumentParser], name: str, what: str, *examples: str
) -> argparse.ArgumentParser:
    """Add one; `what` is its line in the command's help, `examples` are whole command lines."""
    return actions.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog="\n".join(("examples:", *(f"  {example}" for example in examples))),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
