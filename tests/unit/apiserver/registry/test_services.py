"""Services: addresses and ports are given, kept and taken back; what upstream rejects."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from tests.support.registry import SERVICES, Api


@pytest.fixture
def api() -> Api:
    return Api(service_cidr="10.0.0.0/24")


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}], **spec}}


def test_a_service_gets_an_address_and_upstreams_defaults(api: Api) -> None:
    spec = api.post(SERVICES, service()).ok()["spec"]
    assert ipaddress.ip_address(spec["clusterIP"]) in ipaddress.ip_network("10.0.0.0/24")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["ports"] == [{"protocol": "TCP", "port": 80, "targetPort": 80}]
    expected = {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }
    assert {key: spec[key] for key in expected} == expected


def test_an_address_that_is_asked_for_is_given_once(api: Api) -> None:
    assert api.post(SERVICES, service(clusterIP="10.0.0.50")).ok()["spec"]["clusterIPs"] == ["10.0.0.50"]
    refused = api.post(SERVICES, service("other", clusterIP="10.0.0.50"))
    assert (refused.status, refused.fields) == (422, ["spec.clusterIPs"])
    assert "failed to allocate IP 10.0.0.50: provided IP is already allocated" in refused.message
    api.delete(f"{SERVICES}/web").ok()
    api.post(SERVICES, service("other", clusterIP="10.0.0.50")).ok()


def test_two_stacks_are_not_promised_by_a_cluster_that_has_one(api: Api) -> None:
    refused = api.post(SERVICES, service(ipFamilyPolicy="RequireDualStack"))
    assert (refused.status, refused.fields) == (422, ["spec.ipFamilyPolicy"])
    assert "this cluster is not configured for dual-stack services" in refused.message
    headless = service("elsewhere", ipFamilyPolicy="RequireDualStack", clusterIP="None", selector=None)
    assert api.post(SERVICES, headless).ok()["spec"]["ipFamilies"] == ["IPv4", "IPv6"]


def test_every_address_of_a_small_network_is_given_and_then_no_more() -> None:
    api = Api(service_cidr="10.0.0.0/29")
    given = [api.post(SERVICES, service(f"s{n}")).ok()["spec"]["clusterIP"] for n in range(6)]
    assert sorted(given) == [f"10.0.0.{n}" for n in range(1, 7)]
    refused = api.post(SERVICES, service("late"))
    assert (refused.status, refused.fields) == (422, ["spec.clusterIPs"])
    assert "range is full" in refused.message


def test_a_restarted_registry_knows_what_is_taken(api: Api) -> None:
    api.post(SERVICES, service(clusterIP="10.0.0.50", type="NodePort", ports=[{"port": 80, "nodePort": 30080}])).ok()
    again = Api(service_cidr="10.0.0.0/24")
    again.registry.environment.storage = api.storage
    again.registry.environment.reader = api.registry.environment.reader
    assert again.post(SERVICES, service("other", clusterIP="10.0.0.50")).status == 422
    refused = again.post(SERVICES, service("other", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]))
    assert refused.fields == ["spec.ports[0].nodePort"]


def test_a_refused_service_holds_nothing(api: Api) -> None:
    assert api.post(SERVICES, service(clusterIP="10.0.0.50", sessionAffinity="Sometimes")).status == 422
    api.post(SERVICES, service(clusterIP="10.0.0.50")).ok()


def test_a_headless_service_has_no_address(api: Api) -> None:
    spec = api.post(SERVICES, service(clusterIP="None")).ok()["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"]) == ("None", ["None"])


def test_an_external_name_has_neither_address_nor_family(api: Api) -> None:
    spec = api.post(
        SERVICES, {"metadata": {"name": "x"}, "spec": {"type": "ExternalName", "externalName": "a.b"}}
    ).ok()["spec"]
    assert "clusterIP" not in spec
    assert "ipFamilies" not in spec


def test_node_ports_come_from_their_range(api: Api) -> None:
    spec = api.post(SERVICES, service(type="NodePort")).ok()["spec"]
    assert 30000 <= spec["ports"][0]["nodePort"] <= 32767
    assert spec["externalTrafficPolicy"] == "Cluster"


def test_tcp_and_udp_of_one_port_share_a_node_port(api: Api) -> None:
    ports = [{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}]
    given = [
        port["nodePort"] for port in api.post(SERVICES, service(type="NodePort", ports=ports)).ok()["spec"]["ports"]
    ]
    assert given[0] == given[1]


def test_a_local_load_balancer_gets_a_health_port(api: Api) -> None:
    spec = api.post(SERVICES, service(type="LoadBalancer", externalTrafficPolicy="Local")).ok()["spec"]
    assert 30000 <= spec["healthCheckNodePort"] <= 32767
    assert spec["healthCheckNodePort"] != spec["ports"][0]["nodePort"]


def test_an_update_that_leaves_out_what_was_given_keeps_it(api: Api) -> None:
    created = api.post(SERVICES, service(type="NodePort")).ok()
    updated = api.put(f"{SERVICES}/web", service(type="NodePort", selector={"a": "c"})).ok()
    assert updated["spec"]["clusterIP"] == created["spec"]["clusterIP"]
    assert updated["spec"]["ports"] == created["spec"]["ports"]
    assert updated["spec"]["selector"] == {"a": "c"}


def test_a_change_of_type_gives_back_what_it_no_longer_needs(api: Api) -> None:
    created = api.post(SERVICES, service(type="NodePort")).ok()
    port = created["spec"]["ports"][0]["nodePort"]
    created["spec"]["type"] = "ClusterIP"
    plain = api.put(f"{SERVICES}/web", created).ok()["spec"]
    assert "nodePort" not in plain["ports"][0]
    assert "externalTrafficPolicy" not in plain
    api.post(SERVICES, service("other", type="NodePort", ports=[{"port": 1, "nodePort": port}])).ok()
    address = plain["clusterIP"]
    renamed = api.patch(f"{SERVICES}/web", {"spec": {"type": "ExternalName", "externalName": "a.b"}}).ok()["spec"]
    assert "clusterIP" not in renamed
    assert api.post(SERVICES, service("heir", clusterIP=address)).status == 201


def test_an_address_does_not_change(api: Api) -> None:
    api.post(SERVICES, service(clusterIP="10.0.0.50")).ok()
    refused = api.patch(f"{SERVICES}/web", {"spec": {"clusterIP": "10.0.0.51"}})
    assert (refused.status, refused.fields) == (422, ["spec.clusterIPs[0]"])
    assert "may not change once set" in refused.message


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("no ports", {"ports": []}, "FieldValueRequired", "spec.ports"),
    ("a port of zero", {"ports": [{"port": 0}]}, "FieldValueInvalid", "spec.ports[0].port"),
    ("two ports without names", {"ports": [{"port": 1}, {"port": 2}]}, "FieldValueRequired", "spec.ports[0].name"),
    (
        "one port twice",
        {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 1}]},
        "FieldValueDuplicate",
        "spec.ports[1]",
    ),
    (
        "an unknown protocol",
        {"ports": [{"port": 1, "protocol": "X"}]},
        "FieldValueNotSupported",
        "spec.ports[0].protocol",
    ),
    ("a bad target", {"ports": [{"port": 1, "targetPort": "--"}]}, "FieldValueInvalid", "spec.ports[0].targetPort"),
    ("an unknown type", {"type": "Magic"}, "FieldValueNotSupported", "spec.type"),
    (
        "a node port without a type for it",
        {"ports": [{"port": 1, "nodePort": 30001}]},
        "FieldValueForbidden",
        "spec.ports[0].nodePort",
    ),
    (
        "a node port out of range",
        {"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]},
        "FieldValueInvalid",
        "spec.ports[0].nodePort",
    ),
    ("a foreign address", {"clusterIP": "192.168.1.1"}, "FieldValueInvalid", "spec.clusterIPs"),
    ("no address at all", {"clusterIP": "abc"}, "FieldValueInvalid", "spec.clusterIPs[0]"),
    ("headless with node ports", {"type": "NodePort", "clusterIP": "None"}, "FieldValueInvalid", "spec.clusterIPs[0]"),
    ("an external name without a name", {"type": "ExternalName"}, "FieldValueRequired", "spec.externalName"),
    ("an unknown affinity", {"sessionAffinity": "Sometimes"}, "FieldValueNotSupported", "spec.sessionAffinity"),
    ("a local policy inside", {"externalTrafficPolicy": "Local"}, "FieldValueInvalid", "spec.externalTrafficPolicy"),
    ("an unknown inner policy", {"internalTrafficPolicy": "X"}, "FieldValueNotSupported", "spec.internalTrafficPolicy"),
    ("an unknown distribution", {"trafficDistribution": "X"}, "FieldValueNotSupported", "spec.trafficDistribution"),
    ("a loopback external address", {"externalIPs": ["127.0.0.1"]}, "FieldValueInvalid", "spec.externalIPs[0]"),
    (
        "source ranges without a balancer",
        {"loadBalancerSourceRanges": ["1.0.0.0/8"]},
        "FieldValueForbidden",
        "spec.loadBalancerSourceRanges",
    ),
    ("a bad selector", {"selector": {"a b": "c"}}, "FieldValueInvalid", "spec.selector"),
]


@pytest.mark.parametrize(("spec", "reason", "field"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_service_that_breaks_a_rule_is_refused(api: Api, spec: dict[str, Any], reason: str, field: str) -> None:
    refused = api.post(SERVICES, service(**spec))
    assert (refused.status, refused.reason) == (422, "Invalid")
    causes = {(cause["reason"], cause["field"]) for cause in refused.body["details"]["causes"]}
    assert (reason, field) in causes
    assert api.storage.count("/registry/core/services/") == 0


def test_a_service_is_named_as_a_dns_label(api: Api) -> None:
    refused = api.post(SERVICES, service("1web"))
    assert refused.fields == ["metadata.name"]
    assert "a DNS-1035 label must consist of" in refused.message
