"""The controllers there are, in the order in which they start."""

from __future__ import annotations

from dataclasses import dataclass

from kubecore.controllers.base import Controller
from kubecore.controllers.cluster_role_aggregation import ClusterRoleAggregation
from kubecore.controllers.deployment import Deployment
from kubecore.controllers.endpoints import Endpoints
from kubecore.controllers.endpointslice import EndpointSlices
from kubecore.controllers.endpointslice_mirroring import EndpointSliceMirroring
from kubecore.controllers.garbage_collector import GarbageCollector
from kubecore.controllers.namespace import Namespaces
from kubecore.controllers.node_ipam import NodeIpam
from kubecore.controllers.node_lifecycle import NodeLifecycle
from kubecore.controllers.pod_garbage_collector import PodGarbageCollector
from kubecore.controllers.replication import ReplicaSet, ReplicationController
from kubecore.controllers.resource_quota import ResourceQuotas
from kubecore.controllers.root_ca import RootCaPublisher
from kubecore.controllers.service import Services
from kubecore.controllers.service_account import ServiceAccounts
from kubecore.controllers.taint_eviction import TaintEviction
from kubecore.controllers.token import Tokens


@dataclass(frozen=True, slots=True)
class Entry:
    """`aliases`: names that older command lines use."""

    controller: type[Controller]
    aliases: tuple[str, ...] = ()
    on_by_default: bool = True


CONTROLLERS = (
    Entry(Tokens, ("serviceaccount-token",)),
    Entry(ServiceAccounts, ("serviceaccount",)),
    Entry(RootCaPublisher, ("root-ca-cert-publisher",)),
    Entry(Namespaces, ("namespace",)),
    Entry(ResourceQuotas, ("resourcequota",)),
    Entry(Endpoints, ("endpoint",)),
    Entry(EndpointSlices, ("endpointslice",)),
    Entry(EndpointSliceMirroring, ("endpointslicemirroring",)),
    Entry(ReplicationController, ("replicationcontroller",)),
    Entry(Deployment, ("deployment",)),
    Entry(ReplicaSet, ("replicaset",)),
    Entry(NodeIpam, ("nodeipam",)),
    Entry(NodeLifecycle, ("nodelifecycle",)),
    Entry(TaintEviction),
    Entry(PodGarbageCollector, ("podgc",)),
    Entry(Services, ("service",)),
    Entry(ClusterRoleAggregation, ("clusterrole-aggregation",)),
    Entry(GarbageCollector, ("garbagecollector",)),
)
