"""How many calls one RTP caller process can pace and time on this machine.

Calls go to an echo in a process of its own over loopback; what is measured is the caller: how late
its frames leave and how evenly they come back.

    python -m loadtests.rtp_pacing [--calls 60] [--seconds 20] [--out DIR]

Exits with 1 when the run does not count, or misses 3,000 frames/s.
"""

from __future__ import annotations

import sys

from loadtests.calls import (
    NUM_CALLS,
    delays_s,
    echo,
    missed_by,
    plan_calls,
    summarize_calls,
)
from loadtests.child import ChildFailed
from loadtests.clients.run import run_clients
from loadtests.command_line import add_out, at_least, parser_for, positive
from loadtests.facts import conclude, verdict
from loadtests.host import HostGuard


def main() -> int:
    """Run it and save the result."""
    parser = parser_for("rtp_pacing", __doc__)
    parser.add_argument("--calls", type=at_least(1), default=NUM_CALLS)
    parser.add_argument("--seconds", type=positive, default=20.0)
    add_out(parser, "rtp_pacing")
    args = parser.parse_args()
    guard = HostGuard()
    try:
        with echo() as port:
            plan = plan_calls(args.calls, args.seconds, "127.0.0.1", port)
            reports = run_clients([plan], args.out, on_start=guard.start).calls
    except (ChildFailed, OSError) as error:
        print(f"rtp_pacing: {error}", file=sys.stderr)
        return 1
    guard.stop()
    guard.note("callers", delays_s(reports))
    figures = summarize_calls(reports, args.seconds)
    return conclude(
        "rtp_pacing",
        None,
        {
            "command": f"python -m loadtests.rtp_pacing --calls {args.calls} "
            f"--seconds {args.seconds:g}",
            **figures,
            "host": guard.row(),
            **verdict(guard.faults(), missed=missed_by(figures)),
        },
    )


if __name__ == "__main__":
    sys.exit(main())
