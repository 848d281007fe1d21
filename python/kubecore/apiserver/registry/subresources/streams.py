"""log, exec, attach, portforward, proxy: all need a kubelet, and simulated nodes have none."""

from __future__ import annotations

from kubecore.api import errors
from kubecore.api.meta import Object
from kubecore.apiserver.registry import requests
from kubecore.apiserver.registry.answers import Result
from kubecore.apiserver.registry.request import Request

STREAMS = (
    ("pods", "log"),
    ("pods", "exec"),
    ("pods", "attach"),
    ("pods", "portforward"),
    ("pods", "proxy"),
    ("services", "proxy"),
    ("nodes", "proxy"),
)
_OF_CONTAINER = ("log", "exec", "attach")


def refuse(request: Request) -> Result:
    """Upstream's complaints about what was asked come first; what is left says why there is no answer."""
    call, subresource = request.call, request.call.subresource
    obj = request.store.get(call.namespace, call.name).object
    what = f"{request.resource.singular} {call.name}"
    if request.resource.plural == "pods":
        if subresource in _OF_CONTAINER:
            container = _container(call.name, obj, requests.query(call, "container"))
            what = f'container "{container}" of pod "{call.name}"'
        node = obj.get("spec", {}).get("nodeName")
        if not node:
            raise errors.BadRequest(f"pod {call.name} does not have a host assigned")
        what = f'{what} on node "{node}"'
    raise errors.ServiceUnavailable(f"{subresource} of {what} is not available: simulated nodes have no kubelet")


def _container(pod_name: str, pod: Object, asked: str) -> str:
    spec = pod.get("spec", {})
    regular = [container["name"] for container in spec.get("containers") or ()]
    if asked:
        others = [*(spec.get("initContainers") or ()), *(spec.get("ephemeralContainers") or ())]
        if asked not in regular and all(container["name"] != asked for container in others):
            raise errors.BadRequest(f"container {asked} is not valid for pod {pod_name}")
        return asked
    if len(regular) != 1:
        listed = " ".join(regular)
        raise errors.BadRequest(f"a container name must be specified for pod {pod_name}, choose one of: [{listed}]")
    return str(regular[0])
