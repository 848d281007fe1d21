"""Upstream's default RBAC policy for 1.35 as data: cluster roles, roles, and who is bound to them. No code but the row
makers.

A rule is a row of words: verbs, API groups (`core` is the empty one), resources, and resource names if it has any.
Feature gates stand as upstream's defaults have them. `bootstrap.py` makes objects of this and keeps them complete.
Source: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#default-roles-and-role-bindings
"""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """One PolicyRule in words separated by spaces; `urls` instead of groups and resources for non-resource rules."""

    verbs: str
    groups: str = ""
    resources: str = ""
    names: str = ""
    urls: str = ""


class RoleRow(NamedTuple):
    name: str
    rules: tuple[Rule, ...]
    aggregate_to: str = ""
    """The role that this one's rules flow into: `view` → `edit` → `admin`."""
    aggregated_from: str = ""
    """The role's rules are those of all roles labelled aggregate-to-<this>."""


class BindingRow(NamedTuple):
    name: str
    role: str
    users: str = ""
    groups: str = ""
    service_accounts: str = ""
    """`namespace/name` words."""


READ = "get list watch"
WRITE = "create delete deletecollection patch update"
EVENTS = Rule("create patch update", "core events.k8s.io", "events")
RBAC = "rbac.authorization.k8s.io"


def _url(urls: str) -> Rule:
    return Rule("get", urls=urls)


_SIGNERS = "certificates.k8s.io"
_CSR = "certificatesigningrequests"


def _approver(signer: str) -> RoleRow:
    return RoleRow(
        f"system:certificates.k8s.io:{signer}-approver",
        (Rule("approve", _SIGNERS, "signers", names=f"kubernetes.io/{signer}"),),
    )


def _csr_creator(kind: str) -> RoleRow:
    return RoleRow(f"system:certificates.k8s.io:{_CSR}:{kind}", (Rule("create", _SIGNERS, f"{_CSR}/{kind}"),))


