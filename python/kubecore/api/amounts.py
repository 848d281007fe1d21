"""ResourceLists and what is done with them: `{"cpu": "500m", "memory": "1Gi"}` added, compared, and a pod's summed up.

Amounts stay texts in upstream's canonical form, so that what a person reads is what was counted. A sum keeps the
notation of its first operand that is not zero, as upstream's does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubecore.api import quantity
from kubecore.api.meta import Object

Amounts = dict[str, str]
_POD_LEVEL = ("cpu", "memory")


def canonical(amounts: Mapping[str, Any]) -> Amounts:
    return {name: quantity.canonical(str(amount)) for name, amount in amounts.items()}


def _is_binary(text: str) -> bool:
    return text.endswith("i")


def sum_of(first: str, second: str) -> str:
    total = quantity.of(first) + quantity.of(second)
    notation = second if quantity.of(first) == 0 else first
    return quantity.text_of(total, binary=_is_binary(notation))


def add(first: Mapping[str, str], second: Mapping[str, str]) -> Amounts:
    total = dict(first)
    for name, amount in second.items():
        total[name] = sum_of(total[name], amount) if name in total else amount
    return total


def maximum(first: Mapping[str, str], second: Mapping[str, str]) -> Amounts:
    largest = dict(first)
    for name, amount in second.items():
        if name not in largest or quantity.of(amount) > quantity.of(largest[name]):
            largest[name] = amount
    return largest


def exceeding(amounts: Mapping[str, str], limits: Mapping[str, str]) -> list[str]:
    """Names whose amount is above its limit, sorted."""
    return sorted(
        name for name, amount in amounts.items() if name in limits and quantity.of(amount) > quantity.of(limits[name])
    )


def shown(amounts: Mapping[str, str], names: Iterable[str]) -> str:
    """`cpu=1,pods=2`: as upstream prints them."""
    return ",".join(f"{name}={amounts.get(name, '0')}" for name in sorted(names))


def pod_amounts(pod: Object, kind: str) -> Amounts:
    """What a pod asks for in all. kind: `requests` or `limits`.

    Containers run together and are summed; init containers run before them one by one, beside the restartable ones that
    started earlier, so the highest moment counts; what the pod says as a whole goes before; overhead comes on top.
    Source: https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resource-sharing-within-containers
    """
    spec = pod["spec"]
    total: Amounts = {}
    for container in spec.get("containers") or ():
        total = add(total, _of(container, kind))
    sidecars: Amounts = {}
    highest: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = _of(container, kind)
        if container.get("restartPolicy") == "Always":
            total, sidecars = add(total, own), add(sidecars, own)
            highest = maximum(highest, sidecars)
        else:
            highest = maximum(highest, add(own, sidecars))
    total = maximum(total, highest)
    for name, amount in _of(spec, kind).items():
        if name in _POD_LEVEL or name.startswith("hugepages-"):
            total[name] = amount
    overhead = canonical(spec.get("overhead") or {})
    if kind == "limits":
        overhead = {name: amount for name, amount in overhead.items() if name in total}
    return add(total, overhead)


def _of(holder: Mapping[str, Any], kind: str) -> Amounts:
    return canonical((holder.get("resources") or {}).get(kind) or {})
