"""A container's environment: service variables, envFrom, env with its sources, `$(VAR)` expanded.

In: pod and container, the services, config maps and secrets that are known, the node's facts. Out: (name, value) pairs,
or ConfigurationFailure in upstream's words. Later names win: envFrom, then env; service variables fill in what is left.
Source: https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kubecore.api import errors
from kubecore.api.meta import Object, name_of, namespace_of
from kubecore.kubelet import environment_file
from kubecore.kubelet.fields import FieldFailure, field_value, resource_value
from kubecore.kubelet.resources import is_static
from kubecore.kubelet.seams import ConfigurationFailure

ALWAYS_TOLD = ("default", "kubernetes")
"""The service that every pod hears of, whatever enableServiceLinks says."""

Pairs = list[tuple[str, str]]
ReadFile = Callable[[str, str], str]
"""(volume, path in it) → text, without leaving the volume."""


class ObjectReader(Protocol):
    """Config maps or secrets by name."""

    async def get(self, namespace: str, name: str) -> Object:
        """Raises errors.NotFound, ObjectsUnavailable."""
        ...


class ObjectsUnavailable(Exception):
    """The API server has not answered yet."""


class Services(Protocol):
    @property
    def has_synced(self) -> bool: ...
    def list(self) -> Iterable[Object]: ...


@dataclass(frozen=True, slots=True)
class Around:
    """What surrounds a container: addresses, the node, the volumes' files."""

    pod_ips: Sequence[str] = ()
    host_ips: Sequence[str] = ()
    allocatable: Mapping[str, Any] | None = None
    """None: the node is not known yet."""
    read_file: ReadFile | None = None


class Environment:
    """Makes environments. `services` None: a kubelet without an API server tells of none."""

    def __init__(self, *, config_maps: ObjectReader, secrets: ObjectReader, services: Services | None) -> None:
        self._config_maps = config_maps
        self._secrets = secrets
        self._services = services

    async def of(self, pod: Object, container: Mapping[str, Any], around: Around) -> Pairs:
        """Raises ConfigurationFailure."""
        of_services = self._service_variables(pod)
        variables: dict[str, str] = {}
        for source in container.get("envFrom") or ():
            await self._add_all(variables, pod, source)
        for variable in container.get("env") or ():
            value: str | None = variable.get("value") or ""
            if value:
                value = expand(value, variables, of_services)
            elif variable.get("valueFrom"):
                value = await self._from_source(pod, container, variable["valueFrom"], around)
            if value is not None:
                variables[variable["name"]] = _checked(variable["name"], value)
        return [*variables.items(), *((name, text) for name, text in of_services.items() if name not in variables)]

    def _service_variables(self, pod: Object) -> dict[str, str]:
        if self._services is None:
            return {}
        if not self._services.has_synced and not is_static(pod):
            raise ConfigurationFailure("services have not yet been read at least once, cannot construct envvars")
        links = pod["spec"].get("enableServiceLinks", True)
        return service_variables(self._services.list(), namespace_of(pod), enable_service_links=links)

    async def _add_all(self, variables: dict[str, str], pod: Object, source: Mapping[str, Any]) -> None:
        for kind, read in _SOURCES.items():
            reference = source.get(f"{kind}Ref")
            if reference:
                found = await self._object(kind, namespace_of(pod), reference)
                if found is not None:
                    prefix = source.get("prefix", "")
                    variables.update({prefix + key: _checked(prefix + key, text) for key, text in read(found).items()})

    async def _object(self, kind: str, namespace: str, reference: Mapping[str, Any]) -> Object | None:
        """None if it is not there and need not be."""
        reader = self._config_maps if kind == "configMap" else self._secrets
        try:
            return await reader.get(namespace, reference.get("name", ""))
        except errors.NotFound as missing:
            if reference.get("optional"):
                return None
            raise ConfigurationFailure(str(missing)) from missing
        except (ObjectsUnavailable, errors.StatusError) as failure:
            raise ConfigurationFailure(str(failure)) from failure

    async def _from_source(
        self, pod: Object, container: Mapping[str, Any], source: Mapping[str, Any], around: Around
    ) -> str | None:
        """None: the variable is not set."""
        if source.get("fieldRef"):
            return _field(pod, source["fieldRef"], around)
        if source.get("resourceFieldRef"):
            if around.allocatable is None:
                raise ConfigurationFailure("failed to find node object, expected a node")
            try:
                return resource_value(pod, source["resourceFieldRef"], container, around.allocatable)
            except FieldFailure as failure:
                raise ConfigurationFailure(str(failure)) from failure
        for kind, read in _SOURCES.items():
            if source.get(f"{kind}KeyRef"):
                return await self._key(kind, read, namespace_of(pod), source[f"{kind}KeyRef"])
        if source.get("fileKeyRef"):
            return _file_key(source["fileKeyRef"], around)
        return ""

    async def _key(
        self, kind: str, read: Callable[[Object], dict[str, str]], namespace: str, reference: Mapping[str, Any]
    ) -> str | None:
        found = await self._object(kind, namespace, reference)
        if found is None:
            return None
        values, key = read(found), reference["key"]
        if key not in values and not reference.get("optional"):
            kind_name = kind[0].upper() + kind[1:]
            raise ConfigurationFailure(f"couldn't find key {key} in {kind_name} {namespace}/{reference['name']}")
        return values.get(key)


# ── sources ──


def _config_map_values(config_map: Object) -> dict[str, str]:
    return config_map.get("data") or {}


