"""One strategy per resource that needs one; the rest is the base with what `kinds` says."""

from __future__ import annotations

from collections.abc import Callable

from kubecore.api.scheme import Resource
from kubecore.apiserver.registry import kinds
from kubecore.apiserver.registry.environment import Environment
from kubecore.apiserver.registry.strategies import (
    config,
    coordination,
    endpoints,
    plain,
    quotas,
    rbac,
    service_networks,
    stored,
    workloads,
)
from kubecore.apiserver.registry.strategies.namespaces import NamespaceStrategy
from kubecore.apiserver.registry.strategies.nodes import NodeStrategy
from kubecore.apiserver.registry.strategies.pods import PodStrategy
from kubecore.apiserver.registry.strategies.services import ServiceStrategy
from kubecore.apiserver.registry.strategy import Strategy

STRATEGIES: dict[tuple[str, str], Callable[[Resource, Environment], Strategy]] = {
    ("", "namespaces"): NamespaceStrategy,
    ("", "nodes"): NodeStrategy,
    ("", "pods"): PodStrategy,
    ("", "services"): ServiceStrategy,
    **config.STRATEGIES,
    **coordination.STRATEGIES,
    **endpoints.STRATEGIES,
    **plain.STRATEGIES,
    **quotas.STRATEGIES,
    **rbac.STRATEGIES,
    **service_networks.STRATEGIES,
    **stored.STRATEGIES,
    **workloads.STRATEGIES,
}


def make(resource: Resource, environment: Environment) -> Strategy:
    row = (resource.group, resource.plural)
    strategy = STRATEGIES.get(row, Strategy)(resource, environment)
    strategy.allows_unconditional_update = row not in kinds.REQUIRES_RESOURCE_VERSION
    strategy.allows_create_on_update = row in kinds.CREATES_ON_UPDATE
    return strategy
