"""Which pods stand behind a service, and at which ports: shared by the Endpoints and the EndpointSlice controllers.

Pods are found through an index of `namespace/label=value`, so a service never looks at pods that have none of its
labels.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from kubecore.api import labels
from kubecore.api.meta import Object, key_of, labels_of, namespace_of
from kubecore.api.scheme import core
from kubecore.controllers import pods
from kubecore.controllers.base import Context, Controller

BY_LABEL = "label"

LARGE_SERVICE_PODS = 1000
LARGE_SERVICE_PAUSE_SECONDS = 0.2
"""A service with more pods than that gathers their changes, for that long per thousand pods: each sync looks at all of
them, and so the work stays in proportion to the pods however fast they change."""

HEADLESS = "service.kubernetes.io/headless"

Port = dict[str, str | int]


def by_label(pod: Object) -> Iterable[str]:
    namespace = namespace_of(pod)
    return [f"{namespace}/{name}={value}" for name, value in labels_of(pod).items()]


def is_finished(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def addresses_of(pod: Object) -> list[str]:
    status = pod.get("status", {})
    listed = [each["ip"] for each in status.get("podIPs") or () if each.get("ip")]
    return listed or ([status["podIP"]] if status.get("podIP") else [])


def address_of(pod: Object, family: str) -> str:
    """The pod's first address of a family (`IPv4`, `IPv6`), or nothing."""
    return next((address for address in addresses_of(pod) if (":" in address) == (family == "IPv6")), "")


def families_of(service: Object) -> list[str]:
    return service["spec"].get("ipFamilies") or ["IPv4"]


def is_headless(service: Object) -> bool:
    return bool(service["spec"].get("clusterIP") == "None")


def hostname_of(pod: Object, service: Object) -> str:
    """A pod that names itself and this service as its subdomain is known by its name in DNS."""
    spec = pod["spec"]
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        return str(spec["hostname"])
    return ""


def ports_of(service: Object, pod: Object) -> list[Port]:
    """The service's ports as this pod has them; a named target that the pod lacks is left out."""
    found = []
    for port in service["spec"].get("ports") or ():
        number = _target(port, pod)
        if number is None:
            continue
        each: Port = {"name": port.get("name", ""), "port": number, "protocol": port.get("protocol", "TCP")}
        if port.get("appProtocol"):
            each["appProtocol"] = port["appProtocol"]
        found.append(each)
    return found


def _target(port: Object, pod: Object) -> int | None:
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    spec = pod["spec"]
    sidecars = [each for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"]
    for container in [*spec.get("containers", ()), *sidecars]:
        for declared in container.get("ports") or ():
            if declared.get("name") == target and declared.get("protocol", "TCP") == port.get("protocol", "TCP"):
                return int(declared["containerPort"])
    return None


def target_reference(pod: Object) -> Object:
    metadata = pod["metadata"]
    return {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}


def differs(old: Object, new: Object) -> bool:
    """Whether the change of a pod can matter to a service."""
    return _facts(old) != _facts(new)


def _facts(pod: Object) -> tuple[object, ...]:
    spec, metadata = pod.get("spec", {}), pod["metadata"]
    return (
        addresses_of(pod),
        pods.is_ready(pod),
        is_finished(pod),
        metadata.get("deletionTimestamp"),
        metadata.get("labels"),
        spec.get("nodeName"),
        spec.get("hostname"),
        spec.get("subdomain"),
    )


class ServiceController(Controller):
    """Keys are services; a pod wakes the services that select it, before or after its change."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.services = self.enqueue_changes_of(core("services"))
        self.services.add_index(pods.BY_NAMESPACE, pods.by_namespace)
        self.pods = self.informer(core("pods"))
        self.pods.add_index(BY_LABEL, by_label)
        self.pods.add_handler(self._pod_changed)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new if new is not None else old
        if pod is None:
            return
        # Most pods stand behind no service: whether this one does is asked before what has changed.
        woken = [
            service
            for service in self.services.by_index(pods.BY_NAMESPACE, namespace_of(pod))
            if (selector := service["spec"].get("selector"))
            and any(each is not None and labels.matches_simple(selector, labels_of(each)) for each in (old, new))
        ]
        if not woken or (old is not None and new is not None and not differs(old, new)):
            return
        if not addresses_of(pod) and (old is None or not addresses_of(old)):
            return
        for service in woken:
            self._wake(key_of(service), service["spec"]["selector"])

    def _wake(self, key: str, selector: dict[str, str]) -> None:
        namespace = key.partition("/")[0]
        number = len(self._candidates(namespace, selector))
        if number > LARGE_SERVICE_PODS:
            self.queue.add_after(key, LARGE_SERVICE_PAUSE_SECONDS * number / 1000)
        else:
            self.queue.add(key)

    def _candidates(self, namespace: str, selector: dict[str, str]) -> Collection[Object]:
        """The pods that have the rarest of the selector's labels: a view."""
        found = [self.pods.by_index(BY_LABEL, f"{namespace}/{name}={value}") for name, value in selector.items()]
        return min(found, key=len)

    def selected(self, service: Object) -> list[Object]:
        """In the order of their names: what is written does not depend on the order of events."""
        selector = service["spec"]["selector"]
        candidates = self._candidates(namespace_of(service), selector)
        chosen = [pod for pod in candidates if labels.matches_simple(selector, labels_of(pod))]
        return sorted(chosen, key=_name)


def takes_endpoints(service: Object) -> bool:
    """Services without a selector are filled by somebody else; an ExternalName has nothing to fill."""
    return bool(service["spec"].get("selector")) and service["spec"].get("type") != "ExternalName"


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])
