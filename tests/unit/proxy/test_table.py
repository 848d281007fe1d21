"""What a proxy reads out of services and slices, and when it looks again."""

from __future__ import annotations

from kubecore.proxy.model import Endpoint, canonical_ip, endpoints_by_port, service_ports
from kubecore.proxy.table import ServiceTable
from support.services import NODE, OTHER_NODE, POD_A, POD_B, endpoint, endpoint_slice, node, service


def test_a_service_has_a_port_for_each_family_with_what_belongs_to_it() -> None:
    both = service(
        clusterIPs=["10.96.0.1", "fd96::1"],
        type="LoadBalancer",
        externalIPs=["203.0.113.1", "2001:DB8::1", "no address"],
        loadBalancerSourceRanges=[" 192.0.2.0/24 ", "2001:db8::/32"],
        ingress=[{"ip": "198.51.100.1"}, {"ip": "198.51.100.2", "ipMode": "Proxy"}, {"hostname": "lb.example.com"}],
        sessionAffinity="ClientIP",
        ports=[{"name": "http", "port": 80, "nodePort": 30001}],
    )
    four, six = service_ports(both)
    assert (four.family, four.cluster_ip, four.external_ips) == ("IPv4", "10.96.0.1", ("203.0.113.1",))
    assert (six.family, six.cluster_ip, six.external_ips) == ("IPv6", "fd96::1", ("2001:db8::1",))
    assert (four.load_balancer_ips, six.load_balancer_ips) == (("198.51.100.1",), ())
    assert (four.source_ranges, six.source_ranges) == (("192.0.2.0/24",), ("2001:db8::/32",))
    assert (four.affinity_seconds, four.text) == (10800, "default/web:http")


def test_a_range_of_all_addresses_is_no_range() -> None:
    [four] = service_ports(service(loadBalancerSourceRanges=["192.0.2.0/24", "0.0.0.0/0"]))
    assert four.source_ranges == ()


def test_headless_services_and_external_names_are_not_proxied() -> None:
    assert service_ports(service(clusterIP="None")) == []
    assert service_ports(service(type="ExternalName", externalName="example.com")) == []


def test_an_endpoint_in_two_slices_is_one_and_the_ready_one_is_believed() -> None:
    going = endpoint(POD_A, conditions={"ready": False, "terminating": True})
    slices = [endpoint_slice(going, name="old"), endpoint_slice(endpoint(POD_A), endpoint(POD_B), name="new")]
    found = endpoints_by_port(slices)["IPv4", "", "TCP"]
    assert found == (Endpoint(POD_A, 8080, NODE), Endpoint(POD_B, 8080, NODE))


def test_conditions_that_nobody_gave_are_the_best() -> None:
    each = endpoint_slice({"addresses": [POD_A]})
    assert endpoints_by_port([each])["IPv4", "", "TCP"] == (Endpoint(POD_A, 8080),)


def test_leading_zeros_are_decimal_and_words_no_addresses() -> None:
    assert [canonical_ip(text) for text in ("010.1.2.3", "FD00:0::1", "300.1.1.1", "web")] == [
        "10.1.2.3",
        "fd00::1",
        "",
        "",
    ]


def test_only_what_changed_is_taken_and_a_move_of_the_node_changes_all() -> None:
    woken: list[int] = []
    table = ServiceTable(NODE, lambda: woken.append(1))
    table.node_updated(node())
    for name in ("web", "db"):
        table.service_changed(None, service(name))
    assert set(table.take()) == {"default/web", "default/db"}
    assert table.take() == {}
    table.slice_changed(None, endpoint_slice(endpoint(POD_A)))
    assert set(table.take()) == {"default/web"}
    # A change of status that says nothing new to a proxy.
    before = len(woken)
    table.service_changed(service("web"), {**service("web"), "status": {"conditions": []}})
    assert (len(woken), table.has_changes) == (before, False)
    table.node_updated(node(NODE, "198.18.0.11", **{"topology.kubernetes.io/zone": "east"}))
    assert set(table.take()) == {"default/web", "default/db"}
    table.service_changed(service("db"), None)
    assert table.take() == {"default/db": ()}


def test_health_checks_count_ready_endpoints_of_this_node() -> None:
    table = ServiceTable(NODE, lambda: None)
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 32000}
    table.service_changed(None, service(**spec))
    unready = endpoint("10.244.0.9", conditions={"ready": False})
    table.slice_changed(None, endpoint_slice(endpoint(POD_A), endpoint(POD_B, OTHER_NODE), unready))
    assert table.health_checks() == {"default/web": 32000}
    assert table.local_ready("default/web") == 1
