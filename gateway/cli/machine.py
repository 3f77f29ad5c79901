"""What `firsthop doctor` finds out about the machine itself: CPU, clock, ports, tools, kernel."""

from __future__ import annotations

import importlib.util
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import time
from enum import StrEnum
from http.client import HTTPException
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import msgspec

MIN_PYTHON = (3, 11)
MIN_OPEN_FILES = 4096
_COMMAND_TIMEOUT_S = 10.0
_SITE_TIMEOUT_S = 2.0
_FAST_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


class State(StrEnum):
    """How a check ended. A warning leaves the gateway usable without that part."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Check(msgspec.Struct, frozen=True):
    """One line of the report; `mend` is empty when there is nothing to mend."""

    name: str
    state: State
    detail: str
    mend: str = ""


def machine_checks() -> list[Check]:
    """Everything that can be said without a model and without ports."""
    return [
        check_python(),
        check_cpu(),
        check_uvloop(),
        check_clock(),
        check_open_files(),
        check_program("node", "the Node client tests", "make setup-ci"),
        check_program("chromium", "the browser tests", "make setup-ci"),
        check_namespaces(),
        check_tun(),
    ]


def check_python() -> Check:
    """The running interpreter is new enough."""
    given = platform.python_version()
    if sys.version_info < MIN_PYTHON:
        return Check("python", State.FAIL, given, "install Python 3.11 or newer")
    return Check("python", State.OK, f"{given} at {sys.executable}")


def check_cpu() -> Check:
    """Cores that may be used, and the instructions that decide the speed of small models."""
    cores = len(os.sched_getaffinity(0))
    flags = _cpu_flags()
    detail = f"{cores} cores; {' '.join(flag for flag in _FAST_FLAGS if flag in flags)}"
    if cores < 2:
        return Check("cpu", State.WARN, detail, "give the site two cores, so media keep theirs")
    if platform.machine() == "x86_64" and "avx2" not in flags:
        return Check("cpu", State.WARN, detail, "use a CPU with AVX2: several times faster")
    return Check("cpu", State.OK, detail)


def check_uvloop() -> Check:
    """The event loop the service is measured on."""
    if importlib.util.find_spec("uvloop") is None:
        return Check("uvloop", State.FAIL, "not installed", "make setup")
    return Check("uvloop", State.OK, "installed")


def check_clock() -> Check:
    """Budgets are spent on the monotonic clock; a slow clock source costs on every reading."""
    resolution_s = time.get_clock_info("monotonic").resolution
    path = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    source = path.read_text(encoding="ascii").strip() if path.is_file() else "unknown"
    detail = f"resolution {resolution_s * 1e9:.0f} ns, source {source}"
    if resolution_s > 1e-4:
        return Check("clock", State.FAIL, detail, "use a machine with a clock of 0.1 ms or better")
    if source in {"acpi_pm", "jiffies"}:
        return Check("clock", State.WARN, detail, "boot with clock source tsc or kvm-clock")
    return Check("clock", State.OK, detail)


def check_open_files() -> Check:
    """Every stream is a socket."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < MIN_OPEN_FILES:
        return Check("open files", State.WARN, f"limit {soft}", f"ulimit -n {MIN_OPEN_FILES}")
    return Check("open files", State.OK, f"limit {soft}")


def check_program(program: str, purpose: str, mend: str) -> Check:
    """A program that only some parts need."""
    found = shutil.which(program)
    if found is None:
        return Check(program, State.WARN, f"not found; left out: {purpose}", mend)
    return Check(program, State.OK, found)


def check_namespaces() -> Check:
    """Network namespaces and netem emulate wide-area links in load tests."""
    name, mend = "netem", "run as root on a kernel with sch_netem, or let load tests use TUN"
    if not (shutil.which("unshare") and shutil.which("tc")):
        return Check(name, State.WARN, "unshare or tc not found", "make setup-ci")
    if not _succeeds("unshare", "--map-root-user", "--net", "true"):
        return Check(name, State.WARN, "network namespaces are not allowed here", mend)
    emulate = "ip link set lo up && tc qdisc add dev lo root netem delay 1ms"
    if not _succeeds("unshare", "--map-root-user", "--net", "sh", "-c", emulate):
        return Check(name, State.WARN, "namespaces work, netem does not", mend)
    return Check(name, State.OK, "namespaces and netem work")


def check_tun() -> Check:
    """The TUN device stands in for netem where the kernel has none."""
    device = Path("/dev/net/tun")
    if not device.exists():
        return Check("tun", State.WARN, "no /dev/net/tun", "modprobe tun (as root)")
    if not os.access(device, os.R_OK | os.W_OK):
        return Check("tun", State.WARN, "/dev/net/tun may not be opened", "run load tests as root")
    return Check("tun", State.OK, str(device))


def check_ports(ports: dict[str, int], admin_port: int, host: str = "127.0.0.1") -> list[Check]:
    """Whether each named port can be bound now, or who has it: a site or something else.

    A port in use is no failure of the machine.
    """
    taken = {name for name, port in ports.items() if not _is_free(host, port)}
    site = _site_at(host, admin_port) if taken else ""
    checks = []
    for name, port in ports.items():
        state, mend, what = State.OK, "", "is free"
        if name in taken and site:
            what = f"is in use by the firsthop site {site}, which is running"
        elif name in taken:
            state, what = State.WARN, "is in use by another program"
            mend = "stop what listens there, or use another --port-base"
        checks.append(Check(f"port {name}", state, f"{host}:{port} {what}", mend))
    return checks


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        # As the servers do: a port in TIME_WAIT is free, one that somebody listens on is not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


class _SiteState(msgspec.Struct):
    """Of `/v1/site`, what tells a site from any other server."""

    site: str
    version: str
    models: list[object]


def _site_at(host: str, admin_port: int) -> str:
    """The name of the site whose admin port this is, or "" when none answers there."""
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(f"http://{host}:{admin_port}/v1/site", timeout=_SITE_TIMEOUT_S) as answer:
            return msgspec.json.decode(answer.read(), type=_SiteState).site
    except (OSError, HTTPException, msgspec.DecodeError):
        return ""


def _cpu_flags() -> set[str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    line = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return set(line.partition(":")[2].split())


def _succeeds(*command: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_COMMAND_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