USER_ROLES: tuple[RoleRow, ...] = (
    RoleRow("cluster-admin", (Rule("*", "*", "*"), Rule("*", urls="*"))),
    RoleRow("admin", (), aggregated_from="admin"),
    RoleRow("edit", (), aggregate_to="admin", aggregated_from="edit"),
    RoleRow("view", (), aggregate_to="edit", aggregated_from="view"),
    RoleRow(
        "system:aggregate-to-admin",
        (
            Rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
            Rule(f"{READ} {WRITE}", RBAC, "rolebindings roles"),
        ),
        aggregate_to="admin",
    ),
    RoleRow(
        "system:aggregate-to-edit",
        (
            Rule(READ, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
            Rule("impersonate", "core", "serviceaccounts"),
            Rule(WRITE, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
            Rule("create", "core", "pods/eviction"),
            Rule(
                WRITE,
                "core",
                "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
                "serviceaccounts services services/proxy",
            ),
            Rule("create", "core", "serviceaccounts/token"),
            Rule(
                WRITE,
                "apps",
                "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale "
                "statefulsets statefulsets/scale",
            ),
            Rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
            Rule(WRITE, "batch", "cronjobs jobs"),
            Rule(
                WRITE,
                "extensions",
                "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets "
                "replicasets/scale replicationcontrollers/scale",
            ),
            Rule(WRITE, "policy", "poddisruptionbudgets"),
            Rule(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
            Rule(f"{READ} {WRITE}", "coordination.k8s.io", "leases"),
            Rule(WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
        ),
        aggregate_to="edit",
    ),
    RoleRow(
        "system:aggregate-to-view",
        (
            Rule(
                READ,
                "core",
                "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
                "replicationcontrollers/scale serviceaccounts services services/status",
            ),
            Rule(
                READ,
                "core",
                "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
                "resourcequotas resourcequotas/status",
            ),
            Rule(READ, "core", "namespaces"),
            Rule(READ, "discovery.k8s.io", "endpointslices"),
            Rule(
                READ,
                "apps",
                "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status "
                "replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
            ),
            Rule(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
            Rule(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
            Rule(
                READ,
                "extensions",
                "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses "
                "ingresses/status networkpolicies replicasets replicasets/scale replicasets/status "
                "replicationcontrollers/scale",
            ),
            Rule(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
            Rule(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
            Rule(READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
        ),
        aggregate_to="view",
    ),
)

COMPONENT_ROLES: tuple[RoleRow, ...] = (
    # Not upstream's: the page's own files, which hold nothing of the cluster. What the page shows, its user must be allowed to read.
    RoleRow("system:kubecore:page", (_url("/ui /ui/*"),)),
    # Not upstream's: beside `view`, what a reader of the whole page sees.
    RoleRow(
        "system:kubecore:page-reader",
        (
            Rule(READ, "core", "nodes persistentvolumes"),
            Rule(READ, "metrics.k8s.io", "nodes pods"),
            _url("/logs /logs/* /metrics"),
        ),
    ),
    # metrics-server brings this one with it.
    RoleRow(
        "system:aggregated-metrics-reader",
        (Rule(READ, "metrics.k8s.io", "nodes pods"),),
        aggregate_to="view",
    ),
    # Not upstream's: simulated nodes, all played by one part.
    RoleRow(
        "system:kubecore:node-simulator",
        (
            Rule(f"create delete {READ}", "core", "nodes"),
            Rule("patch", "core", "nodes/status"),
            Rule(f"delete patch {READ}", "core", "pods"),
            Rule("patch", "core", "pods/status"),
            Rule(f"create patch {READ}", "coordination.k8s.io", "leases"),
            Rule("create patch update", "core events.k8s.io", "events"),
        ),
    ),
    # Not upstream's either: who sees to the routes between real nodes of one box.
    RoleRow(
        "system:kubecore:fabric",
        (
            Rule("get list watch", "core", "nodes services"),
            Rule("get list watch", "discovery.k8s.io", "endpointslices"),
        ),
    ),
    # Not upstream's either: cluster DNS where it is a part of the control plane.
    RoleRow(
        "system:kubecore:dns",
        (
            Rule("list watch", "core", "services namespaces"),
            Rule("list watch", "discovery.k8s.io", "endpointslices"),
        ),
    ),
    RoleRow(
        "system:discovery",
        (
            _url(
                "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/",
            ),
        ),
    ),
    RoleRow("system:public-info-viewer", (_url("/healthz /livez /readyz /version /version/"),)),
    RoleRow(
        "system:monitoring",
        (_url("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),),
    ),
    RoleRow(
        "system:basic-user",
        (
            Rule("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
            Rule("create", "authentication.k8s.io", "selfsubjectreviews"),
        ),
    ),
    RoleRow(
        "system:service-account-issuer-discovery",
        (_url("/.well-known/openid-configuration /openid/v1/jwks"),),
    ),
    RoleRow(
        "system:auth-delegator",
        (
            Rule("create", "authentication.k8s.io", "tokenreviews"),
            Rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        ),
    ),
    RoleRow(
        "system:heapster",
        (Rule(READ, "core", "events namespaces nodes pods"), Rule(READ, "extensions", "deployments")),
    ),
    RoleRow("system:kube-aggregator", (Rule(READ, "core", "endpoints services"),)),
    RoleRow("system:kube-dns", (Rule("list watch", "core", "endpoints services"),)),
    RoleRow(
        "system:kube-controller-manager",
        (
            EVENTS,
            Rule("create", "coordination.k8s.io", "leases"),
            Rule("get update", "coordination.k8s.io", "leases", names="kube-controller-manager"),
            Rule("create", "core", "secrets serviceaccounts"),
            Rule("delete", "core", "secrets"),
            Rule("get", "core", "configmaps namespaces secrets serviceaccounts"),
            Rule("update", "core", "secrets serviceaccounts"),
            Rule("create", "authentication.k8s.io", "tokenreviews"),
            Rule("create", "authorization.k8s.io", "subjectaccessreviews"),
            Rule("list watch", "*", "*"),
            Rule("create", "core", "serviceaccounts/token"),
        ),
    ),
    RoleRow(
        "system:kube-scheduler",
        (
            EVENTS,
            Rule("create", "coordination.k8s.io", "leases"),
            Rule("get update", "coordination.k8s.io", "leases", names="kube-scheduler"),
            Rule(READ, "core", "nodes"),
            Rule(f"delete {READ}", "core", "pods"),
            Rule("create", "core", "bindings pods/binding"),
            Rule("patch update", "core", "pods/status"),
            Rule(READ, "core", "replicationcontrollers services"),
            Rule(READ, "apps extensions", "replicasets"),
            Rule(READ, "apps", "statefulsets"),
            Rule(READ, "policy", "poddisruptionbudgets"),
            Rule(READ, "core", "persistentvolumeclaims persistentvolumes"),
            Rule("create", "authentication.k8s.io", "tokenreviews"),
            Rule("create", "authorization.k8s.io", "subjectaccessreviews"),
            Rule(READ, "storage.k8s.io", "csinodes"),
            Rule(READ, "core", "namespaces"),
            Rule(READ, "storage.k8s.io", "csidrivers"),
            Rule(READ, "storage.k8s.io", "csistoragecapacities"),
            Rule(READ, "storage.k8s.io", "volumeattachments"),
            Rule(READ, "resource.k8s.io", "deviceclasses"),
            Rule(f"{READ} patch update", "resource.k8s.io", "resourceclaims"),
            Rule(f"{READ} patch update", "resource.k8s.io", "resourceclaims/status"),
            Rule(f"{READ} patch update", "core", "pods/finalizers"),
            Rule(READ, "resource.k8s.io", "resourceslices"),
        ),
    ),
    RoleRow(
        "system:volume-scheduler",
        (
            Rule(f"{READ} patch update", "core", "persistentvolumes"),
            Rule(READ, "storage.k8s.io", "storageclasses"),
            Rule(f"{READ} patch update", "core", "persistentvolumeclaims"),
        ),
    ),
    RoleRow(
        "system:persistent-volume-provisioner",
        (
            Rule(f"create delete {READ}", "core", "persistentvolumes"),
            Rule(f"{READ} update", "core", "persistentvolumeclaims"),
            Rule(READ, "storage.k8s.io", "storageclasses"),
            Rule("watch", "core", "events"),
            EVENTS,
        ),
    ),
    RoleRow(
        "system:kubelet-api-admin",
        (
            Rule(READ, "core", "nodes"),
            Rule("proxy", "core", "nodes"),
            Rule(
                "*",
                "core",
                "nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats",
            ),
        ),
    ),
    RoleRow(
        "system:node",
        (
            Rule("create", "authentication.k8s.io", "tokenreviews"),
            Rule("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
            Rule(READ, "core", "services"),
            Rule(f"create {READ}", "core", "nodes"),
            Rule("patch update", "core", "nodes/status"),
            Rule("patch update", "core", "nodes"),
            Rule("create patch update", "core", "events"),
            Rule(READ, "core", "pods"),
            Rule("create delete", "core", "pods"),
            Rule("patch update", "core", "pods/status"),
            Rule("create", "core", "pods/eviction"),
            Rule(READ, "core", "configmaps secrets"),
            Rule("get", "core", "persistentvolumeclaims persistentvolumes"),
            Rule("get", "core", "endpoints"),
            Rule(f"create {READ}", _SIGNERS, _CSR),
            Rule("create delete get patch update", "coordination.k8s.io", "leases"),
            Rule("get", "storage.k8s.io", "volumeattachments"),
            Rule("create", "core", "serviceaccounts/token"),
            Rule("get patch update", "core", "persistentvolumeclaims/status"),
            Rule(READ, "storage.k8s.io", "csidrivers"),
            Rule("create delete get patch update", "storage.k8s.io", "csinodes"),
            Rule(READ, "node.k8s.io", "runtimeclasses"),
            Rule("get", "resource.k8s.io", "resourceclaims"),
            Rule("deletecollection", "resource.k8s.io", "resourceslices"),
            Rule("get", "core", "serviceaccounts"),
        ),
    ),
    RoleRow("system:node-bootstrapper", (Rule(f"create {READ}", _SIGNERS, _CSR),)),
    RoleRow(
        "system:node-problem-detector",
        (Rule("get", "core", "nodes"), Rule("patch", "core", "nodes/status"), EVENTS),
    ),
    RoleRow(
        "system:node-proxier",
        (
            Rule("list watch", "core", "endpoints services"),
            Rule(READ, "core", "nodes"),
            EVENTS,
            Rule("list watch", "discovery.k8s.io", "endpointslices"),
            Rule("list watch", "networking.k8s.io", "servicecidrs"),
        ),
    ),
    _csr_creator("nodeclient"),
    _csr_creator("selfnodeclient"),
    _approver("kube-apiserver-client"),
    _approver("kube-apiserver-client-kubelet"),
    _approver("kubelet-serving"),
    _approver("legacy-unknown"),
)

CLUSTER_ROLE_BINDINGS: tuple[BindingRow, ...] = (
    BindingRow("cluster-admin", "cluster-admin", groups="system:masters"),
    BindingRow(
        "system:kubecore:node-simulator", "system:kubecore:node-simulator", users="system:kubecore:node-simulator"
    ),
    BindingRow("system:kubecore:fabric", "system:kubecore:fabric", users="system:kubecore:fabric"),
    BindingRow("system:kubecore:page", "system:kubecore:page", groups="system:authenticated system:unauthenticated"),
    BindingRow("system:kubecore:dns", "system:kubecore:dns", users="system:kubecore:dns"),
    BindingRow("system:monitoring", "system:monitoring", groups="system:monitoring"),
    BindingRow("system:discovery", "system:discovery", groups="system:authenticated"),
    BindingRow("system:basic-user", "system:basic-user", groups="system:authenticated"),
    BindingRow(
        "system:public-info-viewer",
        "system:public-info-viewer",
        groups="system:authenticated system:unauthenticated",
    ),
    BindingRow("system:node-proxier", "system:node-proxier", users="system:kube-proxy"),
    BindingRow(
        "system:kube-controller-manager", "system:kube-controller-manager", users="system:kube-controller-manager"
    ),
    BindingRow("system:kube-dns", "system:kube-dns", service_accounts="kube-system/kube-dns"),
    BindingRow("system:kube-scheduler", "system:kube-scheduler", users="system:kube-scheduler"),
    BindingRow("system:volume-scheduler", "system:volume-scheduler", users="system:kube-scheduler"),
    BindingRow(
        "system:service-account-issuer-discovery",
        "system:service-account-issuer-discovery",
        groups="system:serviceaccounts",
    ),
    # Upstream leaves this binding without subjects, because its Node authorizer gives nodes their rights. Until
    # that authorizer is here, nodes get the role's rights through it, as upstream did before 1.7.
    BindingRow("system:node", "system:node", groups="system:nodes"),
)
