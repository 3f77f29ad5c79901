"""What deploy/ asks Prometheus for is what a site says; a real Prometheus reads it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.core.slo import BURN_RULES
from gateway.telemetry.instruments import INSTRUMENTS, Kind
from loadtests.local_site import free_port_base, wait_until
from tests.edge.admin_site import serve_admin
from tests.requirements import require
from tests.telemetry.turns import answered, shed

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = (DEPLOY / "prometheus" / "firsthop.rules.yml").read_text(encoding="utf-8")
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "firsthop.json").read_text())
_MEND = "run: sudo apt-get install -y prometheus"


def asked_for() -> dict[str, str]:
    """Every expression of the dashboard, by its panel."""
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    }


def names_on_metrics() -> set[str]:
    names = {"up"}
    for row in INSTRUMENTS:
        name = row.name.replace(".", "_") + ("_seconds" if row.unit == "s" else "")
        match row.kind:
            case Kind.HISTOGRAM:
                names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
            case Kind.COUNTER:
                names.add(f"{name}_total")
            case Kind.GAUGE:
                names.add(name)
    return names


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:firsthop|gen_ai)[a-z0-9_:]*[a-z0-9](?=[{\[) ])", expression + " "))


def test_every_name_in_deploy_is_one_that_sites_say() -> None:
    recorded = set(re.findall(r"- record: (\S+)", RULES))
    known = names_on_metrics() | recorded
    labels = {"gen_ai_token_type"}
    for where, expression in {**asked_for(), "rules": _expressions()}.items():
        asked = names_in(expression) - labels
        assert asked or 'up{job="firsthop"}' in expression, where
        assert asked <= known, (where, asked - known)


def _expressions() -> str:
    return "\n".join(
        line for line in RULES.splitlines() if "summary:" not in line and "action:" not in line
    )


def test_every_metric_but_the_duplicates_is_on_the_dashboard() -> None:
    shown = names_in("\n".join(asked_for().values()) + _expressions())
    missing = {
        row.name
        for row in INSTRUMENTS
        if not any(name.startswith(row.name.replace(".", "_")) for name in shown)
    }
    assert missing == {"gen_ai.server.time_to_first_token", "firsthop.slo.burning"}


def test_panels_do_not_overlap_and_have_their_own_ids() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_the_pages_are_those_of_the_sites() -> None:
    pages = re.findall(
        r"expr: firsthop:slo_burn:rate(\S+) > ([\d.]+) and on \(class\) "
        r"firsthop:slo_burn:rate(\S+) > [\d.]+\n\s+labels: {severity: page}",
        RULES,
    )
    hours = [(rule.long_s, rule.rate, rule.short_s) for rule in BURN_RULES[1:]]
    assert [(_seconds(long), float(rate), _seconds(short)) for long, rate, short in pages] == hours


def _seconds(window: str) -> float:
    return float(window[:-1]) * {"m": 60.0, "h": 3600.0, "d": 86_400.0}[window[-1]]


@pytest.mark.flow
def test_promtool_finds_nothing_wrong() -> None:
    require("promtool", shutil.which("promtool") is not None, _MEND)
    for arguments in (
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "firsthop.rules.yml"),
        ("test", "rules", "firsthop.rules.test.yml"),
    ):
        done = subprocess.run(
            ["promtool", *arguments],
            cwd=DEPLOY / "prometheus",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    """A Prometheus that scrapes a site each second under the shipped rules; its address."""
    require("prometheus", shutil.which("prometheus") is not None, _MEND)
    with serve_admin() as site:
        for _ in range(3):
            site.telemetry.sink.record(answered())
        site.telemetry.sink.record(shed())
        shipped = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
        shipped = shipped.replace("127.0.0.1:8083", site.url.removeprefix("http://"))
        shipped = re.sub(r"(scrape|evaluation)_interval: \d+s", r"\1_interval: 1s", shipped)
        (tmp_path / "prometheus.yml").write_text(shipped)
        (tmp_path / "firsthop.rules.yml").write_text(RULES)
        address = f"127.0.0.1:{free_port_base()}"
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    "prometheus",
                    "--config.file=prometheus.yml",
                    f"--storage.tsdb.path={tmp_path / 'data'}",
                    f"--web.listen-address={address}",
                ],
                cwd=tmp_path,
                stdout=log,
                stderr=log,
            )
            try:
                yield f"http://{address}"
            finally:
                process.terminate()
                process.wait(60)


@pytest.mark.flow
def test_prometheus_scrapes_a_site_and_evaluates_the_rules(prometheus: str) -> None:
    def value(expression: str) -> float | None:
        query = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"{prometheus}/api/v1/query?{query}", timeout=30) as answer:
                found = json.load(answer)["data"]["result"]
        except OSError:
            return None  # it is starting
        return float(found[0]["value"][1]) if found else None

    wait_until(lambda: value('up{job="firsthop",edge="edge-a"}') == 1.0, "the site is scraped")
    assert value('firsthop_slo_attainment_total{met="true",class="voice"}') == 3.0
    assert value('firsthop_turn_first_content_seconds_count{class="voice"}') == 3.0
    wait_until(
        lambda: value('firsthop:slo_objective:ratio{class="voice"}') == 0.99, "the rules ran"
    )
    for where, expression in asked_for().items():
        query = urllib.parse.urlencode({"query": expression.replace("$edge", ".*")})
        with urllib.request.urlopen(f"{prometheus}/api/v1/query?{query}", timeout=30) as answer:
            assert json.load(answer)["status"] == "success", where
