"""Links between real namespaces: what packets meet there, and that nothing is left behind."""

from __future__ import annotations

import copy
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from loadtests.links import namespaces
from loadtests.links.delay_line import LineCounters
from loadtests.links.keeper import Keeper, Order, Reply
from loadtests.links.matrix import Link, LinkMatrix
from loadtests.links.namespaces import LinksUnavailable
from loadtests.links.network import EmulatedNetwork, emulated_network
from loadtests.links.selftest import late_violations, loss_violations, probing, self_test
from loadtests.local_site import ROOT, wait_until
from tests.links.alone import namespaces_of_ones_own
from tests.requirements import require

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.flow, pytest.mark.timeout(300)]  # others' turn may come first

_MATRIX = LinkMatrix.of(
    ("a", "b", "c"), {("a", "b"): Link(0.010), ("a", "c"): Link(0.040)}, Link(0.0, 0.0, 0.05)
)
_THREE_SITES = """\
from loadtests.links.matrix import Link, LinkMatrix
from loadtests.links.network import emulated_network
with emulated_network(LinkMatrix.of(("a", "b", "c"), {}, Link(0.001)), backend="tun"):
    raise SystemExit("there was room")
"""
_OWNER = """\
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
from loadtests.links.matrix import Link, LinkMatrix
from loadtests.links.network import emulated_network
matrix = LinkMatrix.of(("a", "b"), {}, Link(0.001))
with emulated_network(matrix, backend="tun") as network:
    inside = subprocess.Popen(network.command("a", ["sleep", "1000"]))
    print(network.namespace("a"), inside.pid, flush=True)
    time.sleep(1000)
"""


@pytest.fixture(scope="module", autouse=True)
def alone() -> Iterator[None]:
    with namespaces_of_ones_own():
        yield


@pytest.fixture(scope="module")
def network(alone: None) -> Iterator[EmulatedNetwork]:
    with ExitStack() as stack:
        try:
            yield stack.enter_context(emulated_network(_MATRIX, backend="tun", seed=3))
        except LinksUnavailable as error:
            require("netns", False, str(error))


def test_every_path_takes_its_round_trip_and_tcp_is_real(network: EmulatedNetwork) -> None:
    results = {(result.src, result.dst): result for result in self_test(network, count=50)}
    assert set(results) == {("a", "b"), ("a", "c"), ("b", "c")}
    for pair, nominal_s in ((("a", "b"), 0.010), (("a", "c"), 0.040)):
        sample = results[pair].sample
        assert len(sample.rtt_s) == 50
        # Never early; how late is a matter of the machine, and a benchmark's.
        assert nominal_s - 0.0005 < min(sample.rtt_s) < nominal_s + 0.002
        assert sample.connect_s is not None
        assert sample.connect_s >= nominal_s - 0.0005
        assert sample.bulk_s is not None
        assert sample.bulk_s > 3 * nominal_s - 0.001
    row = results["a", "c"].row()
    assert row["nominal_rtt_ms"] == 40.0
    assert row["p50_ms"] >= 39.5


def test_loss_shows_in_the_counters_of_its_link_alone(network: EmulatedNetwork) -> None:
    with probing(network, count=3000, rate_per_s=3000.0, bulk=False) as probe:
        probe.results()
    counters = {(line.src, line.dst): line for line in network.counters()}
    assert counters["a", "b"].num_packets >= 3000
    assert counters["a", "b"].num_lost == counters["a", "b"].num_dropped == 0
    lossy = counters["b", "c"]
    assert 0.03 < lossy.num_lost / lossy.num_packets < 0.07
    assert loss_violations(network, list(counters.values())) == []
    wrong = msgspec.structs.replace(lossy, num_packets=10_000, num_lost=800)
    assert loss_violations(network, [wrong]) == ["b to c: 8.000% lost, 5.000% wanted"]


def test_a_partition_lets_nothing_across_until_it_is_mended(network: EmulatedNetwork) -> None:
    def num_back() -> dict[tuple[str, str], int]:
        with probing(network, count=10, bulk=False) as probe:
            results = probe.results()
        return {(result.src, result.dst): len(result.sample.rtt_s) for result in results}

    network.split(("c",))
    try:
        back = num_back()
    finally:
        network.split(())
    assert (back["a", "c"], back["b", "c"]) == (0, 0)
    assert back["a", "b"] == 10
    assert num_back()["a", "c"] == 10
    with pytest.raises(KeyError):
        network.split(("nowhere",))


def test_links_that_lose_much_or_are_slow_are_measured_and_found_right() -> None:
    links = {
        ("a", "b"): Link(0.005, loss_ratio=1.0),
        ("a", "c"): Link(0.005, loss_ratio=0.6),
        ("b", "c"): Link(0.010, rate_bit_per_s=256e3),
    }
    with emulated_network(LinkMatrix.of(("a", "b", "c"), links), backend="tun") as network:
        results = {(result.src, result.dst): result for result in self_test(network, count=40)}
    assert results["a", "b"].sample.rtt_s == []
    assert 0 < len(results["a", "c"].sample.rtt_s) < 30
    for result in results.values():
        # How late a busy machine is, is no matter of the link.
        assert not [line for line in result.violations() if "expected" in line or "bulk" in line]
    slow = results["b", "c"].sample
    assert min(slow.rtt_s) > 0.010 + 8 * 390 / 256e3
    assert slow.bulk_s is not None
    assert slow.both_s is not None
    assert slow.bulk_s > 1.0 < slow.both_s - slow.bulk_s + 0.1


