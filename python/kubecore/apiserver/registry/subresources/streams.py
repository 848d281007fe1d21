"""log, exec, attach, portforward: asked of the kubelet of the pod's node, in the words of its own API.

What is wrong with the question is told here; everything that depends on the running container, the kubelet tells.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from kubecore.api import errors
from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry import requests
from kubecore.apiserver.registry.answers import Result
from kubecore.apiserver.registry.backend import Backend, Security, Trouble, passed_on, wants_upgrade
from kubecore.apiserver.registry.call import Call
from kubecore.apiserver.registry.request import Request
from kubecore.apiserver.registry.subresources import kubelets

NEED_CREATE = frozenset({("", "pods", each) for each in ("exec", "attach", "portforward")})
"""A WebSocket begins with a GET, yet starts something: whoever asks may create it, or is refused (upstream's gate
AuthorizePodWebsocketUpgradeCreatePermission, on since 1.35)."""

_FLAGS_OF_STREAMS = ("stdin", "stdout", "stderr", "tty")
_KUBELET_FLAGS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
_LOG_FLAGS = ("follow", "previous", "timestamps")
_LOG_NUMBERS = {
    "sinceSeconds": (1, "must be greater than 0"),
    "tailLines": (0, "must be greater than or equal to 0"),
    "limitBytes": (1, "must be greater than 0"),
}
"""Least value, and what is told of a smaller one."""
_LOG_STREAMS = ("All", "Stdout", "Stderr")
_HANDSHAKE = ("sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol")


def log(request: Request) -> Result | Backend:
    call, pod = request.call, _pod(request)
    query = _log_query(call)
    container = _container(pod, requests.query(call, "container"))
    node = pod["spec"].get("nodeName")
    if not node:
        # Not a refusal: there simply is no output yet.
        return Result(204, b"")
    what = f'log of container "{container}" of pod "{call.name}" on node "{node}"'
    host, port = kubelets.address_of(request, node, for_what=what)
    insecure = _flag(call, "insecureSkipTLSVerifyBackend")
    headers = [("host", f"{host}:{port}"), ("user-agent", "kube-apiserver")]
    if wants_upgrade(call):
        # A page reads a log over a WebSocket: the node's kubelet speaks it.
        headers += [(name, value) for name, value in passed_on(call) if name in _HANDSHAKE]
    return Backend(
        host=host,
        port=port,
        security=Security.KUBELET_UNVERIFIED if insecure else Security.KUBELET,
        trouble=Trouble.LOGS,
        method="GET",
        target=_target(("containerLogs", call.namespace, call.name, container), query),
        headers=tuple(headers),
        errors_of=("pods/log", call.name),
    )


def exec_or_attach(request: Request) -> Result | Backend:
    call, pod = request.call, _pod(request)
    container = _container(pod, requests.query(call, "container"))
    query = [(_KUBELET_FLAGS[name], "1") for name in _FLAGS_OF_STREAMS if _flag(call, name)]
    if call.subresource == "exec":
        query += [("command", value) for name, value in call.query if name == "command"]
    return _upgraded(request, pod, (call.subresource, call.namespace, call.name, container), query)


def portforward(request: Request) -> Result | Backend:
    call, pod = request.call, _pod(request)
    ports = [port for name, value in call.query if name == "ports" for port in value.split(",") if port]
    query = [("port", ",".join(ports))] if ports else []
    return _upgraded(request, pod, ("portForward", call.namespace, call.name), query)


def _upgraded(request: Request, pod: Object, path: tuple[str, ...], query: list[tuple[str, str]]) -> Backend:
    call = request.call
    node = pod["spec"].get("nodeName")
    if not node:
        raise errors.BadRequest(f"pod {call.name} does not have a host assigned")
    what = f'{call.subresource} of pod "{call.name}" on node "{node}"'
    host, port = kubelets.address_of(request, node, for_what=what)
    if not wants_upgrade(call):
        raise errors.BadRequest("Upgrade request required")
    return Backend(
        host=host,
        port=port,
        security=Security.KUBELET,
        trouble=Trouble.STREAM,
        method=call.method,
        target=_target(path, query),
        headers=tuple(passed_on(call)),
    )


def _pod(request: Request) -> Object:
    return request.store.get(request.call.namespace, request.call.name).object


def _target(path: tuple[str, ...], query: list[tuple[str, str]]) -> str:
    escaped = "/".join(quote(part, safe="") for part in path)
    return f"/{escaped}" + (f"?{urlencode(query)}" if query else "")


def _flag(call: Call, name: str) -> bool:
    """Upstream's rule for booleans in a query: there, and neither `false` nor `0`."""
    value = next((value for key, value in call.query if key == name), "false")
    return value.lower() not in ("false", "0")


def _log_query(call: Call) -> list[tuple[str, str]]:
    """The options that the kubelet understands, checked."""
    wrong: v.Errors = []
    query = [(name, "true") for name in _LOG_FLAGS if _flag(call, name)]
    for name, (least, problem) in _LOG_NUMBERS.items():
        text = requests.query(call, name)
        if not text:
            continue
        try:
            number = int(text)
        except ValueError:
            raise errors.BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
        if number < least:
            wrong.append(v.invalid_value(name, number, problem))
        query.append((name, str(number)))
    since = requests.query(call, "sinceTime")
    if since:
        query.append(("sinceTime", since))
        if requests.query(call, "sinceSeconds"):
            wrong.append(v.forbidden("", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
    stream = requests.query(call, "stream")
    if stream and stream not in _LOG_STREAMS:
        wrong.append(v.unsupported("stream", stream, _LOG_STREAMS))
    elif stream and stream != "All":
        query.append(("stream", stream))
        if requests.query(call, "tailLines"):
            wrong.append(v.forbidden("", "`tailLines` and specific `stream` are mutually exclusive for now"))
    if wrong:
        raise v.to_status("PodLogOptions", "", call.name, wrong)
    return query


def _container(pod: Object, asked: str) -> str:
    """The container that is meant, if the pod has it."""
    spec, pod_name = pod["spec"], pod["metadata"]["name"]
    regular = [container["name"] for container in spec.get("containers") or ()]
    names = [
        *(container["name"] for container in spec.get("initContainers") or ()),
        *regular,
        *(container["name"] for container in spec.get("ephemeralContainers") or ()),
    ]
    if asked:
        if asked not in names:
            raise errors.BadRequest(f"container {asked} is not valid for pod {pod_name}")
        return asked
    if len(regular) != 1:
        listed = " ".join(names)
        raise errors.BadRequest(f"a container name must be specified for pod {pod_name}, choose one of: [{listed}]")
    return str(regular[0])
