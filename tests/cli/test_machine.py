from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from gateway.cli.doctor import report
from gateway.cli.machine import Check, State, check_ports, check_program, machine_checks
from gateway.cli.main import main
from tests.edge.admin_site import serve_admin

if TYPE_CHECKING:
    from pathlib import Path


def test_every_complaint_has_a_mend() -> None:
    checks = machine_checks()
    assert {"python", "cpu", "clock", "netem", "tun"} <= {check.name for check in checks}
    for check in checks:
        assert bool(check.mend) is (check.state is not State.OK), check


def test_a_port_that_is_listened_on_is_told_from_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (taken,) = check_ports({"HTTP": port}, admin_port=port + 1)
    assert (taken.state, taken.name) == (State.WARN, "port HTTP")
    assert "another program" in taken.detail
    assert "--port-base" in taken.mend
    (free,) = check_ports({"HTTP": port}, admin_port=port + 1)
    assert free.state is State.OK


def test_a_running_site_is_named_and_is_no_failure() -> None:
    with serve_admin() as site:
        port = site.server.port
        checks = check_ports({"HTTP": port, "admin": port}, admin_port=port)
    assert [check.state for check in checks] == [State.OK, State.OK]
    assert "the firsthop site edge-a" in checks[0].detail


def test_a_missing_program_is_a_warning() -> None:
    check = check_program("no-such-program", "nothing", "make setup-ci")
    assert check == Check(
        "no-such-program", State.WARN, "not found; left out: nothing", "make setup-ci"
    )


def test_the_report_is_one_line_each() -> None:
    checks = [Check("a", State.OK, "fine"), Check("long", State.FAIL, "broken", "mend it")]
    assert report(checks, colour=False) == "ok    a     fine\nfail  long  broken -> mend it"
    assert "\x1b[31mfail" in report(checks, colour=True)


@pytest.mark.flow
def test_doctor_runs_the_model(tiny_bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["doctor", "--json", "--port-base", "39200", "--model", str(tiny_bundle)]
    assert main(arguments) in {0, 1}
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert checks["onnxruntime"]["state"] == "ok"
    assert "CPU" in checks["onnxruntime"]["detail"]
    assert checks["model"]["state"] == "ok"
    assert "tokens/s" in checks["model"]["detail"]


@pytest.mark.flow
def test_doctor_fails_on_a_damaged_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--json", "--model", str(tmp_path)]) == 1
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)}
    assert checks["model"]["state"] == "fail"
    assert "export" in checks["model"]["mend"]