def test_a_forwarder_that_loses_or_ignores_a_rate_is_found_out(
    network: EmulatedNetwork,
) -> None:
    claimed = LinkMatrix.of(
        _MATRIX.sites,
        {("a", "b"): Link(0.010, rate_bit_per_s=1e6), ("a", "c"): Link(0.040, loss_ratio=0.5)},
        Link(0.0),
    )
    results = {
        (result.src, result.dst): result.violations()
        for result in self_test(claiming(network, claimed), count=100)
    }
    assert any("at the link's rate it takes" in line for line in results["a", "b"])
    assert any("25 expected" in line for line in results["a", "c"])
    assert any("100 expected, off by at most 0" in line for line in results["b", "c"])


def claiming(network: EmulatedNetwork, matrix: LinkMatrix) -> EmulatedNetwork:
    """The same links under a matrix that they do not keep to."""
    other = copy.copy(network)
    other.matrix = matrix
    return other


def test_a_late_direction_is_named(network: EmulatedNetwork) -> None:
    def line(late_bins: int) -> LineCounters:
        return LineCounters("a", "b", 100, 0, 0, 0, {late_bins: 100})

    assert late_violations(network, [line(100)]) == []
    (found,) = late_violations(network, [line(300)])
    assert found.startswith("a to b: the forwarder was 3.0 ms late")


def test_leaving_ends_what_runs_at_the_sites() -> None:
    with emulated_network(_MATRIX, backend="tun") as network:
        sleeper = subprocess.Popen(network.command("b", ["sleep", "1000"]))
        names = [network.namespace(site) for site in _MATRIX.sites]
        assert set(names) <= set(namespaces.names())
        wait_until(lambda: "sleep" in _command(sleeper.pid), "it has started")
    assert sleeper.wait(10) == -signal.SIGKILL
    assert not set(names) & set(namespaces.names())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_ends_badly_leaves_nothing(how: signal.Signals) -> None:
    owner = _start_owner()
    try:
        name, inside = _first_words(owner)
        os.killpg(owner.pid, how)
        owner.wait(30)
    finally:
        owner.kill()
        owner.wait(30)
    run = name.rpartition("-")[0]
    wait_until(
        lambda: not any(other.startswith(run) for other in namespaces.names()), "namespaces gone"
    )
    assert "sleep" not in _command(inside)


def test_the_next_run_sweeps_what_a_killed_keeper_left() -> None:
    owner = _start_owner()
    name, inside = _first_words(owner)
    keeper = int(name.split("-")[1])
    os.kill(keeper, signal.SIGKILL)
    owner.kill()
    owner.wait(30)
    wait_until(lambda: not _command(keeper), "the keeper is gone")
    assert name in namespaces.names()
    with emulated_network(_MATRIX, backend="tun") as network:
        assert name not in namespaces.names()
        assert network.namespace("a") in namespaces.names()
    wait_until(lambda: not _command(inside), "what ran at the site is gone")


def test_a_full_disk_leaves_nothing() -> None:
    # A namespace is a file; the third does not fit beside the root and two others.
    script = 'mount -t tmpfs -o nr_inodes=3 tmpfs /run/netns; "$@"; ls -A /run/netns'
    Path("/run/netns").mkdir(exist_ok=True)
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", sys.executable, "-c", _THREE_SITES],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
        timeout=60,
    )
    assert "No space left on device" in done.stderr
    assert done.stdout == ""


def test_the_kernels_own_links_are_laid_out_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not every kernel has netem; everything around the leaf works on any.
    if not namespaces.has_netem():
        monkeypatch.setattr("loadtests.links.netem.leaf", lambda link: "bfifo limit 1000000")
    ours, theirs = socket.socketpair()
    keeper = threading.Thread(target=Keeper(Order(_MATRIX, "netem", 1), theirs).keep)
    keeper.start()
    try:
        with ours, ours.makefile("rb") as replies:
            kept = msgspec.json.decode(replies.readline(), type=Reply).kept
            assert kept is not None
            assert (kept.backend, kept.scheduler) == ("netem", "kernel")
            network = EmulatedNetwork(_MATRIX, kept, ours, replies)
            assert network.counters() == []
            results = self_test(network, count=20)
            assert all(result.sample.rtt_s for result in results)
    finally:
        keeper.join(30)
        theirs.close()
    assert not any(name.startswith(kept.run) for name in namespaces.names())


def test_without_root_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(LinksUnavailable, match="need root; run this command with sudo"):
        namespaces.check_available()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(LinksUnavailable, match="ip is not installed; run `make setup-ci`"):
        namespaces.check_available()


def _start_owner() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _OWNER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )


def _first_words(owner: subprocess.Popen[str]) -> tuple[str, int]:
    assert owner.stdout is not None
    with owner.stdout as lines:
        name, inside = lines.readline().split()
    return name, int(inside)


def _command(pid: int) -> str:
    """Empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return ""
