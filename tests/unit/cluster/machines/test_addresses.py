from __future__ import annotations

import pytest

from kubecore.cluster.machines.addresses import Addresses

OTHERS = {
    "--cluster-cidr": "10.244.0.0/16",
    "--service-cidr": "10.96.0.0/12",
    "--load-balancer-cidr": "198.51.100.0/24",
}


def test_everybody_has_an_address_in_the_same_network() -> None:
    addresses = Addresses("198.18.0.0/24", "203.0.113.0/24")
    addresses.check(2, OTHERS)
    assert str(addresses.fabric) == "198.18.0.1/24"
    assert [addresses.node(number).ip for number in range(2)] == ["198.18.0.11", "198.18.0.12"]
    assert (addresses.outside_gateway.ip, addresses.outside_host.ip) == ("203.0.113.1", "203.0.113.2")


def test_a_network_too_small_for_its_nodes_is_refused() -> None:
    with pytest.raises(ValueError, match="no room for 5 nodes"):
        Addresses("198.18.0.0/28", "203.0.113.0/24").check(5, OTHERS)


def test_networks_that_overlap_are_refused_by_their_flags_names() -> None:
    with pytest.raises(ValueError, match=r"--node-cidr 10\.100\.0\.0/24 and --service-cidr 10\.96\.0\.0/12 overlap"):
        Addresses("10.100.0.0/24", "203.0.113.0/24").check(1, OTHERS)
