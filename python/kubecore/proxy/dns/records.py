"""The names of a cluster: services, endpoints and pods, by the Kubernetes DNS specification.

In: Services, EndpointSlices and Namespaces as the watches bring them. Out: `lookup(name, type)`. A name that the zone
does not cover is None: somebody else's. Nothing is precomputed but reverse names, so a change costs little.
Source: https://github.com/kubernetes/dns/blob/master/docs/specification.md
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kubecore.api.meta import Object, key_of
from kubecore.proxy.dns.message import Code, Record, Type
from kubecore.proxy.model import canonical_ip, family_of, is_proxied
from kubecore.proxy.slices import SlicesByService

VERSION = "1.1.0"
TTL_SECONDS = 5
"""As CoreDNS has it: a name follows its service within seconds."""
SRV_WEIGHT = 100
ADDRESS_TYPES = {"IPv4": Type.A, "IPv6": Type.AAAA}


@dataclass(frozen=True, slots=True)
class Found:
    """`alias`: the name that stands for this one and has still to be looked up, by whoever is responsible for it."""

    code: Code
    answers: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    alias: str = ""


NOWHERE = Found(Code.NAME_ERROR)
NOTHING = Found(Code.SUCCESS)


class ClusterRecords:
    """Names below `domain`, and reverse names of what is in the cluster. `now`: seconds, for the zone's serial."""

    def __init__(self, domain: str, *, now: Callable[[], float]) -> None:
        self._zone = domain.strip(".").lower()
        self._now = now
        self._services: dict[str, Object] = {}
        self._slices = SlicesByService()
        self._namespaces: set[str] = set()
        self._reverse: dict[str, dict[str, tuple[str, ...]]] = {}
        self._reversed: dict[str, tuple[str, ...]] = {}
        self.serial = int(now())

    @property
    def domain(self) -> str:
        return self._zone

    # ── handlers of informers ──

    def service_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None:
            self._services[key_of(new)] = new
        elif old is not None:
            self._services.pop(key_of(old), None)
        self._touch(key_of(new or old or {"metadata": {"name": ""}}))

    def slice_changed(self, old: Object | None, new: Object | None) -> None:
        for service in self._slices.changed(old, new):
            self._touch(service)

    def namespace_changed(self, old: Object | None, new: Object | None) -> None:
        for each in (old, new):
            if each is not None:
                self._namespaces.discard(each["metadata"]["name"])
        if new is not None:
            self._namespaces.add(new["metadata"]["name"])
        self.serial = max(self.serial, int(self._now()))

    def _touch(self, key: str) -> None:
        self.serial = max(self.serial, int(self._now()))
        for address in self._reversed.pop(key, ()):
            names = self._reverse[address]
            names.pop(key, None)
            if not names:
                del self._reverse[address]
        found = self._reverse_names(key)
        for address, names_here in found.items():
            self._reverse.setdefault(address, {})[key] = names_here
        if found:
            self._reversed[key] = tuple(found)

    def _reverse_names(self, key: str) -> dict[str, tuple[str, ...]]:
        """Cluster addresses, and endpoints of headless services that have a host name."""
        service = self._services.get(key)
        if service is None:
            return {}
        name = self._name_of(service)
        if is_proxied(service):
            return {canonical_ip(each): (name,) for each in _cluster_ips(service)}
        if service["spec"].get("type") == "ExternalName":
            return {}
        found: dict[str, tuple[str, ...]] = {}
        for endpoint in self._endpoints(key):
            if endpoint.get("hostname"):
                address = canonical_ip(endpoint["addresses"][0])
                found[address] = (*found.get(address, ()), f"{endpoint['hostname']}.{name}")
        return found

    # ── questions ──

    def lookup(self, name: str, kind: int) -> Found | None:
        """`name` in lower case."""
        if name.endswith((".in-addr.arpa", ".ip6.arpa")):
            return self._lookup_address(name, kind)
        if name == self._zone:
            return self._apex(kind)
        if not name.endswith(f".{self._zone}"):
            return None
        labels = name[: -len(self._zone) - 1].split(".")
        match labels:
            case ["dns-version"]:
                return _only(kind, Type.TXT, Record(name, Type.TXT, TTL_SECONDS, VERSION))
            case [("svc" | "pod")]:
                return NOTHING
            case [namespace, ("svc" | "pod")]:
                return NOTHING if namespace in self._namespaces else NOWHERE
            case [address, namespace, "pod"]:
                return self._pod(name, kind, address, namespace)
            case [*below, service, namespace, "svc"] if len(below) <= 2:
                return self._service(name, kind, below, f"{namespace}/{service}")
            case _:
                return NOWHERE

    def start_of_authority(self) -> Record:
        data = (f"ns.dns.{self._zone}", f"hostmaster.{self._zone}", self.serial, 7200, 1800, 86400, TTL_SECONDS)
        return Record(self._zone, Type.SOA, TTL_SECONDS, data)

    def _apex(self, kind: int) -> Found:
        soa = self.start_of_authority()
        if kind == Type.NS:
            return Found(Code.SUCCESS, (Record(self._zone, Type.NS, TTL_SECONDS, f"ns.dns.{self._zone}"),))
        return _only(kind, Type.SOA, soa)

    def _lookup_address(self, name: str, kind: int) -> Found | None:
        names = self._reverse.get(address_of_reverse(name))
        if names is None:
            return None
        found = tuple(Record(name, Type.PTR, TTL_SECONDS, each) for key in sorted(names) for each in names[key])
        return Found(Code.SUCCESS, found) if kind in (Type.PTR, Type.ANY) else NOTHING

    def _pod(self, name: str, kind: int, label: str, namespace: str) -> Found:
        address = _address_of_label(label)
        if not address or namespace not in self._namespaces:
            return NOWHERE
        of_type = ADDRESS_TYPES[family_of(address)]
        return _only(kind, of_type, Record(name, of_type, TTL_SECONDS, address))

    def _service(self, name: str, kind: int, below: list[str], key: str) -> Found:
        service = self._services.get(key)
        if service is None:
            return NOWHERE
        if service["spec"].get("type") == "ExternalName":
            if below:
                return NOWHERE
            alias = service["spec"]["externalName"].strip(".").lower()
            return Found(Code.SUCCESS, (Record(name, Type.CNAME, TTL_SECONDS, alias),), alias=alias)
        headless = not is_proxied(service)
        if headless and not any(True for _ in self._endpoints(key)):
            return NOWHERE
        match below:
            case []:
                found = self._addresses(name, service, key) if not headless else self._endpoint_addresses(name, key)
                return _of_kind(found, kind) if kind != Type.SRV else self._ports(service, key, "", "", name)
            case [port, protocol] if port.startswith("_") and protocol in ("_tcp", "_udp", "_sctp"):
                return self._ports(service, key, port[1:], protocol[1:].upper(), name, asked=kind)
            case [host] if headless:
                return _of_kind(self._endpoint_addresses(name, key, host), kind) if self._has(key, host) else NOWHERE
            case _:
                return NOWHERE

    def _addresses(self, name: str, service: Object, key: str) -> list[Record]:
        return [Record(name, ADDRESS_TYPES[family_of(each)], TTL_SECONDS, each) for each in _cluster_ips(service)]

    def _endpoint_addresses(self, name: str, key: str, host: str = "") -> list[Record]:
        addresses = {
            canonical_ip(endpoint["addresses"][0]): None
            for endpoint in self._endpoints(key)
            if not host or _host_of(endpoint) == host
        }
        return [Record(name, ADDRESS_TYPES[family_of(each)], TTL_SECONDS, each) for each in addresses]

    def _has(self, key: str, host: str) -> bool:
        return any(_host_of(endpoint) == host for endpoint in self._endpoints(key))

    def _ports(self, service: Object, key: str, port: str, protocol: str, name: str, *, asked: int = Type.SRV) -> Found:
        """SRV records of a port, or of all ports. Named ports only, as the specification has it."""
        target = self._name_of(service)
        answers: list[Record] = []
        additional: dict[tuple[str, str], Record] = {}
        if is_proxied(service):
            answers += [
                Record(name, Type.SRV, TTL_SECONDS, (0, SRV_WEIGHT, each["port"], target))
                for each in service["spec"].get("ports") or ()
                if _is_asked(each, port, protocol)
            ]
            for record in self._addresses(target, service, key) if answers else ():
                additional[target, str(record.data)] = record
        else:
            for endpoint, ports in self._endpoints_with_ports(key):
                host = f"{_host_of(endpoint)}.{target}"
                for each in ports:
                    if _is_asked(each, port, protocol) and each.get("port"):
                        answers.append(Record(name, Type.SRV, TTL_SECONDS, (0, SRV_WEIGHT, each["port"], host)))
                        address = canonical_ip(endpoint["addresses"][0])
                        kind = ADDRESS_TYPES[family_of(address)]
                        additional[host, address] = Record(host, kind, TTL_SECONDS, address)
        if port and not answers:
            return NOWHERE
        if asked not in (Type.SRV, Type.ANY):
            return NOTHING
        return Found(Code.SUCCESS, tuple(dict.fromkeys(answers)), tuple(additional.values()))

    def _endpoints(self, key: str) -> Iterable[Object]:
        return (endpoint for endpoint, _ in self._endpoints_with_ports(key))

    def _endpoints_with_ports(self, key: str) -> Iterable[tuple[Object, list[Object]]]:
        """Those that are ready: one that publishes itself before has said that it is."""
        for each in self._slices.of(key):
            if each.get("addressType") not in ADDRESS_TYPES:
                continue
            for endpoint in each.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is not False and endpoint.get("addresses"):
                    yield endpoint, each.get("ports") or []

    def _name_of(self, service: Object) -> str:
        metadata = service["metadata"]
        return f"{metadata['name']}.{metadata['namespace']}.svc.{self._zone}"


