"""How many calls one RTP caller process can pace and time on this machine.

Calls go to an echo in a process of its own over loopback; what is measured is the caller: how late
its frames leave and how evenly they come back.

    python -m loadtests.rtp_pacing [--calls 60] [--seconds 20]
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec

from loadtests.clients.rtp import FRAME_S
from loadtests.clients.voice import Call, CallReport, VoicePlan
from loadtests.facts import percentile, save, verdict
from loadtests.host import MAX_LATE_S, HostGuard
from loadtests.local_site import ROOT
from loadtests.orphan import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET_FRAMES_PER_S = 3_000


@contextmanager
def echo() -> Iterator[int]:
    """A process that sends every datagram back; its port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        end_with_parent()
        while True:
            datagram, sender = sock.recvfrom(2048)
            sock.sendto(datagram, sender)
    port: int = sock.getsockname()[1]
    sock.close()
    try:
        yield port
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def run_calls(plan: VoicePlan, folder: Path) -> list[CallReport]:
    """In a process of their own."""
    plan_path, reports_path = folder / "plan", folder / "reports"
    plan_path.write_bytes(msgspec.msgpack.encode(plan))
    command = ["-m", "loadtests.clients.voice", str(plan_path), str(reports_path)]
    with subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        _expect(process.stdout, "ready")
        if process.stdin is not None:
            process.stdin.write(f"{time.monotonic() + 0.2!r}\n")
            process.stdin.flush()
        _expect(process.stdout, "done")
    return msgspec.msgpack.decode(reports_path.read_bytes(), type=list[CallReport])


def _expect(pipe: IO[str] | None, word: str) -> None:
    if pipe is None or pipe.readline().strip() != word:
        raise SystemExit(f"the callers ended before they were {word}")


def main() -> None:
    """Run it and save the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=round(TARGET_FRAMES_PER_S * FRAME_S))
    parser.add_argument("--seconds", type=float, default=20.0)
    args = parser.parse_args()
    # Spread over the 20 ms, as callers who do not know of each other are.
    starts_s = [place * FRAME_S / args.calls for place in range(args.calls)]
    calls = tuple(Call(start_s, args.seconds, ((0.0, args.seconds),)) for start_s in starts_s)
    guard = HostGuard()
    with tempfile.TemporaryDirectory() as folder, echo() as port:
        reports = run_calls(VoicePlan("127.0.0.1", port, calls), Path(folder))
    guard.stop()
    delays_ms = [delay_s * 1e3 for report in reports for delay_s in report.schedule_delays_s]
    gaps_ms = [gap_s * 1e3 for report in reports for gap_s in report.gaps_s]
    guard.note("callers", [delay_ms / 1e3 for delay_ms in delays_ms])
    p99_ms = percentile(delays_ms, 0.99)
    save(
        "rtp_pacing",
        None,
        {
            "command": f"python -m loadtests.rtp_pacing --calls {args.calls} "
            f"--seconds {args.seconds:g}",
            "frames_per_s": round(args.calls / FRAME_S),
            "num_sent": sum(report.num_sent for report in reports),
            "num_lost": sum(report.num_sent - report.num_received for report in reports),
            "schedule_delay_ms": {
                "p50": round(percentile(delays_ms, 0.5), 3),
                "p99": round(p99_ms, 3),
                "max": round(max(delays_ms), 3),
                "target_p99": MAX_LATE_S * 1e3,
            },
            "arrival_gap_ms": {
                "p50": round(percentile(gaps_ms, 0.5), 3),
                "p99": round(percentile(gaps_ms, 0.99), 3),
            },
            "host": guard.row(),
            **verdict(guard.faults()),
        },
    )


if __name__ == "__main__":
    main()
