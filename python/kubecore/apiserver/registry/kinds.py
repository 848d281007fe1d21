"""What differs from resource to resource and fits in a table: (group, plural) → value.

Sources: the strategies under pkg/registry of Kubernetes 1.35, as behaviour.
"""

from __future__ import annotations

from typing import Any

Row = tuple[str, str]

COUNTS_GENERATIONS: frozenset[Row] = frozenset(
    {
        ("", "pods"),
        ("", "replicationcontrollers"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "statefulsets"),
        ("apps", "daemonsets"),
        ("batch", "jobs"),
        ("batch", "cronjobs"),
        ("networking.k8s.io", "ingresses"),
        ("networking.k8s.io", "ingressclasses"),
        ("networking.k8s.io", "networkpolicies"),
        ("policy", "poddisruptionbudgets"),
        ("discovery.k8s.io", "endpointslices"),
        ("scheduling.k8s.io", "priorityclasses"),
        ("flowcontrol.apiserver.k8s.io", "flowschemas"),
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"),
    }
)
"""`metadata.generation` counts changes of anything but metadata and status."""

DEFAULT_PROPAGATION: dict[Row, str] = {
    ("", "replicationcontrollers"): "Orphan",
    ("batch", "jobs"): "Orphan",
    ("", "events"): "Unsupported",
    ("events.k8s.io", "events"): "Unsupported",
}
"""propagationPolicy when the client names none; all others: Background. Unsupported: no finalizer is ever set."""

RETURNS_DELETED: frozenset[Row] = frozenset(
    {
        ("", "pods"),
        ("", "services"),
        ("", "serviceaccounts"),
        ("", "podtemplates"),
        ("", "persistentvolumes"),
        ("", "persistentvolumeclaims"),
        ("", "resourcequotas"),
        ("storage.k8s.io", "storageclasses"),
        ("storage.k8s.io", "csidrivers"),
        ("storage.k8s.io", "csinodes"),
        ("storage.k8s.io", "volumeattachments"),
    }
)
"""A DELETE answers with the object; all others with a Status."""

EMPTY_STATUS: dict[Row, dict[str, Any]] = {
    ("", "services"): {"loadBalancer": {}},
    ("", "replicationcontrollers"): {"replicas": 0},
    ("", "namespaces"): {"phase": "Active"},
    ("", "persistentvolumes"): {"phase": "Pending"},
    ("", "persistentvolumeclaims"): {"phase": "Pending"},
    ("apps", "replicasets"): {"replicas": 0},
    ("apps", "statefulsets"): {"availableReplicas": 0, "replicas": 0},
    ("apps", "daemonsets"): {
        "currentNumberScheduled": 0,
        "desiredNumberScheduled": 0,
        "numberMisscheduled": 0,
        "numberReady": 0,
    },
    ("autoscaling", "horizontalpodautoscalers"): {"currentMetrics": None, "desiredReplicas": 0},
    ("networking.k8s.io", "ingresses"): {"loadBalancer": {}},
    ("policy", "poddisruptionbudgets"): {
        "currentHealthy": 0,
        "desiredHealthy": 0,
        "disruptionsAllowed": 0,
        "expectedPods": 0,
    },
}
"""The status of a new object of a resource with /status; all others: {}."""

REQUIRES_RESOURCE_VERSION: frozenset[Row] = frozenset(
    {
        ("coordination.k8s.io", "leases"),
        ("policy", "poddisruptionbudgets"),
        ("apiregistration.k8s.io", "apiservices"),
        ("apiextensions.k8s.io", "customresourcedefinitions"),
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
        ("storage.k8s.io", "csinodes"),
        ("storage.k8s.io", "csidrivers"),
        ("storage.k8s.io", "csistoragecapacities"),
    }
)
"""A PUT without resourceVersion is refused."""

CREATES_ON_UPDATE: frozenset[Row] = frozenset(
    {
        ("", "endpoints"),
        ("", "limitranges"),
        ("", "events"),
        ("events.k8s.io", "events"),
        ("coordination.k8s.io", "leases"),
        ("rbac.authorization.k8s.io", "roles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
        ("rbac.authorization.k8s.io", "clusterroles"),
        ("rbac.authorization.k8s.io", "clusterrolebindings"),
    }
)
"""A PUT to a name that is not there creates it."""

TTL_SECONDS: dict[Row, int] = {("", "events"): 3600}
"""How long an object lives after its last write; all others: for ever."""

NOT_ACTED_ON: dict[Row, str] = {
    ("batch", "jobs"): "no job controller runs yet: the Job is stored and no pod is started for it",
    ("batch", "cronjobs"): "no cron job controller runs yet: the CronJob is stored and no job is started for it",
    (
        "apps",
        "statefulsets",
    ): "no stateful set controller runs yet: the StatefulSet is stored and no pod is started for it",
    ("apps", "daemonsets"): "no daemon set controller runs yet: the DaemonSet is stored and no pod is started for it",
    (
        "autoscaling",
        "horizontalpodautoscalers",
    ): "no autoscaler runs yet: the HorizontalPodAutoscaler is stored and nothing is scaled by it",
    ("networking.k8s.io", "networkpolicies"): "network policies are not enforced yet: the NetworkPolicy is only stored",
    ("networking.k8s.io", "servicecidrs"): (
        "only the networks of --service-cidr are used yet: the ServiceCIDR is only stored"
    ),
    ("networking.k8s.io", "ipaddresses"): (
        "Services' addresses are not kept as IPAddresses yet: the IPAddress is only stored"
    ),
    ("networking.k8s.io", "ingresses"): "no ingress controller runs: the Ingress is only stored",
    ("policy", "poddisruptionbudgets"): (
        "no disruption controller runs yet: the PodDisruptionBudget's status is not kept up, so it refuses every eviction"
    ),
    ("", "persistentvolumeclaims"): "no volume controller runs yet: the PersistentVolumeClaim stays Pending",
    ("", "persistentvolumes"): "no volume controller runs yet: the PersistentVolume is only stored",
    ("certificates.k8s.io", "certificatesigningrequests"): (
        "no signer runs yet: the CertificateSigningRequest is stored and no certificate is issued"
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "flowschemas",
    ): "priority and fairness is not enforced yet: the FlowSchema is only stored",
    (
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
    ): "priority and fairness is not enforced yet: the PriorityLevelConfiguration is only stored",
    (
        "resource.k8s.io",
        "resourceclaims",
    ): "dynamic resource allocation is not done yet: the ResourceClaim is only stored",
}
"""Stored but without effect: the text of the `Warning:` that every create and update answers with."""

REFUSED: dict[Row, str] = {
    ("admissionregistration.k8s.io", plural): f"{what} are not supported yet"
    for plural, what in {
        "mutatingwebhookconfigurations": "admission webhooks",
        "validatingwebhookconfigurations": "admission webhooks",
        "validatingadmissionpolicies": "admission policies",
        "validatingadmissionpolicybindings": "admission policies",
        "mutatingadmissionpolicies": "admission policies",
        "mutatingadmissionpolicybindings": "admission policies",
    }.items()
} | {
    ("apiregistration.k8s.io", "apiservices"): "API aggregation is not supported yet",
    ("apiextensions.k8s.io", "customresourcedefinitions"): "custom resources are not supported yet",
}
"""Would change what the server does, and can not yet: every mutation is refused with this reason."""