def _secret_values(secret: Object) -> dict[str, str]:
    values: dict[str, str] = {}
    for key, text in (secret.get("data") or {}).items():
        # What is no text is let through only where nobody uses it: a runtime is told texts.
        values[key] = base64.b64decode(text).decode("utf-8", "surrogateescape")
    return values


def _checked(name: str, value: str) -> str:
    if any("\udc80" <= character <= "\udcff" for character in value):
        raise ConfigurationFailure(f"the value of variable {name} contains invalid UTF-8")
    return value


_SOURCES: dict[str, Callable[[Object], dict[str, str]]] = {
    "configMap": _config_map_values,
    "secret": _secret_values,
}


def _field(pod: Object, reference: Mapping[str, Any], around: Around) -> str:
    path = reference["fieldPath"]
    if path.startswith("status.hostIP") and not around.host_ips:
        raise ConfigurationFailure("failed to get host IPs: the node has no address yet")
    special: dict[str, Callable[[], str]] = {
        "spec.nodeName": lambda: pod["spec"].get("nodeName", ""),
        "spec.host": lambda: pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": lambda: pod["spec"].get("serviceAccountName", ""),
        "status.hostIP": lambda: around.host_ips[0],
        "status.hostIPs": lambda: ",".join(around.host_ips),
        "status.podIP": lambda: next(iter(around.pod_ips), ""),
        "status.podIPs": lambda: ",".join(around.pod_ips),
    }
    if path in special:
        return special[path]()
    try:
        return field_value(pod, path)
    except FieldFailure as failure:
        raise ConfigurationFailure(str(failure)) from failure


def _file_key(reference: Mapping[str, Any], around: Around) -> str | None:
    volume, path, key = reference["volumeName"], reference["path"], reference["key"]
    if around.read_file is None:
        raise ConfigurationFailure(f'cannot find the volume "{volume}" referenced by FileKeyRef')
    try:
        value = environment_file.value(around.read_file(volume, path), key)
    except (OSError, ValueError) as failure:
        if isinstance(failure, FileNotFoundError) and reference.get("optional"):
            return None
        raise ConfigurationFailure("couldn't parse env file") from failure
    if not value:
        if reference.get("optional"):
            return None
        raise ConfigurationFailure(f'environment variable key "{key}" not found in file "{path}"')
    return value


# ── expansion ──


def expand(text: str, *contexts: Mapping[str, str]) -> str:
    """`$(NAME)` becomes NAME's value in the first context that has it, or stays."""
    return expand_with(text, lambda name: next((each[name] for each in contexts if name in each), f"$({name})"))


def expand_with(text: str, value_of: Callable[[str], str]) -> str:
    """`$(NAME)` becomes what `value_of` gives, `$$` stands for `$`, everything else stays."""
    out: list[str] = []
    position = 0
    while True:
        dollar = text.find("$", position)
        if dollar < 0 or dollar + 1 == len(text):
            out.append(text[position:])
            return "".join(out)
        out.append(text[position:dollar])
        following = text[dollar + 1]
        end = text.find(")", dollar) if following == "(" else -1
        if following == "$":
            out.append("$")
            position = dollar + 2
        elif end >= 0:
            out.append(value_of(text[dollar + 2 : end]))
            position = end + 1
        else:
            out.append("$" + following)
            position = dollar + 2


def expand_command(
    container: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(command, args) with the container's own variables in them."""
    command, arguments = (
        tuple(expand(each, environment) for each in container.get(part) or ()) for part in ("command", "args")
    )
    return command, arguments


def expand_static(words: Iterable[str], container: Mapping[str, Any]) -> tuple[str, ...]:
    """With those variables only whose value is written in the pod: what commands of probes and hooks are given."""
    written = {
        each["name"]: each.get("value") or "" for each in container.get("env") or () if not each.get("valueFrom")
    }
    return tuple(expand(word, written) for word in words)


# ── services ──


def service_variables(services: Iterable[Object], namespace: str, *, enable_service_links: bool) -> dict[str, str]:
    """Host and port of each service with an address in the namespace, and of the API server's, in both old forms."""
    seen: dict[str, Object] = {}
    for service in services:
        if (service.get("spec") or {}).get("clusterIP", "") in ("", "None"):
            continue
        name, where = name_of(service), namespace_of(service)
        if (where, name) == ALWAYS_TOLD:
            seen.setdefault(name, service)
        elif enable_service_links and where == namespace:
            seen[name] = service
    variables: dict[str, str] = {}
    for service in seen.values():
        variables.update(_variables_of(service))
    return variables


def _variables_of(service: Object) -> dict[str, str]:
    host, ports = service["spec"]["clusterIP"], service["spec"].get("ports") or ()
    prefix = _variable_name(name_of(service))
    variables = {f"{prefix}_SERVICE_HOST": host}
    if ports:
        variables[f"{prefix}_SERVICE_PORT"] = str(ports[0]["port"])
    for port in ports:
        if port.get("name"):
            variables[f"{prefix}_SERVICE_PORT_{_variable_name(port['name'])}"] = str(port["port"])
    for index, port in enumerate(ports):
        number, protocol = str(port["port"]), port.get("protocol", "TCP")
        url = f"{protocol.lower()}://{f'[{host}]' if ':' in host else host}:{number}"
        if index == 0:
            variables[f"{prefix}_PORT"] = url
        of_port = f"{prefix}_PORT_{number}_{protocol.upper()}"
        variables[of_port] = url
        variables[f"{of_port}_PROTO"] = protocol.lower()
        variables[f"{of_port}_PORT"] = number
        variables[f"{of_port}_ADDR"] = host
    return variables


def _variable_name(text: str) -> str:
    return text.replace("-", "_").upper()
