"""Network namespaces of one run: made, found again after a crash, removed.

A run's namespaces carry the process id and the start time of their keeper, so that whoever comes
next can tell a crashed run's leftovers from a run that is alive.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

from gateway.core.errors import SetupError

PREFIX = "firsthop"
_NAME = re.compile(rf"{PREFIX}-(\d+)-(\d+)-.+")
_LIMIT_S = 20.0
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_MAX_KILL_ROUNDS = 50


class LinksUnavailable(SetupError):
    """This machine or user cannot have emulated links; the line ends with the mend."""

    code = "links_unavailable"


class LinksFailed(SetupError):
    """Setting the links up failed half-way; everything made so far was removed."""

    code = "links_failed"


def check_available() -> None:
    """Raises LinksUnavailable for the first thing that is missing."""
    for program in ("ip", "tc", "unshare"):
        if shutil.which(program) is None:
            raise LinksUnavailable(f"{program} is not installed; run `make setup-ci`")
    if os.geteuid() != 0:
        raise LinksUnavailable("network namespaces need root; run this command with sudo")
    if not _succeeds("unshare", "--net", "true"):
        raise LinksUnavailable(
            "root may not make network namespaces here; in a container add the capabilities "
            "SYS_ADMIN and NET_ADMIN"
        )


def check_tun() -> None:
    """Raises LinksUnavailable when TUN devices cannot be made: asked by making one."""
    try:
        os.close(open_tun(f"fh{os.getpid()}"))
    except OSError as error:
        raise LinksUnavailable(
            f"no TUN device can be made ({error.strerror}) and the kernel has no netem; run "
            "`modprobe tun`, or in a container add --device /dev/net/tun"
        ) from error


def open_tun(name: str) -> int:
    """A TUN device of this name in this namespace; it lives as long as the descriptor.

    Raises OSError.
    """
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    except OSError:
        os.close(fd)
        raise
    return fd


def has_netem() -> bool:
    """Whether the kernel delays packets by itself: asked by doing it, in a namespace of its own."""
    delayed = "ip link set lo up && tc qdisc add dev lo root netem delay 1ms"
    return _succeeds("unshare", "--net", "sh", "-c", delayed)


def run_name(pid: int) -> str:
    """What all namespaces of a living keeper's run begin with."""
    return f"{PREFIX}-{pid}-{_started_ticks(pid)}"


def add(name: str) -> None:
    """Make a namespace with a loopback. Raises LinksFailed."""
    ip("netns", "add", name)
    ip("-n", name, "link", "set", "lo", "up")


def route_loopback(name: str, device: str) -> None:
    """Let a device of a namespace carry loopback addresses. Raises LinksFailed."""
    setting = f"/proc/sys/net/ipv4/conf/{device}/route_localnet"
    _run(("ip", "netns", "exec", name, "tee", setting), ["1"])


def remove(name: str) -> None:
    """Kill what runs in a namespace and remove it; a namespace that is gone is fine.

    Raises LinksFailed when it stays.
    """
    try:
        for _ in range(_MAX_KILL_ROUNDS):  # a process may fork while its siblings are killed
            pids = ip("netns", "pids", name).split() if name in names() else []
            if not pids:
                break
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        ip("netns", "del", name)
    except LinksFailed:
        if name in names():  # else another run that swept at the same time was faster
            raise


def sweep() -> list[str]:
    """Remove the namespaces of runs whose keeper is dead; their names."""
    removed = []
    for name in names():
        match = _NAME.fullmatch(name)
        if match and _started_ticks(int(match[1])) != int(match[2]):
            remove(name)
            removed.append(name)
    return removed


def names() -> list[str]:
    """Every named namespace of this machine."""
    folder = Path("/run/netns")
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def ip(*words: str, lines: list[str] | None = None) -> str:
    """Run `ip`; its output. `lines` go to its standard input. Raises LinksFailed."""
    return _run(("ip", *words), lines)


def tc(namespace: str, lines: list[str]) -> None:
    """Run lines of `tc` in a namespace. Raises LinksFailed."""
    _run(("tc", "-n", namespace, "-batch", "-"), lines)


def _run(command: tuple[str, ...], lines: list[str] | None) -> str:
    done = subprocess.run(
        command,
        input="\n".join(lines or []) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT_S,
    )
    if done.returncode != 0:
        raise LinksFailed(f"`{' '.join(command)}` failed: {' '.join(done.stderr.split())}")
    return done.stdout


def _succeeds(*command: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _started_ticks(pid: int) -> int:
    """When a living process began, in the kernel's ticks since boot; -1 when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return -1
    state, *fields = stat.rpartition(")")[2].split()
    return -1 if state in "ZX" else int(fields[18])
