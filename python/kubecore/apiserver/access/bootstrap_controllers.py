"""Upstream's default RBAC policy for 1.35 as data, second half: the role of each controller, and the namespaced roles.

Each `system:controller:NAME` role is bound to the service account NAME in kube-system: who the controllers act as.
"""

from __future__ import annotations

from kubecore.apiserver.access.bootstrap_policy import EVENTS, READ, BindingRow, RoleRow, Rule

_APPS = "apps extensions"
_POD_OWNER = "create delete list patch watch"
_ALL = f"create delete {READ} patch update"
_CSR = "certificatesigningrequests"
_KUBE_SIGNERS = (
    "kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving "
    "kubernetes.io/legacy-unknown"
)

CONTROLLERS: dict[str, tuple[Rule, ...]] = {
    "attachdetach-controller": (
        Rule("list watch", "core", "persistentvolumeclaims persistentvolumes"),
        Rule(READ, "core", "nodes"),
        Rule("patch update", "core", "nodes/status"),
        Rule("list watch", "core", "pods"),
        EVENTS,
        Rule(f"create delete {READ}", "storage.k8s.io", "volumeattachments"),
        Rule(READ, "storage.k8s.io", "csidrivers"),
        Rule(READ, "storage.k8s.io", "csinodes"),
    ),
    "certificate-controller": (
        Rule(f"delete {READ}", "certificates.k8s.io", _CSR),
        Rule("update", "certificates.k8s.io", f"{_CSR}/approval {_CSR}/status"),
        Rule("approve", "certificates.k8s.io", "signers", names="kubernetes.io/kube-apiserver-client-kubelet"),
        Rule("sign", "certificates.k8s.io", "signers", names=_KUBE_SIGNERS),
        Rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        EVENTS,
    ),
    "clusterrole-aggregation-controller": (
        Rule(f"escalate {READ} patch update", "rbac.authorization.k8s.io", "clusterroles"),
    ),
    "cronjob-controller": (
        Rule(f"{READ} update", "batch", "cronjobs"),
        Rule(_ALL, "batch", "jobs"),
        Rule("update", "batch", "cronjobs/status"),
        Rule("update", "batch", "cronjobs/finalizers"),
        Rule("delete list watch", "core", "pods"),
        EVENTS,
    ),
    "daemon-set-controller": (
        Rule(READ, _APPS, "daemonsets"),
        Rule("update", _APPS, "daemonsets/status"),
        Rule("update", _APPS, "daemonsets/finalizers"),
        Rule("list watch", "core", "nodes"),
        Rule(_POD_OWNER, "core", "pods"),
        Rule("create", "core", "pods/binding"),
        Rule(_ALL, "apps", "controllerrevisions"),
        EVENTS,
    ),
    "deployment-controller": (
        Rule(f"{READ} update", _APPS, "deployments"),
        Rule("update", _APPS, "deployments/status"),
        Rule("update", _APPS, "deployments/finalizers"),
        Rule(_ALL, _APPS, "replicasets"),
        Rule(f"{READ} update", "core", "pods"),
        EVENTS,
    ),
    "disruption-controller": (
        Rule(READ, _APPS, "deployments"),
        Rule(READ, _APPS, "replicasets"),
        Rule(READ, "core", "replicationcontrollers"),
        Rule(READ, "policy", "poddisruptionbudgets"),
        Rule(READ, "apps", "statefulsets"),
        Rule("update", "policy", "poddisruptionbudgets/status"),
        Rule("patch update", "core", "pods/status"),
        Rule("get", "*", "*/scale"),
        EVENTS,
    ),
    "endpoint-controller": (
        Rule(READ, "core", "pods services"),
        Rule(f"create delete {READ} update", "core", "endpoints"),
        Rule("create", "core", "endpoints/restricted"),
        EVENTS,
    ),
    "endpointslice-controller": (
        Rule(READ, "core", "nodes pods services"),
        Rule("update", "core", "services/finalizers"),
        Rule(f"create delete {READ} update", "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ),
    "endpointslicemirroring-controller": (
        Rule(READ, "core", "endpoints services"),
        Rule("update", "core", "services/finalizers"),
        Rule("update", "core", "endpoints/finalizers"),
        Rule(f"create delete {READ} update", "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ),
    "ephemeral-volume-controller": (
        Rule(READ, "core", "pods"),
        Rule("update", "core", "pods/finalizers"),
        Rule(f"create {READ}", "core", "persistentvolumeclaims"),
        EVENTS,
    ),
    "expand-controller": (
        Rule(f"{READ} patch update", "core", "persistentvolumes"),
        Rule("patch update", "core", "persistentvolumeclaims/status"),
        Rule(READ, "core", "persistentvolumeclaims"),
        EVENTS,
        Rule("get", "core", "services"),
    ),
    "generic-garbage-collector": (Rule(f"delete {READ} patch update", "*", "*"), EVENTS),
    "horizontal-pod-autoscaler": (
        Rule(READ, "autoscaling", "horizontalpodautoscalers"),
        Rule("update", "autoscaling", "horizontalpodautoscalers/status"),
        Rule("get update", "*", "*/scale"),
        Rule("list watch", "core", "pods"),
        Rule("list watch", "metrics.k8s.io", "pods"),
        Rule(READ, "custom.metrics.k8s.io", "*"),
        Rule(READ, "external.metrics.k8s.io", "*"),
        EVENTS,
    ),
    "job-controller": (
        Rule(f"{READ} patch update", "batch", "jobs"),
        Rule("update", "batch", "jobs/status"),
        Rule("update", "batch", "jobs/finalizers"),
        Rule(_POD_OWNER, "core", "pods"),
        EVENTS,
    ),
    "legacy-service-account-token-cleaner": (
        Rule("get", "core", "configmaps", names="kube-apiserver-legacy-service-account-token-tracking"),
        Rule("delete patch", "core", "secrets"),
    ),
    "namespace-controller": (
        Rule(f"delete {READ}", "core", "namespaces"),
        Rule("update", "core", "namespaces/finalize namespaces/status"),
        Rule(f"delete deletecollection {READ}", "*", "*"),
    ),
    "node-controller": (
        Rule(f"delete {READ} patch update", "core", "nodes"),
        Rule("patch update", "core", "nodes/status"),
        Rule("patch update", "core", "pods/status"),
        Rule(f"delete {READ}", "core", "pods"),
        EVENTS,
    ),
    "persistent-volume-binder": (
        Rule(f"create delete {READ} update", "core", "persistentvolumes"),
        Rule("update", "core", "persistentvolumes/status"),
        Rule(f"{READ} update", "core", "persistentvolumeclaims"),
        Rule("update", "core", "persistentvolumeclaims/status"),
        Rule(f"create delete {READ}", "core", "pods"),
        Rule(READ, "storage.k8s.io", "storageclasses"),
        Rule("list watch", "core", "nodes"),
        EVENTS,
        Rule("watch", "core", "events"),
        Rule("get", "core", "services"),
    ),
    "pod-garbage-collector": (
        Rule("delete list watch", "core", "pods"),
        Rule(READ, "core", "nodes"),
        Rule("patch", "core", "pods/status"),
    ),
    "pv-protection-controller": (Rule(f"{READ} update", "core", "persistentvolumes"), EVENTS),
    "pvc-protection-controller": (
        Rule(f"{READ} update", "core", "persistentvolumeclaims"),
        Rule(READ, "core", "pods"),
        EVENTS,
    ),
    "replicaset-controller": (
        Rule(f"{READ} update", _APPS, "replicasets"),
        Rule("update", _APPS, "replicasets/status"),
        Rule("update", _APPS, "replicasets/finalizers"),
        Rule(_POD_OWNER, "core", "pods"),
        EVENTS,
    ),
    "replication-controller": (
        Rule(f"{READ} update", "core", "replicationcontrollers"),
        Rule("update", "core", "replicationcontrollers/status"),
        Rule("update", "core", "replicationcontrollers/finalizers"),
        Rule(_POD_OWNER, "core", "pods"),
        EVENTS,
    ),
    "resource-claim-controller": (
        Rule(READ, "core", "pods"),
        Rule("update", "core", "pods/finalizers"),
        Rule(f"create delete {READ}", "resource.k8s.io", "resourceclaims"),
        Rule("patch update", "resource.k8s.io", "resourceclaims resourceclaims/status"),
        Rule("patch update", "core", "pods/status"),
        EVENTS,
    ),
    "resourcequota-controller": (
        Rule("list watch", "*", "*"),
        Rule("update", "core", "resourcequotas/status"),
        EVENTS,
    ),
    "root-ca-cert-publisher": (Rule("create update", "core", "configmaps"), EVENTS),
    "route-controller": (Rule("list watch", "core", "nodes"), Rule("patch", "core", "nodes/status"), EVENTS),
    "selinux-warning-controller": (
        EVENTS,
        Rule(READ, "core", "persistentvolumes"),
        Rule(READ, "core", "persistentvolumeclaims"),
        Rule(READ, "core", "pods"),
        Rule(READ, "storage.k8s.io", "csidrivers"),
    ),
    "service-account-controller": (Rule("create", "core", "serviceaccounts"), EVENTS),
    "service-cidrs-controller": (
        Rule(f"{READ} patch update", "networking.k8s.io", "servicecidrs"),
        Rule("patch update", "networking.k8s.io", "servicecidrs/finalizers"),
        Rule("patch update", "networking.k8s.io", "servicecidrs/status"),
        Rule(READ, "networking.k8s.io", "ipaddresses"),
        EVENTS,
    ),
    "service-controller": (
        Rule(READ, "core", "services"),
        Rule("patch update", "core", "services/status"),
        Rule("list watch", "core", "nodes"),
        EVENTS,
    ),
    "statefulset-controller": (
        Rule("list watch", "core", "pods"),
        Rule(READ, "apps", "statefulsets"),
        Rule("update", "apps", "statefulsets/status"),
        Rule("update", "apps", "statefulsets/finalizers"),
        Rule("create delete get patch update", "core", "pods"),
        Rule(_ALL, "apps", "controllerrevisions"),
        Rule(f"create {READ}", "core", "persistentvolumeclaims"),
        Rule("delete update", "core", "persistentvolumeclaims"),
        Rule("update", "core", "pods/finalizers"),
        EVENTS,
    ),
    "ttl-after-finished-controller": (Rule(f"delete {READ}", "batch", "jobs"), EVENTS),
    "ttl-controller": (Rule("list patch update watch", "core", "nodes"), EVENTS),
    "validatingadmissionpolicy-status-controller": (
        Rule(READ, "admissionregistration.k8s.io", "validatingadmissionpolicies"),
        Rule("get patch update", "admissionregistration.k8s.io", "validatingadmissionpolicies/status"),
        EVENTS,
    ),
    "volumeattributesclass-protection-controller": (
        Rule(READ, "core", "persistentvolumeclaims"),
        Rule(READ, "core", "persistentvolumes"),
        Rule(f"{READ} update", "storage.k8s.io", "volumeattributesclasses"),
        EVENTS,
    ),
}

NAMESPACED_ROLES: dict[str, tuple[RoleRow, ...]] = {
    "kube-system": (
        RoleRow(
            "extension-apiserver-authentication-reader",
            (Rule(READ, "core", "configmaps", names="extension-apiserver-authentication"),),
        ),
        RoleRow("system:controller:bootstrap-signer", (Rule(READ, "core", "secrets"),)),
        RoleRow("system:controller:cloud-provider", (Rule(f"create {READ}", "core", "configmaps"),)),
        RoleRow("system:controller:token-cleaner", (Rule(f"delete {READ}", "core", "secrets"), EVENTS)),
        RoleRow(
            "system::leader-locking-kube-controller-manager",
            (
                Rule("watch", "core", "configmaps"),
                Rule("get update", "core", "configmaps", names="kube-controller-manager"),
            ),
        ),
        RoleRow(
            "system::leader-locking-kube-scheduler",
            (
                Rule("watch", "core", "configmaps"),
                Rule("get update", "core", "configmaps", names="kube-scheduler"),
            ),
        ),
        # Not upstream's: cluster DNS as a part of the control plane keeps the service at its address.
        RoleRow(
            "system:kubecore:dns",
            (
                Rule("create delete get update", "core", "services"),
                Rule("create delete get update", "discovery.k8s.io", "endpointslices"),
            ),
        ),
    ),
    "kube-public": (
        RoleRow(
            "system:controller:bootstrap-signer",
            (
                Rule(READ, "core", "configmaps"),
                Rule("update", "core", "configmaps", names="cluster-info"),
                EVENTS,
            ),
        ),
    ),
}

NAMESPACED_BINDINGS: dict[str, tuple[BindingRow, ...]] = {
    "kube-system": (
        BindingRow(
            "system::extension-apiserver-authentication-reader",
            "extension-apiserver-authentication-reader",
            users="system:kube-controller-manager system:kube-scheduler",
        ),
        BindingRow(
            "system::leader-locking-kube-controller-manager",
            "system::leader-locking-kube-controller-manager",
            users="system:kube-controller-manager",
            service_accounts="kube-system/kube-controller-manager",
        ),
        BindingRow(
            "system::leader-locking-kube-scheduler",
            "system::leader-locking-kube-scheduler",
            users="system:kube-scheduler",
            service_accounts="kube-system/kube-scheduler",
        ),
        BindingRow("system:kubecore:dns", "system:kubecore:dns", users="system:kubecore:dns"),
        BindingRow(
            "system:controller:bootstrap-signer",
            "system:controller:bootstrap-signer",
            service_accounts="kube-system/bootstrap-signer",
        ),
        BindingRow(
            "system:controller:cloud-provider",
            "system:controller:cloud-provider",
            service_accounts="kube-system/cloud-provider",
        ),
        BindingRow(
            "system:controller:token-cleaner",
            "system:controller:token-cleaner",
            service_accounts="kube-system/token-cleaner",
        ),
    ),
    "kube-public": (
        BindingRow(
            "system:controller:bootstrap-signer",
            "system:controller:bootstrap-signer",
            service_accounts="kube-system/bootstrap-signer",
        ),
    ),
}
