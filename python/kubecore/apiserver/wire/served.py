"""Which API versions this server serves: those upstream serves by default, changed by `--runtime-config`.

Keys of a runtime config, the more exact one wins: `group/version/resource`, `group/version` (`v1` for the core group),
`api/ga`, `api/beta`, `api/alpha`, `api/all`.
Source: https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/ (--runtime-config)
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from kubecore.api import scheme
from kubecore.api.scheme import Resource
from kubecore.apiserver.wire.response import encode_json

GROUP_ORDER = (
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "storagemigration.k8s.io",
    "metrics.k8s.io",
)
"""Upstream's priorities: clients resolve a short name by the first group that has it."""

DEPRECATED = {
    ("", "v1", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
"""(group, version, plural) → what every answer warns of, in upstream's words."""

_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_MATURITY = {None: 2, "beta": 1, "alpha": 0}
_STAGE = {None: "ga", "beta": "beta", "alpha": "alpha"}


def parse_runtime_config(text: str) -> dict[str, bool]:
    """`api/beta=true,batch/v1=false`; a key alone means true. Raises ValueError."""
    config: dict[str, bool] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = pair.partition("=")
        if value.lower() not in ("", "true", "false"):
            raise ValueError(f"--runtime-config {pair}: {value!r} is neither true nor false")
        config[key] = value.lower() != "false"
    return config


def version_rank(version: str) -> tuple[int, int, int]:
    """Orders versions as upstream does: v2, v1, v1beta2, v1beta1, v1alpha1. The greatest is preferred."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return (-1, 0, 0)
    return (_MATURITY[match[2]], int(match[1]), int(match[3] or 0))


class ServedResources:
    """The resources of the fact table that this server answers."""

    def __init__(self, runtime_config: Mapping[str, bool] | None = None, *, provided: Sequence[Resource] = ()) -> None:
        """provided: what is answered without being stored, beside the fact table's resources."""
        config = runtime_config or {}
        self.stored: tuple[Resource, ...] = tuple(r for r in scheme.resources() if _is_served(r, config))
        self.all = (*self.stored, *(r for r in provided if _is_served(r, config)))
        self._keys = {(r.group, r.version, r.plural) for r in self.all}

    def __contains__(self, key: tuple[str, str, str]) -> bool:
        """(group, version, plural)"""
        return key in self._keys

    def groups(self) -> list[str]:
        """In upstream's order, the core group's "" first."""
        order = {group: place for place, group in enumerate(GROUP_ORDER)}
        found = list(dict.fromkeys(r.group for r in self.all))
        return sorted(found, key=lambda group: order.get(group, len(order)))

    def versions(self, group: str) -> list[str]:
        """The preferred one first."""
        found = dict.fromkeys(r.version for r in self.all if r.group == group)
        return sorted(found, key=version_rank, reverse=True)

    def of(self, group: str, version: str) -> Sequence[Resource]:
        return sorted((r for r in self.all if (r.group, r.version) == (group, version)), key=lambda r: r.plural)

    def to_json(self) -> bytes:
        """For `Door.serve_resources`: what the wire reads by itself. What nobody can create is not stored either, such as
        component statuses: Python makes those up."""
        rows = [dataclasses.asdict(r) for r in self.stored if "create" in r.verbs]
        for row in rows:
            row["warning"] = DEPRECATED.get((row["group"], row["version"], row["plural"]), "")
        return encode_json(rows)


def _is_served(resource: Resource, config: Mapping[str, bool]) -> bool:
    version = resource.api_version
    match = _VERSION.fullmatch(resource.version)
    stage = f"api/{_STAGE[match[2]]}" if match else "api/ga"
    for key in (f"{version}/{resource.plural}", version, stage, "api/all"):
        if key in config:
            return config[key]
    return resource.served
