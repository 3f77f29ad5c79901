"""`firsthop replay`: what another routing policy would have done with recorded decisions."""

from __future__ import annotations

import argparse
import json
import random
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from gateway.core.errors import SetupError
from gateway.core.replay import Change, Replay, replay
from gateway.core.route_choice import Verdict
from gateway.core.routing import Rules
from gateway.telemetry.decision_log import read_decisions

if TYPE_CHECKING:
    from gateway.cli.main import Subparsers

_SEED = 1
"""Of the random numbers that the other policy needs beyond the recorded ones."""
_NUM_SHOWN = 20
_EPILOG = """\
A site keeps the decisions on telemetry.decisions_ratio of its requests, with all they were made
from, under telemetry.records_directory. A policy is a TOML file of any of these keys:

  comfort_ratio, comfort_ms       how soon here must be to look no further
  gain_ms                         how much sooner a peer must be
  exploration_ratio               how often the later of two peers is taken
  overrun_ratio                   how late a turn that may wait is still queued

examples:
  firsthop replay .firsthop/records/edge-a/decisions --policy eager.toml
  firsthop replay decisions.log --policy eager.toml --json
"""

_Ratio = Annotated[float, Meta(ge=0.0, le=10.0)]
_Millis = Annotated[float, Meta(ge=0.0, le=86_400_000.0)]


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy file; what it leaves out is as the site has it."""

    comfort_ratio: _Ratio | None = None
    comfort_ms: _Millis | None = None
    gain_ms: _Millis | None = None
    exploration_ratio: _Ratio | None = None
    overrun_ratio: _Ratio | None = None

    def rules(self) -> Rules:
        """The same in seconds, as the core counts."""
        given = {
            "comfort_ratio": self.comfort_ratio,
            "comfort_s": None if self.comfort_ms is None else self.comfort_ms / 1e3,
            "gain_s": None if self.gain_ms is None else self.gain_ms / 1e3,
            "exploration_ratio": self.exploration_ratio,
            "overrun_ratio": self.overrun_ratio,
        }
        known = {name: value for name, value in given.items() if value is not None}
        return msgspec.structs.replace(Rules(), **known)


def register(subparsers: Subparsers[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "replay",
        help="make recorded routing decisions again under another policy",
        description="Make recorded routing decisions again under another policy.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "decisions", type=Path, metavar="DECISIONS", help="a decision log: a file or a directory"
    )
    parser.add_argument(
        "--policy", type=Path, metavar="FILE", help="the policy (default: the one in force)"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Replay and print. Raises SetupError."""
    rules = Rules() if args.policy is None else read_policy(args.policy)
    try:
        made = (kept.decision for kept in read_decisions(args.decisions))
        outcome = replay(made, rules, random.Random(_SEED).random)
    except OSError as error:
        raise SetupError(f"{args.decisions}: {error.strerror}; name a decision log") from error
    except msgspec.DecodeError as error:
        raise SetupError(
            f"{args.decisions}: no decisions that this version reads ({error}); name a file or "
            "directory that a site of this version wrote"
        ) from error
    if not outcome.num_decisions:
        raise SetupError(
            f"{args.decisions}: no decisions; set telemetry.decisions_ratio and let turns come"
        )
    if args.json:
        print(json.dumps(msgspec.to_builtins(outcome), indent=2))
    else:
        print("\n".join(_report(outcome)))
    return 0


def read_policy(path: Path) -> Rules:
    """The rules of a policy file. Raises SetupError."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Policy).rules()
    except OSError as error:
        raise SetupError(f"{path}: {error.strerror}; name a policy file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise SetupError(f"{path}: {error}; see `firsthop replay --help` for the keys") from error


def _report(outcome: Replay) -> list[str]:
    total, changes = outcome.num_decisions, outcome.changes
    lines = [f"{total} decisions, {len(changes)} otherwise under the policy", ""]
    if outcome.num_reproduced < total:
        lines[1:1] = [
            f"{total - outcome.num_reproduced} were made under other rules than this version's"
        ]
    lines.append(f"{'':<24} {'as made':>9} {'policy':>9}")
    for verdict in Verdict:
        before, after = outcome.before.get(verdict, 0), outcome.after.get(verdict, 0)
        if before or after:
            lines.append(f"{verdict:<24} {before:>9} {after:>9}")
    before_ms, after_ms = _ms(outcome.mean_estimate_before_s), _ms(outcome.mean_estimate_after_s)
    lines.append(f"{'mean estimate, not shed':<24} {before_ms:>9} {after_ms:>9}")
    if changes:
        lines += ["", f"{'request':<36} {'as made':<26} policy"]
        lines += [_change(change) for change in changes[:_NUM_SHOWN]]
    if len(changes) > _NUM_SHOWN:
        lines.append(f"and {len(changes) - _NUM_SHOWN} more; --json has them all")
    return lines


def _change(change: Change) -> str:
    before = _where(change.before, change.site_before, change.estimate_before_s)
    after = _where(change.after, change.site_after, change.estimate_after_s)
    return f"{change.request_id:<36} {before:<26} {after}"


def _where(verdict: Verdict, site: str, estimate_s: float) -> str:
    return f"{verdict} {site} {_ms(estimate_s)}".replace("  ", " ")


def _ms(estimate_s: float | None) -> str:
    return "-" if estimate_s is None else f"{estimate_s * 1e3:.1f} ms"
