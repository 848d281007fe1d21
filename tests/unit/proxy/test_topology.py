"""Which endpoints a node may use: a table of upstream's rules."""

from __future__ import annotations

from typing import Any

from kubecore.proxy.model import Endpoint, ServicePort
from kubecore.proxy.topology import Place, categorize

HERE = Place("node-0", "east")


def port(**how: Any) -> ServicePort:
    return ServicePort("default", "web", "", "TCP", "IPv4", "10.96.0.1", 80, **how)


def at(number: int, node: str = "node-0", **how: Any) -> Endpoint:
    return Endpoint(f"10.0.0.{number}", 80, node, **how)


def going(number: int, node: str = "node-0") -> Endpoint:
    return at(number, node, ready=False, serving=True, terminating=True)


def names(endpoints: tuple[Endpoint, ...]) -> set[int]:
    return {int(each.ip.rpartition(".")[2]) for each in endpoints}


def test_ready_endpoints_are_used_and_terminating_ones_only_in_their_absence() -> None:
    found = categorize(port(), [at(1), going(2), at(3, ready=False, serving=False)], HERE)
    assert (names(found.cluster), found.local, found.anywhere) == ({1}, (), True)
    assert names(categorize(port(), [going(2), at(3, ready=False, serving=False)], HERE).cluster) == {2}
    nobody = categorize(port(), [at(3, ready=False, serving=False)], HERE)
    assert (nobody.cluster, nobody.anywhere) == ((), False)


def test_each_policy_falls_back_by_itself() -> None:
    both = port(external_local=True, node_port=30001)
    found = categorize(both, [at(1, "other"), going(2)], HERE)
    assert (names(found.cluster), names(found.local), names(found.all)) == ({1}, {2}, {1, 2})


def test_a_policy_of_local_knows_of_endpoints_elsewhere() -> None:
    found = categorize(port(internal_local=True), [at(1, "other")], HERE)
    assert (found.cluster, found.local, found.all, found.anywhere) == ((), (), (), True)


def test_an_external_policy_without_an_external_address_changes_nothing() -> None:
    found = categorize(port(external_local=True), [at(1, "other"), at(2)], HERE)
    assert (names(found.cluster), found.local) == ({1, 2}, ())


def test_hints_choose_the_zone_or_the_node() -> None:
    east, west = frozenset({"east"}), frozenset({"west"})
    zones = [at(1, zone_hints=east), at(2, zone_hints=west)]
    assert names(categorize(port(), zones, HERE).cluster) == {1}
    nodes = [
        at(1, zone_hints=east, node_hints=frozenset({"node-0"})),
        at(2, "other", zone_hints=east, node_hints=frozenset({"other"})),
    ]
    assert names(categorize(port(), nodes, HERE).cluster) == {1}
    # Nothing is meant for this node: its zone, then.
    assert names(categorize(port(), nodes, Place("node-9", "east")).cluster) == {1, 2}


def test_hints_that_do_not_cover_all_or_not_here_are_ignored() -> None:
    east = frozenset({"east"})
    assert names(categorize(port(), [at(1, zone_hints=east), at(2)], HERE).cluster) == {1, 2}
    elsewhere = [at(1, zone_hints=east), at(2, zone_hints=east)]
    assert names(categorize(port(), elsewhere, Place("node-0", "west")).cluster) == {1, 2}
    # One that is not ready has no say.
    assert names(categorize(port(), [at(1, zone_hints=east), at(2, ready=False)], HERE).cluster) == {1}


def test_hints_leave_the_policy_of_local_alone() -> None:
    both = port(external_local=True, node_port=30001)
    west, east = frozenset({"west"}), frozenset({"east"})
    found = categorize(both, [at(1, zone_hints=west), at(2, "other", zone_hints=east)], HERE)
    assert (names(found.cluster), names(found.local), names(found.all)) == ({2}, {1}, {1, 2})
