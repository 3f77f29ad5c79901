"""``python -m loadtests.clients.echo HOST``: somebody who sends every datagram back.

out:  ready PORT          in:  (closed: end)
"""

from __future__ import annotations

import select
import socket
import sys
from contextlib import suppress

from loadtests.command_line import parser_for
from loadtests.orphan import end_with_parent
from loadtests.priority import PROBES, hurry

_DATAGRAM_BYTES = 2048


def main() -> int:
    """Echo until standard input closes."""
    parser = parser_for("clients.echo", __doc__)
    parser.add_argument("host", help="the address to answer at")
    args = parser.parse_args()
    end_with_parent()
    hurry(PROBES)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((args.host, 0))
        except OSError as error:
            print(f"echo: {args.host}: {error.strerror}", file=sys.stderr)
            return 1
        print("ready", sock.getsockname()[1], flush=True)
        while True:
            readable, _, _ = select.select([sock, sys.stdin], [], [])
            if sys.stdin in readable:
                return 0
            datagram, caller = sock.recvfrom(_DATAGRAM_BYTES)
            with suppress(ConnectionRefusedError, BlockingIOError):  # he has hung up
                sock.sendto(datagram, caller)


if __name__ == "__main__":
    sys.exit(main())
