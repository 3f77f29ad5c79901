from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gateway.core.errors import ConfigError
from loadtests.links.matrix import Link, LinkMatrix, read_matrix

if TYPE_CHECKING:
    from pathlib import Path

_MATRIX = """\
sites = ["client", "edge-a", "central"]

[default]
rtt_ms = 20

[links.client]
edge-a = { rtt_ms = 5, jitter_ms = 0.5, loss_ratio = 0.001, rate_mbit_per_s = 500 }

[links.central]
client = { rtt_ms = 80 }
"""


def test_every_pair_has_its_link_or_the_default(tmp_path: Path) -> None:
    path = tmp_path / "wan.toml"
    path.write_text(_MATRIX)
    matrix = read_matrix(path)
    assert matrix.links == (
        ("client", "edge-a", Link(0.005, 0.0005, 0.001, 500e6)),
        ("client", "central", Link(0.08)),
        ("edge-a", "central", Link(0.02)),
    )
    assert [matrix.address(site) for site in matrix.sites] == [
        "127.99.0.1",
        "127.99.0.2",
        "127.99.0.3",
    ]


@pytest.mark.parametrize(
    ("change", "to", "complaint"),
    [
        ("rtt_ms = 5,", "rtt_ms = -5,", ":7: links.client.edge-a: rtt must be from 0"),
        ("rtt_ms = 5,", "", ":7: links.client.edge-a: Object missing required field `rtt_ms`"),
        ("jitter_ms = 0.5", "jitter_ms = 3", ":7: links.client.edge-a: jitter must be from 0"),
        ("loss_ratio = 0.001", "loss = 1", ":7: links.client.edge-a: Object contains unknown"),
        ("loss_ratio = 0.001", "loss_ratio = 1.5", ":7: links.client.edge-a: loss_ratio must"),
        ("s = 500", "s = 0.001", ":7: links.client.edge-a: rate must be 0 (any) or at least 0.064"),
        ("rtt_ms = 20", "rtt_ms = nan", ":4: default: rtt must be"),
        ("rtt_ms = 20", "rtt_ms = 20\nspeed = 3", ":5: default: Object contains unknown field"),
        ('sites = ["client", "edge-a", "central"]', "", ":1: sites: missing"),
        ("edge-a =", "edge-x =", ":7: links.client.edge-x: 'edge-x' is not in `sites`"),
        ("client = {", "central = {", ":10: links.central.central: each pair of two"),
        ("edge-a =", "central =", ":10: links.central.client: each pair of two"),
        ("[default]\nrtt_ms = 20\n", "", ":1: sites: no link between edge-a and central"),
        ('"edge-a", ', "", ":7: links.client.edge-a: 'edge-a' is not in `sites`"),
        ('"central"]', "3]", ":1: sites: a list of names"),
        ('"central"]', '"Central.1", "central"]', ":1: sites: a site is named like"),
        ("[default]", "[defaults]", ":3: defaults: unknown key"),
        ("[default]", "[default", ":3: not valid TOML"),
        ("[links.central]", "[links]\ncentral = 3\n[links.x]", ":10: links.central: a table of"),
        ("[default]", "[[links]]", ":3: links: a table of sites"),
    ],
)
def test_a_bad_matrix_is_named_by_file_line_and_key(
    tmp_path: Path, change: str, to: str, complaint: str
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(_MATRIX.replace(change, to, 1))
    with pytest.raises(ConfigError) as refused:
        read_matrix(path)
    assert str(path) in str(refused.value)
    assert complaint in str(refused.value)


def test_a_matrix_of_one_site_is_refused() -> None:
    with pytest.raises(ValueError, match="2 to 250 sites"):
        LinkMatrix.of(("alone",), {})
