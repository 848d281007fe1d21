"""pods/proxy, services/proxy, nodes/proxy: the request goes on to the pod, to one of the service's endpoints, to the node's kubelet.

A name may say scheme and port: `web`, `web:8080`, `https:web:https`.
"""

from __future__ import annotations

import ipaddress
import posixpath
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, urlencode

from kubecore.api import errors
from kubecore.api.meta import Object
from kubecore.apiserver.registry.answers import Result
from kubecore.apiserver.registry.backend import Backend, Security, Trouble, passed_on, wants_upgrade
from kubecore.apiserver.registry.request import Request
from kubecore.apiserver.registry.subresources import kubelets

_PATH_SAFE = "/:@!$&'()*+,;=~"
_SCHEMES = {"": Security.PLAIN, "http": Security.PLAIN, "https": Security.ANY_CERTIFICATE}
_SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class Location(NamedTuple):
    host: str
    port: int
    security: Security


class Asked(NamedTuple):
    """A name as a proxy request has it, taken apart."""

    security: Security
    name: str
    port: str


def answer(request: Request) -> Result | Backend:
    call, kind = request.call, request.resource.singular
    asked = _asked(call.name, kind)
    location = {"pod": _of_pod, "service": _of_service, "node": _of_node}[kind](request, asked)
    mount_path, rest = _split_path(call.path)
    upgrade = wants_upgrade(call)
    query = f"?{urlencode(call.query)}" if call.query else ""
    if not rest and not upgrade and call.method in ("GET", "HEAD"):
        # Without the slash the page's relative links would lead elsewhere.
        return Result(301, b"", headers=[("location", f"{quote(call.path, safe=_PATH_SAFE)}/{query}")])
    path = quote(_clean(rest), safe=_PATH_SAFE)
    headers = passed_on(call)
    if not upgrade:
        headers.append(("x-forwarded-uri", quote(mount_path, safe=_PATH_SAFE) + path))
    return Backend(
        host=location.host,
        port=location.port,
        security=location.security,
        trouble=Trouble.PROXY,
        method=call.method,
        target=path + query,
        headers=tuple(headers),
        mount_path=mount_path,
    )


def _asked(text: str, kind: str) -> Asked:
    parts = text.split(":")
    scheme, name, port = {1: ("", *parts, ""), 2: ("", *parts), 3: tuple(parts)}.get(len(parts), ("", "", ""))
    if not name or scheme not in _SCHEMES:
        raise errors.BadRequest(f'invalid {kind} request "{text}"')
    return Asked(_SCHEMES[scheme], name, port)


def _split_path(path: str) -> tuple[str, str]:
    """The path up to and with `/proxy`, and what follows it."""
    depth = 8 if path.startswith("/api/v1/namespaces/") else 6
    parts = path.split("/", depth)
    return "/".join(parts[:depth]), ("/" + parts[depth] if len(parts) > depth else "")


def _clean(rest: str) -> str:
    """Without `.` and `..`: nothing climbs out of what was authorised."""
    cleaned = posixpath.normpath("/" + rest.lstrip("/"))
    return cleaned + "/" if rest.endswith("/") and cleaned != "/" else cleaned


def _of_pod(request: Request, asked: Asked) -> Location:
    pod = request.store.get(request.call.namespace, asked.name).object
    port = asked.port or _first_port(pod)
    address = next((each["ip"] for each in (pod.get("status") or {}).get("podIPs") or ()), "")
    address = address or (pod.get("status") or {}).get("podIP", "")
    _must_be_reachable(address)
    _must_run(request, pod, for_what=f'proxy of pod "{asked.name}"')
    if not port:
        return Location(address, 80 if asked.security is Security.PLAIN else 443, asked.security)
    return Location(address, _port_number(port), asked.security)


def _first_port(pod: Object) -> str:
    for container in pod["spec"].get("containers") or ():
        for port in container.get("ports") or ():
            return str(port["containerPort"])
    return ""


def _of_service(request: Request, asked: Asked) -> Location:
    namespace, port_name = request.call.namespace, asked.port
    if asked.port.isdigit():
        service = request.store.get(namespace, asked.name).object
        ports = [port for port in service["spec"].get("ports") or () if port["port"] == int(asked.port)]
        if not ports:
            raise errors.ServiceUnavailable(f'no service port {asked.port} found for service "{asked.name}"')
        port_name = ports[0].get("name", "")
    else:
        request.store.get(namespace, asked.name)
    found = list(_endpoints(request, asked.name, port_name))
    if not found:
        raise errors.ServiceUnavailable(f'no endpoints available for service "{request.call.name}"')
    host, port, pod = request.environment.random.choice(found)
    _must_run(request, pod, for_what=f'proxy of service "{asked.name}"')
    return Location(host, port, asked.security)


def _endpoints(request: Request, service: str, port_name: str) -> Iterator[tuple[str, int, Object]]:
    """Ready endpoints that are pods at the address they claim: an endpoint that somebody made up leads nowhere."""
    namespace, reader = request.call.namespace, request.environment.reader
    slices = request.store_for("discovery.k8s.io", "v1", "endpointslices").resource
    pods = request.store_for("", "v1", "pods").resource
    for piece in reader.list(slices, namespace):
        if (piece["metadata"].get("labels") or {}).get(_SERVICE_NAME_LABEL) != service:
            continue
        numbers = [port["port"] for port in piece.get("ports") or () if (port.get("name") or "") == port_name]
        for endpoint in piece.get("endpoints") or ():
            target = endpoint.get("targetRef") or {}
            if (endpoint.get("conditions") or {}).get("ready") is False or target.get("kind") != "Pod":
                continue
            pod = reader.get(pods, target.get("namespace") or namespace, target.get("name", ""))
            if pod is None:
                continue
            addresses = {each["ip"] for each in (pod.get("status") or {}).get("podIPs") or ()}
            for address in endpoint["addresses"][:1]:
                if address in addresses:
                    yield from ((address, number, pod) for number in numbers)


def _of_node(request: Request, asked: Asked) -> Location:
    host, port = kubelets.address_of(request, asked.name, for_what=f'proxy of node "{asked.name}"')
    if asked.port in ("", str(port)):
        return Location(host, port, Security.KUBELET)
    _must_be_reachable(host)
    return Location(host, _port_number(asked.port), asked.security)


def _must_run(request: Request, pod: Object, *, for_what: str) -> None:
    """A simulated pod's address is nobody's, or somebody else's in the network around."""
    nodes = request.store_for("", "v1", "nodes").resource
    node = request.environment.reader.get(nodes, "", pod["spec"].get("nodeName", ""))
    if node is not None and kubelets.is_simulated(node):
        raise errors.ServiceUnavailable(f"{for_what} is not available: nothing runs on simulated nodes")


def _must_be_reachable(address: str) -> None:
    """The server's own network is not what a proxy request is for."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        raise errors.BadRequest("address not allowed") from None
    # ::ffff:127.0.0.1 is dialled as what is in it.
    parsed = (parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None) or parsed
    if parsed.is_loopback or parsed.is_link_local or parsed.is_multicast or parsed.is_unspecified:
        raise errors.BadRequest("address not allowed")


def _port_number(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise errors.ServiceUnavailable(f"error trying to reach service: dial tcp: lookup tcp/{text}: unknown port")
    return int(text)
