from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kubecore.cluster.machines.announcer import EXCLUDED, Routes, changes, plan

OWN = ["198.18.0.0/24", "203.0.113.0/24", "10.244.0.0/16", "10.96.0.0/12"]


def node(number: int, *, ready: bool = True, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": f"node-{number}", "labels": labels},
        "spec": {"podCIDRs": [f"10.244.{number}.0/24"]},
        "status": {
            "addresses": [{"type": "InternalIP", "address": f"198.18.0.{11 + number}"}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}],
        },
    }


def service(*addresses: str, kind: str = "LoadBalancer", policy: str = "Cluster", external: str = "") -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "type": kind,
            "externalTrafficPolicy": policy,
            **({"externalIPs": [external]} if external else {}),
        },
        "status": {"loadBalancer": {"ingress": [{"ip": each} for each in addresses]}},
    }


def endpoints(*nodes: str, ready: bool = True) -> dict[str, Any]:
    return {
        "metadata": {"name": "web-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
        "endpoints": [{"nodeName": each, "conditions": {"ready": ready}} for each in nodes],
    }


PODS = {"10.244.0.0/24": ("198.18.0.11",), "10.244.1.0/24": ("198.18.0.12",)}


def test_every_pod_range_leads_to_its_node_ready_or_not() -> None:
    assert plan([node(0), node(1, ready=False)], [], [], own=OWN) == PODS


def test_a_load_balancer_s_address_is_spread_over_the_ready_nodes() -> None:
    nodes = [node(0), node(1), node(2, ready=False)]
    routes = plan(nodes, [service("198.51.100.1")], [], own=OWN)
    assert routes["198.51.100.1/32"] == ("198.18.0.11", "198.18.0.12")


def test_a_local_policy_keeps_it_on_nodes_with_ready_endpoints() -> None:
    local = [service("198.51.100.1", policy="Local")]
    routes = plan([node(0), node(1)], local, [endpoints("node-1"), endpoints("node-0", ready=False)], own=OWN)
    assert routes["198.51.100.1/32"] == ("198.18.0.12",)
    assert "198.51.100.1/32" not in plan([node(0), node(1)], local, [], own=OWN)


def test_a_node_may_keep_out_of_load_balancing() -> None:
    nodes = [node(0, **{EXCLUDED: ""}), node(1)]
    assert plan(nodes, [service("198.51.100.1")], [], own=OWN)["198.51.100.1/32"] == ("198.18.0.12",)


def test_an_address_is_held_only_while_the_service_is_a_load_balancer() -> None:
    assert plan([node(0), node(1)], [service("198.51.100.1", kind="NodePort")], [], own=OWN) == PODS


def test_external_addresses_are_announced_but_never_the_fabric_s_own() -> None:
    services = [service(kind="ClusterIP", external="192.0.2.7"), service(kind="ClusterIP", external="198.18.0.1")]
    routes = plan([node(0), node(1)], services, [], own=OWN)
    assert set(routes) - set(PODS) == {"192.0.2.7/32"}


def test_only_what_changed_is_said() -> None:
    after: Routes = {"10.244.0.0/24": ("a",), "192.0.2.1/32": ("a", "b")}
    assert changes({}, after) == [
        "route replace 10.244.0.0/24 via a",
        "route replace 192.0.2.1/32 nexthop via a nexthop via b",
    ]
    assert changes(after, after) == []
    assert changes(after, {"10.244.0.0/24": ("b",)}) == [
        "route del 192.0.2.1/32",
        "route replace 10.244.0.0/24 via b",
    ]


ROUTES = st.dictionaries(
    st.sampled_from(["192.0.2.1/32", "192.0.2.2/32", "10.244.0.0/24"]),
    st.lists(st.sampled_from(["198.18.0.11", "198.18.0.12"]), min_size=1, max_size=2, unique=True).map(tuple),
)


@given(ROUTES, ROUTES)
def test_the_changes_make_one_of_the_other(before: Routes, after: Routes) -> None:
    table = dict(before)
    for line in changes(before, after):
        _, verb, destination, *rest = line.split()
        if verb == "del":
            del table[destination]
        else:
            table[destination] = tuple(word for word in rest if word[0].isdigit())
    assert table == after


def test_an_address_of_another_family_or_none_at_all_makes_no_line() -> None:
    """One line that `ip` refuses would cost everybody their routes."""
    liar = node(1)
    liar["status"]["addresses"] = [{"type": "InternalIP", "address": "198.18.0.12\nlink delete fabric"}]
    both = node(0)
    both["spec"]["podCIDRs"] = [*both["spec"]["podCIDRs"], "fd00:10:244::/64"]
    routes = plan([both, liar], [service("2001:db8::1", external="2001:db8::2"), service("198.51.100.1")], [], own=OWN)
    assert routes == {"10.244.0.0/24": ("198.18.0.11",), "198.51.100.1/32": ("198.18.0.11",)}
