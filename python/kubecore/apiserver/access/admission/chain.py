"""Which plugins are on, in upstream's order.

Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kubecore.apiserver.access.admission.always_pull_images import AlwaysPullImages
from kubecore.apiserver.access.admission.default_toleration_seconds import (
    TOLERATION_SECONDS,
    DefaultTolerationSeconds,
)
from kubecore.apiserver.access.admission.limit_ranger import LimitRanger
from kubecore.apiserver.access.admission.namespace_lifecycle import NamespaceLifecycle
from kubecore.apiserver.access.admission.priority import Priority
from kubecore.apiserver.access.admission.resource_quota import ResourceQuota
from kubecore.apiserver.access.admission.runtime_class import RuntimeClass
from kubecore.apiserver.access.admission.service_account import ServiceAccount
from kubecore.apiserver.access.admission.taint_nodes_by_condition import TaintNodesByCondition
from kubecore.apiserver.registry.admission import AdmissionChain, Plugin


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """What plugins are made from: chance, and upstream's flags for single plugins."""

    randomness: random.Random
    not_ready_toleration_seconds: int = TOLERATION_SECONDS
    unreachable_toleration_seconds: int = TOLERATION_SECONDS


def _default_toleration_seconds(options: PluginOptions) -> Plugin:
    return DefaultTolerationSeconds(
        not_ready_seconds=options.not_ready_toleration_seconds,
        unreachable_seconds=options.unreachable_toleration_seconds,
    )


_MAKERS: tuple[tuple[str, bool, Callable[[PluginOptions], Plugin]], ...] = (
    ("NamespaceLifecycle", True, lambda _: NamespaceLifecycle()),
    ("LimitRanger", True, lambda _: LimitRanger()),
    ("ServiceAccount", True, lambda options: ServiceAccount(options.randomness)),
    ("TaintNodesByCondition", True, lambda _: TaintNodesByCondition()),
    ("AlwaysPullImages", False, lambda _: AlwaysPullImages()),
    ("Priority", True, lambda _: Priority()),
    ("DefaultTolerationSeconds", True, _default_toleration_seconds),
    ("RuntimeClass", True, lambda _: RuntimeClass()),
    ("ResourceQuota", True, lambda _: ResourceQuota()),
)
"""(name, on by default, how it is made), in the order in which they run."""

NOT_YET = frozenset(
    {
        "AlwaysAdmit",
        "AlwaysDeny",
        "CertificateApproval",
        "CertificateSigning",
        "CertificateSubjectRestriction",
        "ClusterTrustBundleAttest",
        "DefaultIngressClass",
        "DefaultStorageClass",
        "DenyServiceExternalIPs",
        "EventRateLimit",
        "ExtendedResourceToleration",
        "ImagePolicyWebhook",
        "LimitPodHardAntiAffinityTopology",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionWebhook",
        "NamespaceAutoProvision",
        "NamespaceExists",
        "NodeDeclaredFeatureValidator",
        "NodeRestriction",
        "OwnerReferencesPermissionEnforcement",
        "PersistentVolumeClaimResize",
        "PodNodeSelector",
        "PodSecurity",
        "PodTolerationRestriction",
        "PodTopologyLabels",
        "StorageObjectInUseProtection",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionWebhook",
    }
)
"""Upstream's plugins that are not here: disabling one is granted, enabling one is refused."""


def plugin_names() -> tuple[str, ...]:
    """All that can be enabled, in order."""
    return tuple(name for name, _, _ in _MAKERS)


def build_chain(enable: Sequence[str], disable: Sequence[str], options: PluginOptions) -> AdmissionChain:
    """--enable-admission-plugins, --disable-admission-plugins. Raises ValueError with upstream's text on a name that is
    unknown."""
    known = set(plugin_names())
    for flag, names in (("enable", enable), ("disable", disable)):
        for name in names:
            if name not in known | NOT_YET:
                raise ValueError(f'{flag}-admission-plugins plugin "{name}" is unknown')
    if both := sorted(set(enable) & set(disable)):
        raise ValueError(f"[{' '.join(both)}] in enable-admission-plugins and disable-admission-plugins overlapped")
    if missing := [name for name in enable if name in NOT_YET]:
        raise ValueError(f'enable-admission-plugins plugin "{missing[0]}" is not implemented yet')
    return AdmissionChain(
        [make(options) for name, default, make in _MAKERS if (default or name in enable) and name not in disable]
    )
