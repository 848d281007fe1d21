"""A pod's name, hosts file and resolver."""

from __future__ import annotations

from typing import Any

from kubecore.kubelet.hosts import (
    dns_config,
    hostname_and_domain,
    hosts_file,
    kernel_hostname,
    parse_resolver,
)
from support.kubelet import pod

DOMAIN = "cluster.local"
NODE = parse_resolver("# the node's\nnameserver 192.0.2.53\nsearch example.com corp.\noptions timeout:2 rotate\n")


def resolver(**spec: Any) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    made = dns_config(pod("web", **spec), NODE, ("10.96.0.10",), DOMAIN)
    return made.servers, made.searches, made.options


def test_the_cluster_comes_first_and_the_nodes_searches_follow() -> None:
    assert resolver() == (
        ("10.96.0.10",),
        ("default.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.com", "corp"),
        ("ndots:5",),
    )


def test_policies() -> None:
    node = (("192.0.2.53",), ("example.com", "corp"), ("timeout:2", "rotate"))
    assert resolver(dnsPolicy="Default") == node
    assert resolver(hostNetwork=True) == node
    assert resolver(hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet") == resolver()
    given = {
        "nameservers": ["1.1.1.1"],
        "searches": ["a"],
        "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}],
    }
    assert resolver(dnsPolicy="None", dnsConfig=given) == (("1.1.1.1",), ("a",), ("ndots:2", "edns0"))


def test_a_pods_own_options_replace_those_of_the_same_name() -> None:
    _, searches, options = resolver(
        dnsConfig={"options": [{"name": "ndots", "value": "1"}], "searches": ["cluster.local", "b"]}
    )
    assert options == ("ndots:1",)
    assert searches[-1] == "b"
    assert searches.count("cluster.local") == 1


def test_names() -> None:
    assert hostname_and_domain(pod("web"), DOMAIN) == ("web", "")
    assert hostname_and_domain(pod("web", hostname="a", subdomain="db"), DOMAIN) == (
        "a",
        "db.default.svc.cluster.local",
    )
    long = "x" * 62 + "-tail"
    assert hostname_and_domain(pod(long), DOMAIN)[0] == "x" * 62
    assert kernel_hostname(pod("web", hostNetwork=True), DOMAIN, "node-0") == "node-0"
    whole = pod("web", hostname="a", subdomain="db", setHostnameAsFQDN=True)
    assert kernel_hostname(whole, DOMAIN, "node-0") == "a.db.default.svc.cluster.local"


def test_a_hosts_file_names_the_pod_and_its_aliases() -> None:
    aliases = [{"ip": "192.0.2.7", "hostnames": ["db", "db.local"]}]
    text = hosts_file(pod("web", subdomain="db", hostAliases=aliases), ("10.244.0.5", "fd00::5"), DOMAIN, "")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost")
    assert (
        "\n10.244.0.5\tweb.db.default.svc.cluster.local\tweb\nfd00::5\tweb.db.default.svc.cluster.local\tweb\n" in text
    )
    assert text.endswith("\n# Entries added by HostAliases.\n192.0.2.7\tdb\tdb.local\n")


def test_on_the_nodes_network_the_nodes_hosts_count() -> None:
    text = hosts_file(pod("web", hostNetwork=True), ("198.18.0.11",), DOMAIN, "127.0.0.1 localhost\n")
    assert text == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
