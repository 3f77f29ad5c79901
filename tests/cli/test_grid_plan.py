from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from gateway.cli.grid_plan import CoreModel, PlannedSite, plan
from gateway.config.site import SiteConfig

SITE = SiteConfig()
CHANGE = msgspec.structs.replace
WITH_CORE = CHANGE(SITE, core=CHANGE(SITE.core, url="https://models.example/v1", model="large"))


def planned(
    site: SiteConfig,
    num_sites: int = 3,
    *,
    with_core: bool = True,
    environment: dict[str, str] | None = None,
    core_model: CoreModel | None = None,
) -> dict[str, PlannedSite]:
    sites = plan(
        site,
        num_sites=num_sites,
        with_core=with_core,
        port_base=8080,
        arguments=("--model", "DIR"),
        environment=environment or {},
        core_model=core_model,
    )
    return {one.name: one for one in sites}


def test_edge_sites_have_ten_ports_each_and_link_to_all_others() -> None:
    sites = planned(SITE, environment={"PATH": "/bin"})
    assert list(sites) == ["edge-a", "edge-b", "edge-c"]
    assert [one.port_base for one in sites.values()] == [8080, 8090, 8100]
    middle = sites["edge-b"]
    assert list(middle.ports) == [8090, 8091, 8092, 8093, 8094]
    assert (
        middle.environment["FIRSTHOP_GRID_PEERS"] == "edge-a=127.0.0.1:8082,edge-c=127.0.0.1:8102"
    )
    assert middle.environment["PATH"] == "/bin"
    assert middle.command[-4:] == ("--port-base", "8090", "--model", "DIR")


def test_a_site_runs_this_package_whatever_lies_where_it_is_started() -> None:
    for one in planned(WITH_CORE, environment={"PYTHONPATH": "/theirs"}).values():
        assert one.command[1:4] == ("-P", "-m", "gateway")
        ours, theirs = one.environment["PYTHONPATH"].split(os.pathsep)
        assert (Path(ours) / "gateway" / "cli" / "grid_plan.py").is_file()
        assert theirs == "/theirs"


def test_every_edge_site_is_a_router_of_the_fabric_and_none_is_its_only_one() -> None:
    told = [one.environment for one in planned(SITE).values()]
    listen = [f"tcp/127.0.0.1:{port}" for port in (8084, 8094, 8104)]
    assert [one["FIRSTHOP_FABRIC_LISTEN"] for one in told] == listen
    met = [one["FIRSTHOP_FABRIC_CONNECT"] for one in told]
    assert met == ["", listen[0], f"{listen[0]},{listen[1]}"]


def test_a_fabric_of_the_operators_is_left_alone() -> None:
    own = {"FIRSTHOP_FABRIC_CONNECT": "tls/hub:7447"}
    for site in planned(SITE, environment=own).values():
        assert site.environment["FIRSTHOP_FABRIC_CONNECT"] == "tls/hub:7447"
        assert "FIRSTHOP_FABRIC_LISTEN" not in site.environment
    assert "FIRSTHOP_FABRIC_LISTEN" not in planned(SITE, 1)["edge-a"].environment


def test_the_sites_have_one_key() -> None:
    keys = {one.environment["FIRSTHOP_GRID_KEY"] for one in planned(SITE).values()}
    assert [len(key) for key in keys] == [64]
    own = {"FIRSTHOP_GRID_KEY": "k" * 32}
    assert planned(SITE, environment=own)["edge-b"].environment["FIRSTHOP_GRID_KEY"] == "k" * 32


@pytest.mark.parametrize("threads", [0, 5])
def test_sites_share_the_cores_unless_told_how_many(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    site = CHANGE(SITE, model=CHANGE(SITE.model, threads=threads))
    given = {"FIRSTHOP_MODEL_THREADS": str(threads)} if threads else {}
    told = planned(site, environment=given)["edge-a"].environment
    assert told["FIRSTHOP_MODEL_THREADS"] == ("5" if threads else "2")


CORE = {
    "FIRSTHOP_CORE_URL": "https://models.example/v1",
    "FIRSTHOP_CORE_MODEL": "large",
    "FIRSTHOP_CORE_API_KEY": "secret",
    "FIRSTHOP_CORE_BUDGET_MS": "900",
}


def test_the_core_site_asks_the_core_model_and_alone_has_its_key() -> None:
    sites = planned(WITH_CORE, 2, environment=CORE)
    assert list(sites) == ["edge-a", "edge-b", "core"]
    edge, core = sites["edge-a"].environment, sites["core"].environment
    assert edge["FIRSTHOP_CORE_URL"] == "http://127.0.0.1:8100/v1"
    assert edge["FIRSTHOP_CORE_MODEL"] == "large"
    assert edge["FIRSTHOP_CORE_BUDGET_MS"] == "900"
    assert "secret" not in edge.values()
    assert core["FIRSTHOP_UPSTREAM_URL"] == "https://models.example/v1"
    assert core["FIRSTHOP_UPSTREAM_MODEL"] == "large"
    assert core["FIRSTHOP_UPSTREAM_API_KEY"] == "secret"
    assert not any(name.startswith("FIRSTHOP_CORE_") for name in core)
    assert "FIRSTHOP_GRID_PEERS" not in core


def test_without_a_core_site_edges_ask_the_core_model_themselves() -> None:
    sites = planned(WITH_CORE, 1, with_core=False, environment=CORE)
    assert list(sites) == ["edge-a"]
    assert sites["edge-a"].environment["FIRSTHOP_CORE_URL"] == CORE["FIRSTHOP_CORE_URL"]
    assert sites["edge-a"].environment["FIRSTHOP_CORE_API_KEY"] == "secret"


def test_without_a_core_model_there_is_no_core_site() -> None:
    assert "core" not in planned(SITE)


def test_a_core_site_may_run_a_model_itself() -> None:
    sites = planned(SITE, 2, core_model=CoreModel("large", "BIG"))
    assert list(sites) == ["edge-a", "edge-b", "core"]
    edge, core = sites["edge-b"].environment, sites["core"]
    assert edge["FIRSTHOP_CORE_URL"] == "http://127.0.0.1:8100/v1"
    assert edge["FIRSTHOP_CORE_MODEL"] == "large"
    assert core.command[-4:] == ("--port-base", "8100", "--model", "BIG")
    assert core.environment["FIRSTHOP_SITE_ID"] == "core"
    assert not any(
        name.startswith(("FIRSTHOP_CORE_", "FIRSTHOP_UPSTREAM_", "FIRSTHOP_FABRIC_"))
        or name == "FIRSTHOP_GRID_PEERS"
        for name in core.environment
    )
