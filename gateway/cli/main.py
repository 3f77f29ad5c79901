"""The frame around the commands: finds one, runs it, turns its failure into one line."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol, cast

from gateway import __version__
from gateway.core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
_SERVICES = {"up", "serve"}

Subparsers = argparse._SubParsersAction  # argparse has no public name for it


class Command(NamedTuple):
    """A command's name, the module it lives in and its line in `firsthop --help`."""

    name: str
    module: str
    help: str


COMMANDS = (
    Command("up", "gateway.cli.up", "start a local grid with the shipped assistant"),
    Command("serve", "gateway.cli.serve", "run one site from a configuration file"),
    Command("config", "gateway.cli.config", "check, show or document the configuration"),
    Command("doctor", "gateway.cli.doctor", "say what works on this machine, and the mend"),
    Command("model", "gateway.cli.model", "look into a model directory"),
    Command("key", "gateway.cli.key", "make, list and revoke keys"),
    Command("explain", "gateway.cli.explain", "show where one turn's time went"),
    Command("top", "gateway.cli.top", "show the live grid"),
    Command("simulate", "gateway.cli.simulate", "run a load-test scenario in virtual time"),
    Command("loadtest", "gateway.cli.loadtest", "run a load-test scenario with real sites"),
    Command("sweep", "gateway.cli.sweep", "map where the grid wins and where a pool does"),
    Command("replay", "gateway.cli.replay", "make recorded routing decisions under another policy"),
)

_EPILOG = """\
examples:
  firsthop up
  firsthop doctor
  firsthop explain REQUEST_ID

`firsthop COMMAND --help` shows a command's options and examples.
"""


class CommandModule(Protocol):
    """What a command's module offers; `register` sets `run` as the parser's default."""

    def register(self, subparsers: Subparsers[argparse.ArgumentParser]) -> None:
        """Add the command's parser."""
        ...


class _Parser(argparse.ArgumentParser):
    """Says what was wrong in one line and where help is, instead of printing the whole usage."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog}: {message}; see `{self.prog} --help`", file=sys.stderr)
        raise SystemExit(EXIT_USAGE)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        parsed = _parser(arguments).parse_args(arguments)
        code: int = parsed.run(parsed)
        print(end="", flush=True)
    except SystemExit as stop:  # argparse: help, version and wrong usage
        return stop.code if isinstance(stop.code, int) else EXIT_USAGE
    except SetupError as error:
        for line in str(error).splitlines():
            print(f"firsthop: {line}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:  # to be ended is how a service ends
        return EXIT_OK if set(arguments[:1]) & _SERVICES else EXIT_FAILED
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    return code


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The whole parser, with the options of the one command that is called."""
    parser: argparse.ArgumentParser = _Parser(
        prog="firsthop",
        description="Edge gateway of an AI grid.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"firsthop {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    called = next((word for word in arguments if not word.startswith("-")), None)
    for command in COMMANDS:
        if command.name == called:
            module = cast("CommandModule", importlib.import_module(command.module))
            module.register(subparsers)
        else:
            subparsers.add_parser(command.name, help=command.help)
    return parser
