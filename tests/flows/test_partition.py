"""A grid that falls apart and comes together again, and sites that leave it in order."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import httpx

from loadtests.cable import Cable
from loadtests.local_grid import num_usable, running_grid
from loadtests.local_site import wait_until
from tests.flows.test_grid import PATIENT, TURN, asking, small_grid, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtests.local_site import SiteProcess

SHORT = {**TURN, "max_tokens": 120}


@contextmanager
def cabled_grid(
    folder: Path, bundle: Path
) -> Iterator[tuple[dict[str, SiteProcess], dict[tuple[str, str], Cable]]]:
    """Sites with two slots each, and the ways between them, by who dials whom."""
    with ExitStack() as stack:
        cables: dict[tuple[str, str], Cable] = {}

        def dialled(caller: str, called: str, port: int) -> int:
            cable = cables[caller, called] = stack.enter_context(Cable.to(port))
            return cable.port

        sites = stack.enter_context(
            running_grid(
                folder,
                *("--model", str(bundle), "--accelerator", "emulated:rtx-pro-6000"),
                dialled=dialled,
                FIRSTHOP_MODEL_NUM_SLOTS="2",
            )
        )
        yield sites, cables


def answer_of(site: SiteProcess) -> tuple[str, str]:
    """The text, and who generated it to its end."""
    with asking(site, SHORT) as stream:
        stream.read()
    return stream.text, str(stream.last["firsthop"]["path"][-1])


def test_a_grid_that_falls_apart_loses_nothing_and_comes_together_again(
    tmp_path: Path, echo_bundle: Path
) -> None:
    with cabled_grid(tmp_path, echo_bundle) as (sites, cables):
        alone = {pair: cable for pair, cable in cables.items() if "edge-a" in pair}
        entry, others = sites["edge-a"], [sites["edge-b"], sites["edge-c"]]
        text, _ = answer_of(entry)
        is_over = threading.Event()

        def keep_asking(site: SiteProcess) -> list[tuple[str, str]]:
            answers = []
            while not is_over.is_set():
                answers.append(answer_of(site))
            return answers

        with ThreadPoolExecutor(9) as callers:
            asked = [callers.submit(keep_asking, site) for site in sites.values() for _ in range(3)]
            try:
                for _ in range(2):
                    for cable in alone.values():
                        cable.cut()
                    wait_until(lambda: num_usable(entry) == 0, "it knows that it is alone")
                    wait_until(
                        lambda: all(state_of(one, "edge-a") == "unlinked" for one in others),
                        "the others know it too",
                    )
                    for cable in alone.values():
                        cable.mend()
                    wait_until(
                        lambda: all(num_usable(site) == 2 for site in sites.values()),
                        "all are linked again",
                    )
            finally:
                is_over.set()
            answers = [answer for done in asked for answer in done.result()]
        assert {said for said, _ in answers} == {text}
        entry.set_capacity(0.0)
        assert answer_of(entry)[1] != "edge-a"


def test_a_stream_whose_link_goes_silent_goes_on_elsewhere(
    tmp_path: Path, echo_bundle: Path
) -> None:
    with cabled_grid(tmp_path, echo_bundle) as (sites, cables):
        entry = sites["edge-a"]
        with asking(entry, TURN) as local:
            local.read()
        entry.set_capacity(0.0)
        with asking(entry, TURN) as stream:
            stream.read(5)
            generating = stream.head["x-firsthop-site"]
            assert generating != "edge-a"
            cables["edge-a", generating].cut()
            stream.read()
        assert stream.text == local.text
        assert stream.last["firsthop"]["path"][-1] != generating
        cables["edge-a", generating].mend()
        # What waited on the way is of a link that is over, and means nothing any more.
        wait_until(lambda: state_of(entry, generating) == "usable", "it is back")
        sites[generating].wait_idle()


def test_a_site_that_drains_ends_its_streams_and_names_others(
    tmp_path: Path, echo_bundle: Path
) -> None:
    with small_grid(tmp_path, echo_bundle) as sites, httpx.Client(timeout=60) as client:
        entry, others = sites["edge-a"], [sites["edge-b"], sites["edge-c"]]
        url = f"{entry.http}/v1/chat/completions"
        with asking(entry, SHORT) as local:
            local.read()
        entry.wait_idle()
        assert client.get(f"{entry.http}/healthz").status_code == 200  # kept alive
        with asking(entry, TURN) as stream:
            stream.read(5)
            entry.process.send_signal(signal.SIGTERM)
            wait_until(
                lambda: all(state_of(one, "edge-a") != "usable" for one in others),
                "the others send it nothing more",
            )
            refused = client.post(url, json={**SHORT, "stream": False}, headers=PATIENT)
            stream.read()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "site_draining")
        named = refused.headers["x-firsthop-alternates"].split(", ")
        assert sorted(named) == sorted(site.http for site in others)
        assert stream.last["firsthop"]["finish"] == "length"
        assert entry.process.wait(60) == 0
        again = client.post(f"{named[0]}/v1/chat/completions", json=SHORT, headers=PATIENT)
        assert again.status_code == 200
