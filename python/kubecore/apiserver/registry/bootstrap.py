"""What exists before the first client comes: the system's namespaces, the `kubernetes` Service and where it leads, the
network that Services get their addresses from, the two system priority classes. Run at every start; what is there
already stays as it is, except the server's own address.

Written past admission and validation: these objects are the ground that both stand on (and a server on a loopback address
is no valid endpoint for anybody else).
"""

from __future__ import annotations

import ipaddress

from kubecore.api import codec, scheme
from kubecore.api.meta import Object
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry.registry import Registry
from kubecore.apiserver.registry.strategies.namespaces import FINALIZER, NAME_LABEL
from kubecore.apiserver.registry.strategy import keep

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
SERVICE_NAME = "kubernetes"
SERVICE_PORT = 443
PRIORITY_CLASSES = {
    "system-cluster-critical": (2_000_000_000, "For pods that the cluster needs, on whichever node they run."),
    "system-node-critical": (2_000_001_000, "For pods that the cluster needs on the very node they run on."),
}
_PORT_NAME = "https"


def ensure_bootstrap_objects(registry: Registry, *, address: str, port: int) -> None:
    """address, port: where clients inside the cluster reach this server."""
    for name in NAMESPACES:
        ensure(registry, scheme.core("namespaces"), "", name, _namespace(name))
    for name, (value, description) in PRIORITY_CLASSES.items():
        resource = scheme.resource("scheduling.k8s.io", "v1", "priorityclasses")
        ensure(registry, resource, "", name, {"value": value, "description": description})
    networks = scheme.resource("networking.k8s.io", "v1", "servicecidrs")
    ensure(registry, networks, "", SERVICE_NAME, _service_networks(registry))
    service = _service(registry, port)
    ensure(registry, scheme.core("services"), "default", SERVICE_NAME, service)
    for resource, obj in _endpoints(address, port):
        ensure(
            registry, resource, "default", SERVICE_NAME, obj, follow=("subsets", "endpoints", "ports", "addressType")
        )


def ensure(
    registry: Registry, resource: Resource, namespace: str, name: str, given: Object, *, follow: tuple[str, ...] = ()
) -> None:
    """Creates what is not there. `follow`: parts that an existing object takes over."""
    environment = registry.environment
    store = registry.store_of(resource)
    key = store.resource.key(namespace, name)
    metadata = {**given.get("metadata", {}), "name": name}
    if namespace:
        metadata["namespace"] = namespace
    wanted: Object = {"apiVersion": resource.api_version, "kind": resource.kind, **given, "metadata": metadata}
    wanted = codec.default(resource.group, resource.version, resource.kind, wanted)
    stored = environment.storage.get(key)
    if stored is None:
        wanted["metadata"] |= {"uid": environment.uid(), "creationTimestamp": environment.now()}
        if store.strategy.counts_generations:
            wanted["metadata"]["generation"] = 1
        value, splice = codec.encode(wanted)
        environment.storage.create(key, value, splice=splice)
        store.strategy.written(wanted, None)
        return
    changed = {**stored.object}
    for part in follow:
        keep(changed, wanted, part)
    if changed != stored.object:
        value, splice = codec.encode(changed)
        environment.storage.update(key, value, splice=splice, expected=stored.revision)


def _namespace(name: str) -> Object:
    return {
        "metadata": {"labels": {NAME_LABEL: name}},
        "spec": {"finalizers": [FINALIZER]},
        "status": {"phase": "Active"},
    }


def _service_networks(registry: Registry) -> Object:
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "",
        "message": "Kubernetes default Service CIDR is ready",
        "lastTransitionTime": registry.environment.now(),
    }
    networks = [str(network) for network in registry.environment.service_networks]
    return {"spec": {"cidrs": networks}, "status": {"conditions": [ready]}}


def _service(registry: Registry, port: int) -> Object:
    """Holds the first address of the service network."""
    network = registry.environment.service_networks[0]
    first = str(network.network_address + 1)
    return {
        "metadata": {"labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": first,
            "clusterIPs": [first],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": [f"IPv{network.version}"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": _PORT_NAME, "port": SERVICE_PORT, "protocol": "TCP", "targetPort": port}],
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    }


def _endpoints(address: str, port: int) -> list[tuple[Resource, Object]]:
    served = {"name": _PORT_NAME, "port": port, "protocol": "TCP"}
    endpoints = {
        "metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": address}], "ports": [served]}],
    }
    slices = {
        "metadata": {"labels": {"kubernetes.io/service-name": SERVICE_NAME}},
        "addressType": f"IPv{ipaddress.ip_address(address).version}",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [served],
    }
    return [
        (scheme.core("endpoints"), endpoints),
        (scheme.resource("discovery.k8s.io", "v1", "endpointslices"), slices),
    ]
