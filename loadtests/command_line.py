"""Command lines of benchmarks: the module's text as help, and numbers held to their range."""

from __future__ import annotations

import argparse
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from loadtests.local_site import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

BUILD = ROOT / "build"


def parser_for(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser of `python -m loadtests.NAME` that prints the module's text as it is written."""
    return argparse.ArgumentParser(
        prog=f"python -m loadtests.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def positive(text: str) -> float:
    """A finite number above 0. Raises ArgumentTypeError."""
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from error
    if not (isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"must be above 0 and finite, not {text}")
    return value


def at_least(least: int) -> Callable[[str], int]:
    """Whole numbers from `least` on. The function raises ArgumentTypeError."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from error
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {text}")
        return value

    return parse


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """`--out DIR`, where raw samples are kept."""
    parser.add_argument(
        "--out",
        type=Path,
        default=BUILD / name,
        metavar="DIR",
        help=f"keeps the raw samples (default: build/{name})",
    )
