"""What a pod may be told about itself: fieldRef and resourceFieldRef, for variables and downwardAPI files. Pure.

Source: https://kubernetes.io/docs/concepts/workloads/pods/downward-api/
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from kubecore.api import quantity
from kubecore.api.meta import Object
from kubecore.kubelet.resources import all_containers, amounts_of

_SUBSCRIPTED = re.compile(r"(?P<path>[^\[]+)\['(?P<key>.*)'\]")

_PLAIN = ("name", "namespace", "uid")
_MAPS = ("labels", "annotations")
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_POD_LEVEL = ("cpu", "memory")


class FieldFailure(Exception):
    """The pod has no such field. The message is upstream's."""


def quoted(text: str) -> str:
    """As Go quotes a string: what downwardAPI files of labels and annotations hold."""
    return re.sub(
        r"\\u00([0-7][0-9a-f])",
        lambda found: f"\\x{found[1]}",
        json.dumps(text, ensure_ascii=False).replace("\\b", r"\b").replace("\x7f", r"\x7f"),
    )


def map_text(values: Mapping[str, str]) -> str:
    """One `key="value"` a line, sorted."""
    return "\n".join(f"{key}={quoted(values[key])}" for key in sorted(values))


def field_value(pod: Object, path: str) -> str:
    """A field of the pod's metadata. Raises FieldFailure."""
    metadata = pod["metadata"]
    subscripted = _SUBSCRIPTED.fullmatch(path)
    if subscripted:
        holder, key = subscripted["path"], subscripted["key"]
        if holder not in {f"metadata.{name}" for name in _MAPS}:
            raise FieldFailure(f'fieldPath "{path}" does not support subscript')
        return str((metadata.get(holder.removeprefix("metadata.")) or {}).get(key, ""))
    name = path.removeprefix("metadata.")
    if path.startswith("metadata.") and name in _PLAIN:
        return str(metadata.get(name, ""))
    if path.startswith("metadata.") and name in _MAPS:
        return map_text(metadata.get(name) or {})
    raise FieldFailure(f"unsupported fieldPath: {path}")


def resource_value(
    pod: Object,
    selector: Mapping[str, Any],
    container: Mapping[str, Any] | None,
    allocatable: Mapping[str, Any],
) -> str:
    """A request or limit in units of the divisor, rounded up. What has no limit may use what its pod may, or else the node.

    `container`: the one that asks; the selector may name another. Raises FieldFailure."""
    name = selector.get("containerName")
    if name:
        container = next((each for each in all_containers(pod) if each["name"] == name), None)
    if container is None:
        raise FieldFailure(f"container {name} not found")
    kind, _, resource = selector["resource"].partition(".")
    if kind not in ("limits", "requests") or not (resource in _COMPUTE or resource.startswith("hugepages-")):
        raise FieldFailure(f"unsupported container resource : {selector['resource']}")
    amount = quantity.of(amounts_of(container, kind).get(resource, 0))
    if kind == "limits" and amount == 0 and resource in _COMPUTE:
        amount = _default_limit(pod, resource, allocatable)
    divisor = quantity.of(selector.get("divisor") or 0) or Decimal(1)
    if resource != "cpu":
        # Other amounts are whole before they are divided, as upstream's.
        amount, divisor = (each.to_integral_value(rounding=ROUND_CEILING) for each in (amount, divisor))
    else:
        amount, divisor = ((each * 1000).to_integral_value(rounding=ROUND_CEILING) for each in (amount, divisor))
    return str((amount / divisor).to_integral_value(rounding=ROUND_CEILING))


def _default_limit(pod: Object, resource: str, allocatable: Mapping[str, Any]) -> Decimal:
    of_node = quantity.of(allocatable.get(resource, 0))
    if resource not in _POD_LEVEL or resource not in allocatable:
        return of_node
    return quantity.of(amounts_of(pod["spec"], "limits").get(resource, 0)) or of_node