def _cluster_ips(service: Object) -> list[str]:
    spec = service["spec"]
    return [each for each in map(canonical_ip, spec.get("clusterIPs") or [spec.get("clusterIP", "")]) if each]


def _is_asked(port: Object, name: str, protocol: str) -> bool:
    if not name:
        return bool(port.get("name"))
    return (port.get("name") or "").lower() == name and (port.get("protocol") or "TCP") == protocol


def _host_of(endpoint: Object) -> str:
    """Its host name, else its address with dashes."""
    if endpoint.get("hostname"):
        return str(endpoint["hostname"]).lower()
    return canonical_ip(endpoint["addresses"][0]).replace(".", "-").replace(":", "-")


def _only(kind: int, of_type: Type, record: Record) -> Found:
    return Found(Code.SUCCESS, (record,)) if kind in (of_type, Type.ANY) else NOTHING


def _of_kind(records: Iterable[Record], kind: int) -> Found:
    return Found(Code.SUCCESS, tuple(each for each in records if kind in (each.type, Type.ANY)))


def _address_of_label(label: str) -> str:
    """`10-1-2-3`, or an IPv6 address with dashes for its colons; empty if it is none."""
    if label.count("-") == 3 and label.replace("-", "").isdecimal():
        return canonical_ip(label.replace("-", "."))
    return canonical_ip(label.replace("-", ":")) if "-" in label else ""


def address_of_reverse(name: str) -> str:
    """`4.3.2.1.in-addr.arpa` → `1.2.3.4`; empty if it is no address."""
    if name.endswith(".in-addr.arpa"):
        return canonical_ip(".".join(reversed(name.removesuffix(".in-addr.arpa").split("."))))
    digits = name.removesuffix(".ip6.arpa").split(".")
    if len(digits) != 32 or any(len(digit) != 1 for digit in digits):
        return ""
    text = "".join(reversed(digits))
    try:
        return str(ipaddress.IPv6Address(bytes.fromhex(text)))
    except ValueError:
        return ""
