"""What upstream accepts in a pod and advises against: the texts of `Warning:` headers, for pods and templates alike."""

from __future__ import annotations

from typing import Any

from kubecore.api import validation as v

_OLD_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}


def of_name(name: str) -> list[str]:
    """Of a pod's name, which becomes its host name."""
    problems = v.is_dns1123_label(name)
    if not problems:
        return []
    return [
        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
        f"a DNS label is recommended: [{' '.join(problems)}]"
    ]


def of_spec(spec: dict[str, Any], at: str) -> list[str]:
    selector: dict[str, str] = spec.get("nodeSelector") or {}
    found = [f"{at}.nodeSelector[{key}]: {_OLD_LABELS[key]}" for key in selector if key in _OLD_LABELS]
    for part in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(part) or ()):
            path = f"{at}.{part}[{index}]"
            env, ports = container.get("env") or [], container.get("ports") or []
            if len(env) > 1:
                found += _hidden_variables(env, path)
            if len(ports) > 1:
                found += _repeated_ports(ports, path)
    return found


def _hidden_variables(env: list[dict[str, Any]], at: str) -> list[str]:
    found: list[str] = []
    known: dict[str, str] = {}
    for index, variable in enumerate(env):
        name, value = variable.get("name", ""), variable.get("value", "")
        # One that refers to the earlier one of its name is meant.
        if name in known and f"$({name})" not in value:
            found.append(
                f'{at}.env[{index}]: hides previous definition of "{name}", which may be dropped when using apply'
            )
        known.setdefault(name, value)
    return found


def _repeated_ports(ports: list[dict[str, Any]], at: str) -> list[str]:
    found: list[str] = []
    numbers: dict[tuple[Any, ...], int] = {}
    names: dict[str, int] = {}
    for index, port in enumerate(ports):
        number = tuple(port.get(key) for key in ("containerPort", "protocol", "hostIP", "hostPort"))
        if number in numbers:
            found.append(f"{at}.ports[{index}]: duplicate port definition with {at}.ports[{numbers[number]}]")
        numbers.setdefault(number, index)
        name = port.get("name")
        if name and name in names:
            first = f"{at}.ports[{names[name]}]"
            found.append(
                f'{at}.ports[{index}]: duplicate port name "{name}" with {first}, '
                f"services and probes that select ports by name will use {first}"
            )
        if name:
            names.setdefault(name, index)
    return found
