"""A pod's name and what its /etc/hosts and resolv.conf say. Pure.

Source: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/,
https://kubernetes.io/docs/tasks/network/customize-hosts-file-for-pods/
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kubecore.api.meta import Object
from kubecore.kubelet import pods
from kubecore.kubelet.runtimes.protocol import DNSConfig

HOSTNAME_MAX = 63
SEARCHES_MAX = 32
SERVERS_MAX = 3
NDOTS = "ndots:5"

_HEAD = """# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
_HEAD_OF_HOST = "# Kubernetes-managed hosts file (host network).\n"


def hostname_and_domain(pod: Object, cluster_domain: str) -> tuple[str, str]:
    """(hostname, the domain it is in or ""): `web-0`, `web.default.svc.cluster.local`."""
    spec, metadata = pod["spec"], pod["metadata"]
    override = spec.get("hostnameOverride")
    if override:
        return str(override), ""
    name = spec.get("hostname") or metadata["name"]
    # A name that is cut must not end in a separator.
    hostname = name if len(name) <= HOSTNAME_MAX else name[:HOSTNAME_MAX].rstrip("-.")
    subdomain = spec.get("subdomain")
    domain = f"{subdomain}.{metadata['namespace']}.svc.{cluster_domain}" if subdomain else ""
    return hostname, domain


def kernel_hostname(pod: Object, cluster_domain: str, node_hostname: str) -> str:
    """What `hostname` prints in the pod."""
    if pods.on_host_network(pod) and not pod["spec"].get("hostnameOverride"):
        return node_hostname
    hostname, domain = hostname_and_domain(pod, cluster_domain)
    if pod["spec"].get("setHostnameAsFQDN") and domain:
        return f"{hostname}.{domain}"
    return hostname


def hosts_file(pod: Object, ips: Sequence[str], cluster_domain: str, node_hosts: str) -> str:
    """The text of the pod's /etc/hosts. `node_hosts`: the node's own, for pods in its network."""
    aliases = _aliases(pod)
    if pods.on_host_network(pod):
        return _HEAD_OF_HOST + node_hosts + aliases
    hostname, domain = hostname_and_domain(pod, cluster_domain)
    names = f"{hostname}.{domain}\t{hostname}" if domain else hostname
    return _HEAD + "".join(f"{ip}\t{names}\n" for ip in ips) + aliases


def _aliases(pod: Object) -> str:
    listed = pod["spec"].get("hostAliases") or ()
    if not listed:
        return ""
    lines = "".join(f"{each['ip']}\t" + "\t".join(each.get("hostnames") or ()) + "\n" for each in listed)
    return f"\n# Entries added by HostAliases.\n{lines}"


@dataclass(frozen=True, slots=True)
class ResolverFile:
    """What a resolv.conf says."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_resolver(text: str) -> ResolverFile:
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if len(words) < 2 or words[0].startswith(";"):
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] == "search":
            searches = [word.rstrip(".") or "." for word in words[1:]]
        elif words[0] == "options":
            options = words[1:]
    return ResolverFile(tuple(servers), tuple(searches), tuple(options))


def dns_config(pod: Object, node: ResolverFile, cluster_dns: Sequence[str], cluster_domain: str) -> DNSConfig:
    """The pod's resolver, by its dnsPolicy and with its dnsConfig merged in."""
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and pods.on_host_network(pod):
        policy = "Default"
    if policy == "ClusterFirstWithHostNet":
        policy = "ClusterFirst"
    if policy == "ClusterFirst" and not cluster_dns:
        policy = "Default"
    if policy == "None":
        made = ResolverFile()
    elif policy == "Default":
        made = node
    else:
        namespace = pod["metadata"]["namespace"]
        own = (f"{namespace}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain) if cluster_domain else ()
        made = ResolverFile(tuple(cluster_dns), _once((*own, *node.searches)), (NDOTS,))
    return _merge(made, pod["spec"].get("dnsConfig") or {})


def _merge(base: ResolverFile, given: Object) -> DNSConfig:
    servers = _once((*base.servers, *(given.get("nameservers") or ())))
    searches = _once((*base.searches, *(given.get("searches") or ())))
    options = {option.partition(":")[0]: option for option in base.options}
    for each in given.get("options") or ():
        value = each.get("value")
        options[each["name"]] = f"{each['name']}:{value}" if value else each["name"]
    return DNSConfig(servers=servers[:SERVERS_MAX], searches=searches[:SEARCHES_MAX], options=tuple(options.values()))


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))
