from __future__ import annotations

from loadtests.links.matrix import Link, LinkMatrix
from loadtests.links.netem import egress_lines, leaf, split_lines

_MATRIX = LinkMatrix.of(
    ("a", "b", "c"),
    {("a", "b"): Link(0.005, 0.0005, 0.001, 500e6), ("a", "c"): Link(0.08)},
    Link(0),
)


def test_each_destination_has_its_class_leaf_and_filter() -> None:
    assert egress_lines(_MATRIX, "a", "wan0") == [
        "qdisc add dev wan0 root handle 1: htb",
        "class add dev wan0 parent 1: classid 1:2 htb rate 40gbit quantum 60000",
        "qdisc add dev wan0 parent 1:2 "
        "netem limit 10542 delay 2500us 500us loss 0.1000% rate 500000000bit",
        "filter add dev wan0 parent 1: protocol ip u32 match ip dst 127.99.0.2/32 flowid 1:2",
        "class add dev wan0 parent 1: classid 1:3 htb rate 40gbit quantum 60000",
        "qdisc add dev wan0 parent 1:3 netem limit 20000 delay 40000us rate 20000000000bit",
        "filter add dev wan0 parent 1: protocol ip u32 match ip dst 127.99.0.3/32 flowid 1:3",
    ]


def test_both_ends_delay_the_same_link_by_half() -> None:
    to_c = [line for line in egress_lines(_MATRIX, "c", "wan0") if "netem" in line]
    assert to_c[0].endswith("netem limit 20000 delay 40000us rate 20000000000bit")


def test_a_slow_link_keeps_room_for_a_hundred_packets() -> None:
    assert "limit 100 " in leaf(Link(0.02, rate_bit_per_s=64e3))


def test_a_partition_loses_what_crosses_it_and_is_mended() -> None:
    apart = split_lines(_MATRIX, "a", "wan0", ("a", "b"))
    assert apart == [
        "qdisc change dev wan0 parent 1:2 "
        "netem limit 10542 delay 2500us 500us loss 0.1000% rate 500000000bit",
        "qdisc change dev wan0 parent 1:3 "
        "netem limit 20000 delay 40000us loss 100.0000% rate 20000000000bit",
    ]
    mended = split_lines(_MATRIX, "a", "wan0", ())
    assert "loss" not in mended[1]
