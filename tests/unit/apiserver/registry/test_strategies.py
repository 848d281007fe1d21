"""Tables of creates and updates that upstream rejects, one for each kind."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
from tests.support.registry import Api, pod

from kubecore.api import scheme

TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
SELECTOR = {"matchLabels": {"a": "b"}}
ONCE = {**TEMPLATE, "spec": {**pod()["spec"], "restartPolicy": "Never"}}
SECRET = base64.b64encode(b"x").decode()
CSR, CSRS = "certificates.k8s.io", "certificatesigningrequests"
NET = "networking.k8s.io"
RBAC = "rbac.authorization.k8s.io"
ROLE_REF = {"apiGroup": RBAC, "kind": "Role", "name": "r"}

FLOWS = "flowcontrol.apiserver.k8s.io"

GOOD: dict[tuple[str, str], dict[str, Any]] = {
    ("", "configmaps"): {"data": {"a": "1"}},
    ("", "secrets"): {"data": {"a": SECRET}},
    ("", "serviceaccounts"): {},
    ("", "nodes"): {"spec": {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"], "providerID": "x://1"}},
    ("", "replicationcontrollers"): {"spec": {"selector": {"a": "b"}, "template": TEMPLATE}},
    ("", "resourcequotas"): {"spec": {"hard": {"pods": "3"}, "scopes": ["BestEffort"]}},
    ("", "limitranges"): {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}}]}},
    ("", "endpoints"): {"subsets": [{"addresses": [{"ip": "10.0.0.1", "nodeName": "n"}], "ports": [{"port": 1}]}]},
    ("events.k8s.io", "events"): {
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Normal",
        "reason": "Started",
        "action": "Starting",
        "reportingController": "example.com/starter",
        "reportingInstance": "starter-0",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    },
    ("", "events"): {"involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}},
    ("", "namespaces"): {},
    ("", "podtemplates"): {"template": TEMPLATE},
    ("", "persistentvolumeclaims"): {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    },
    ("", "persistentvolumes"): {
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}
    },
    ("certificates.k8s.io", "certificatesigningrequests"): {
        "spec": {"request": SECRET, "usages": ["client auth"], "signerName": "example.com/x"}
    },
    ("networking.k8s.io", "ingresses"): {
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}
    },
    ("networking.k8s.io", "networkpolicies"): {"spec": {"podSelector": {}}},
    ("networking.k8s.io", "servicecidrs"): {"spec": {"cidrs": ["10.7.0.0/16"]}},
    ("storage.k8s.io", "storageclasses"): {"provisioner": "example.com/x"},
    ("apps", "replicasets"): {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
    ("apps", "deployments"): {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
    ("apps", "statefulsets"): {"spec": {"selector": SELECTOR, "template": TEMPLATE, "serviceName": "s"}},
    ("apps", "daemonsets"): {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
    ("batch", "jobs"): {"spec": {"template": ONCE}},
    ("batch", "cronjobs"): {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": ONCE}}}},
    ("coordination.k8s.io", "leases"): {"spec": {"leaseDurationSeconds": 15}},
    ("discovery.k8s.io", "endpointslices"): {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]},
    ("policy", "poddisruptionbudgets"): {"spec": {"minAvailable": 1, "selector": SELECTOR}},
    ("scheduling.k8s.io", "priorityclasses"): {"value": 7},
    ("apps", "controllerrevisions"): {"data": {"spec": {}}, "revision": 1},
    (FLOWS, "flowschemas"): {"spec": {"priorityLevelConfiguration": {"name": "exempt"}}},
    (FLOWS, "prioritylevelconfigurations"): {"spec": {"type": "Exempt"}},
    ("node.k8s.io", "runtimeclasses"): {"handler": "runc"},
    ("storage.k8s.io", "csistoragecapacities"): {"storageClassName": "fast"},
    ("storage.k8s.io", "volumeattachments"): {
        "spec": {"attacher": "example.com/x", "source": {"persistentVolumeName": "v"}, "nodeName": "n"}
    },
    ("storage.k8s.io", "volumeattributesclasses"): {"driverName": "example.com/x", "parameters": {"a": "b"}},
    (RBAC, "roles"): {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]},
    (RBAC, "clusterroles"): {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]},
    (RBAC, "rolebindings"): {"roleRef": ROLE_REF, "subjects": [{"kind": "User", "apiGroup": RBAC, "name": "u"}]},
    (RBAC, "clusterrolebindings"): {"roleRef": {**ROLE_REF, "kind": "ClusterRole"}},
}

Change = tuple[str, str, dict[str, Any], str, str]
"""(group, plural, what is merged into the good object, reason, field)."""

REFUSED_CREATES: list[Change] = [
    ("", "serviceaccounts", {"metadata": {"name": "A_b"}}, "FieldValueInvalid", "metadata.name"),
    ("", "serviceaccounts", {"metadata": {"labels": {"a": "b c"}}}, "FieldValueInvalid", "metadata.labels"),
    ("", "configmaps", {"data": {"a/b": "x"}}, "FieldValueInvalid", "data[a/b]"),
    ("", "configmaps", {"data": {"a": "x" * 1_048_577}}, "FieldValueTooLong", ""),
    ("", "configmaps", {"data": {"..": "x"}}, "FieldValueInvalid", "data[..]"),
    ("", "secrets", {"type": "kubernetes.io/tls"}, "FieldValueRequired", "data[tls.crt]"),
    (
        "",
        "secrets",
        {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": SECRET}},
        "FieldValueInvalid",
        "data[.dockerconfigjson]",
    ),
    ("", "secrets", {"type": "kubernetes.io/basic-auth"}, "FieldValueRequired", "data[username]"),
    (
        "",
        "secrets",
        {"type": "kubernetes.io/service-account-token"},
        "FieldValueRequired",
        "metadata.annotations[kubernetes.io/service-account.name]",
    ),
    ("", "nodes", {"spec": {"taints": [{"key": "a"}]}}, "FieldValueRequired", "metadata.taints[0].effect"),
    (
        "",
        "nodes",
        {"spec": {"taints": [{"key": "a", "effect": "Never"}]}},
        "FieldValueNotSupported",
        "metadata.taints[0].effect",
    ),
    ("", "nodes", {"status": {"capacity": {"cpu": "-1"}}}, "FieldValueInvalid", "status.capacity.cpu"),
    (
        "",
        "replicationcontrollers",
        {"spec": {"selector": {"a": "c"}}},
        "FieldValueInvalid",
        "spec.template.metadata.labels",
    ),
    ("", "replicationcontrollers", {"spec": {"replicas": -1}}, "FieldValueInvalid", "spec.replicas"),
    (
        "",
        "replicationcontrollers",
        {"spec": {"template": ONCE}},
        "FieldValueNotSupported",
        "spec.template.spec.restartPolicy",
    ),
    ("", "resourcequotas", {"spec": {"hard": {"pods": "-1"}}}, "FieldValueInvalid", "spec.hard[pods]"),
    ("", "resourcequotas", {"spec": {"hard": {"pods": "1.5"}}}, "FieldValueInvalid", "spec.hard[pods]"),
    ("", "resourcequotas", {"spec": {"hard": {"luck": "1"}}}, "FieldValueInvalid", "spec.hard[luck]"),
    ("", "resourcequotas", {"spec": {"scopes": ["BestEffort", "NotBestEffort"]}}, "FieldValueInvalid", "spec.scopes"),
    ("", "limitranges", {"spec": {"limits": [{"type": "Pot"}]}}, "FieldValueInvalid", "spec.limits[0].type"),
    (
        "",
        "limitranges",
        {"spec": {"limits": [{"type": "Container", "min": {"cpu": "3"}, "max": {"cpu": "2"}}]}},
        "FieldValueInvalid",
        "spec.limits[0].min[cpu]",
    ),
    (
        "",
        "limitranges",
        {"spec": {"limits": [{"type": "Pod", "default": {"cpu": "3"}}]}},
        "FieldValueForbidden",
        "spec.limits[0].default",
    ),
    ("", "endpoints", {"subsets": [{"ports": [{"port": 1}]}]}, "FieldValueRequired", "subsets[0]"),
    (
        "",
        "endpoints",
        {"subsets": [{"addresses": [{"ip": "127.0.0.1"}]}]},
        "FieldValueInvalid",
        "subsets[0].addresses[0].ip",
    ),
    ("", "endpoints", {"subsets": [{"addresses": [{"ip": "x"}]}]}, "FieldValueInvalid", "subsets[0].addresses[0].ip"),
    ("", "events", {"involvedObject": {"namespace": "other"}}, "FieldValueInvalid", "involvedObject.namespace"),
    ("events.k8s.io", "events", {"eventTime": None}, "FieldValueRequired", "eventTime"),
    ("events.k8s.io", "events", {"type": "Loud"}, "FieldValueInvalid", "type"),
    ("events.k8s.io", "events", {"deprecatedCount": 2}, "FieldValueInvalid", "count"),
    ("events.k8s.io", "events", {"action": None}, "FieldValueRequired", "action"),
    ("", "nodes", {"spec": {"podCIDR": "x", "podCIDRs": ["x"]}}, "FieldValueInvalid", "spec.podCIDRs[0]"),
    ("apps", "controllerrevisions", {"data": None}, "FieldValueRequired", "data"),
    ("apps", "controllerrevisions", {"revision": -1}, "FieldValueInvalid", "revision"),
    (
        FLOWS,
        "flowschemas",
        {"spec": {"priorityLevelConfiguration": None}},
        "FieldValueRequired",
        "spec.priorityLevelConfiguration.name",
    ),
    (FLOWS, "prioritylevelconfigurations", {"spec": {"type": "Some"}}, "FieldValueNotSupported", "spec.type"),
    ("node.k8s.io", "runtimeclasses", {"handler": "a.b"}, "FieldValueInvalid", "handler"),
    ("storage.k8s.io", "csistoragecapacities", {"storageClassName": ""}, "FieldValueInvalid", "storageClassName"),
    ("storage.k8s.io", "volumeattachments", {"spec": {"attacher": ""}}, "FieldValueRequired", "spec.attacher"),
    ("storage.k8s.io", "volumeattachments", {"spec": {"source": None}}, "FieldValueRequired", "spec.source"),
    ("storage.k8s.io", "volumeattributesclasses", {"driverName": ""}, "FieldValueRequired", "driverName"),
    ("storage.k8s.io", "volumeattributesclasses", {"parameters": None}, "FieldValueRequired", "parameters"),
    ("", "namespaces", {"metadata": {"name": "a.b"}}, "FieldValueInvalid", "metadata.name"),
    ("", "namespaces", {"spec": {"finalizers": ["mine"]}}, "FieldValueInvalid", "spec.finalizers"),
    (
        "apps",
        "replicasets",
        {"spec": {"selector": {"matchLabels": {"a": "c"}}}},
        "FieldValueInvalid",
        "spec.template.metadata.labels",
    ),
    ("apps", "replicasets", {"spec": {"selector": None}}, "FieldValueRequired", "spec.selector"),
    ("apps", "deployments", {"spec": {"selector": {"matchLabels": None}}}, "FieldValueInvalid", "spec.selector"),
    ("apps", "deployments", {"spec": {"replicas": -1}}, "FieldValueInvalid", "spec.replicas"),
    ("apps", "deployments", {"spec": {"strategy": {"type": "Magic"}}}, "FieldValueNotSupported", "spec.strategy.type"),
    (
        "apps",
        "deployments",
        {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}},
        "FieldValueForbidden",
        "spec.strategy.rollingUpdate",
    ),
    (
        "apps",
        "deployments",
        {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}},
        "FieldValueInvalid",
        "spec.strategy.rollingUpdate.maxUnavailable",
    ),
    (
        "apps",
        "deployments",
        {"spec": {"strategy": {"rollingUpdate": {"maxSurge": "lots"}}}},
        "FieldValueInvalid",
        "spec.strategy.rollingUpdate.maxSurge",
    ),
    (
        "apps",
        "deployments",
        {"spec": {"progressDeadlineSeconds": 5, "minReadySeconds": 9}},
        "FieldValueInvalid",
        "spec.progressDeadlineSeconds",
    ),
    (
        "apps",
        "statefulsets",
        {"spec": {"podManagementPolicy": "Chaos"}},
        "FieldValueInvalid",
        "spec.podManagementPolicy",
    ),
    (
        "apps",
        "statefulsets",
        {"spec": {"template": {"spec": {"restartPolicy": "Never"}}}},
        "FieldValueNotSupported",
        "spec.template.spec.restartPolicy",
    ),
    (
        "apps",
        "statefulsets",
        {"spec": {"template": {"spec": {"activeDeadlineSeconds": 9}}}},
        "FieldValueForbidden",
        "spec.template.spec.activeDeadlineSeconds",
    ),
    (
        "apps",
        "daemonsets",
        {"spec": {"updateStrategy": {"type": "Chaos"}}},
        "FieldValueNotSupported",
        "spec.updateStrategy.type",
    ),
    (
        "batch",
        "jobs",
        {"spec": {"template": {"spec": {"restartPolicy": "Always"}}}},
        "FieldValueRequired",
        "spec.template.spec.restartPolicy",
    ),
    ("batch", "jobs", {"spec": {"parallelism": -1}}, "FieldValueInvalid", "spec.parallelism"),
    ("batch", "cronjobs", {"spec": {"schedule": "often"}}, "FieldValueInvalid", "spec.schedule"),
    ("batch", "cronjobs", {"spec": {"concurrencyPolicy": "Maybe"}}, "FieldValueNotSupported", "spec.concurrencyPolicy"),
    (
        "coordination.k8s.io",
        "leases",
        {"spec": {"leaseDurationSeconds": 0}},
        "FieldValueInvalid",
        "spec.leaseDurationSeconds",
    ),
    ("discovery.k8s.io", "endpointslices", {"addressType": "IPv5"}, "FieldValueNotSupported", "addressType"),
    (
        "discovery.k8s.io",
        "endpointslices",
        {"endpoints": [{"addresses": []}]},
        "FieldValueRequired",
        "endpoints[0].addresses",
    ),
    (
        "discovery.k8s.io",
        "endpointslices",
        {"endpoints": [{"addresses": ["::1"]}]},
        "FieldValueInvalid",
        "endpoints[0].addresses[0]",
    ),
    ("policy", "poddisruptionbudgets", {"spec": {"maxUnavailable": 1}}, "FieldValueInvalid", "spec"),
    ("policy", "poddisruptionbudgets", {"spec": {"minAvailable": "120%"}}, "FieldValueInvalid", "spec.minAvailable"),
    ("scheduling.k8s.io", "priorityclasses", {"value": 1_000_000_001}, "FieldValueForbidden", "value"),
    (
        "scheduling.k8s.io",
        "priorityclasses",
        {"metadata": {"name": "system-x"}},
        "FieldValueForbidden",
        "metadata.name",
    ),
    (RBAC, "roles", {"rules": [{"apiGroups": [""], "resources": ["pods"]}]}, "FieldValueRequired", "rules[0].verbs"),
    (
        RBAC,
        "roles",
        {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]},
        "FieldValueInvalid",
        "rules[0].nonResourceURLs",
    ),
    (
        RBAC,
        "clusterroles",
        {"rules": [{"verbs": ["get"], "resources": ["pods"]}]},
        "FieldValueRequired",
        "rules[0].apiGroups",
    ),
    (RBAC, "clusterroles", {"metadata": {"name": "a%b"}}, "FieldValueInvalid", "metadata.name"),
    (RBAC, "rolebindings", {"roleRef": {"kind": "Group"}}, "FieldValueNotSupported", "roleRef.kind"),
    (
        RBAC,
        "rolebindings",
        {"subjects": [{"kind": "Robot", "name": "x"}]},
        "FieldValueNotSupported",
        "subjects[0].kind",
    ),
    (
        RBAC,
        "clusterrolebindings",
        {"subjects": [{"kind": "ServiceAccount", "name": "x"}]},
        "FieldValueRequired",
        "subjects[0].namespace",
    ),
    (RBAC, "clusterrolebindings", {"roleRef": {"kind": "Role"}}, "FieldValueNotSupported", "roleRef.kind"),
]

REFUSED_CREATES += [
    ("", "persistentvolumeclaims", {"spec": {"accessModes": []}}, "FieldValueRequired", "spec.accessModes"),
    ("", "persistentvolumeclaims", {"spec": {"accessModes": ["X"]}}, "FieldValueNotSupported", "spec.accessModes"),
    ("", "persistentvolumeclaims", {"spec": {"resources": None}}, "FieldValueRequired", "spec.resources[storage]"),
    ("", "persistentvolumes", {"spec": {"capacity": None}}, "FieldValueRequired", "spec.capacity"),
    (CSR, CSRS, {"spec": {"usages": None}}, "FieldValueRequired", "spec.usages"),
    (CSR, CSRS, {"spec": {"signerName": "x"}}, "FieldValueInvalid", "spec.signerName"),
    (NET, "ingresses", {"spec": {"defaultBackend": None}}, "FieldValueInvalid", "spec"),
    (
        NET,
        "ingresses",
        {"spec": {"defaultBackend": {"service": {"name": None}}}},
        "FieldValueRequired",
        "spec.defaultBackend.name",
    ),
    (NET, "networkpolicies", {"spec": {"policyTypes": ["Both"]}}, "FieldValueNotSupported", "spec.policyTypes[0]"),
    (NET, "servicecidrs", {"spec": {"cidrs": []}}, "FieldValueRequired", "spec.cidrs"),
    (NET, "servicecidrs", {"spec": {"cidrs": ["10.7.0.1/16"]}}, "FieldValueInvalid", "spec.cidrs[0]"),
    (NET, "servicecidrs", {"spec": {"cidrs": ["10.7.0.0/16", "10.8.0.0/16"]}}, "FieldValueInvalid", "spec.cidrs"),
    ("storage.k8s.io", "storageclasses", {"provisioner": None}, "FieldValueRequired", "provisioner"),
]

REFUSED_UPDATES: list[Change] = [
    ("", "serviceaccounts", {"metadata": {"annotations": {"a b": "x"}}}, "FieldValueInvalid", "metadata.annotations"),
    ("apps", "controllerrevisions", {"data": {"spec": {"x": 1}}}, "FieldValueInvalid", "data"),
    ("node.k8s.io", "runtimeclasses", {"handler": "other"}, "FieldValueInvalid", "handler"),
    ("storage.k8s.io", "csistoragecapacities", {"storageClassName": "slow"}, "FieldValueInvalid", "storageClassName"),
    ("storage.k8s.io", "volumeattachments", {"spec": {"nodeName": "m"}}, "FieldValueInvalid", "spec"),
    ("storage.k8s.io", "volumeattributesclasses", {"driverName": "y"}, "FieldValueInvalid", "driverName"),
    ("storage.k8s.io", "volumeattributesclasses", {"parameters": {"a": "c"}}, "FieldValueForbidden", "parameters"),
    ("", "persistentvolumeclaims", {"spec": {"accessModes": ["ReadWriteMany"]}}, "FieldValueForbidden", "spec"),
    ("storage.k8s.io", "storageclasses", {"provisioner": "example.com/y"}, "FieldValueForbidden", "provisioner"),
    ("", "secrets", {"type": "example.com/other"}, "FieldValueInvalid", "type"),
    (NET, "servicecidrs", {"spec": {"cidrs": ["10.8.0.0/16"]}}, "FieldValueInvalid", "spec.cidrs[0]"),
    (
        "",
        "nodes",
        {"spec": {"podCIDR": "10.2.0.0/24", "podCIDRs": ["10.2.0.0/24"]}},
        "FieldValueForbidden",
        "spec.podCIDRs",
    ),
    ("", "nodes", {"spec": {"providerID": "x://2"}}, "FieldValueForbidden", "spec.providerID"),
    ("", "resourcequotas", {"spec": {"scopes": []}}, "FieldValueInvalid", "spec.scopes"),
    (
        "",
        "endpoints",
        {"subsets": [{"addresses": [{"ip": "10.0.0.1", "nodeName": "m"}]}]},
        "FieldValueForbidden",
        "subsets[0].addresses[0].nodeName",
    ),
    (
        "apps",
        "replicasets",
        {"spec": {"selector": {"matchLabels": {"a": None}, "matchExpressions": [{"key": "a", "operator": "Exists"}]}}},
        "FieldValueInvalid",
        "spec.selector",
    ),
    (
        "apps",
        "deployments",
        {"spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}},
        "FieldValueInvalid",
        "spec.selector",
    ),
    (
        "apps",
        "daemonsets",
        {"spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}},
        "FieldValueInvalid",
        "spec.selector",
    ),
    ("apps", "statefulsets", {"spec": {"serviceName": "other"}}, "FieldValueForbidden", "spec"),
    ("batch", "jobs", {"spec": {"template": {"spec": {"hostname": "x"}}}}, "FieldValueInvalid", "spec.template"),
    ("batch", "jobs", {"spec": {"completions": 9}}, "FieldValueInvalid", "spec.completions"),
    (
        "discovery.k8s.io",
        "endpointslices",
        {"addressType": "IPv6", "endpoints": []},
        "FieldValueInvalid",
        "addressType",
    ),
    ("scheduling.k8s.io", "priorityclasses", {"value": 8}, "FieldValueForbidden", "value"),
    ("scheduling.k8s.io", "priorityclasses", {"preemptionPolicy": "Never"}, "FieldValueInvalid", "preemptionPolicy"),
    (RBAC, "rolebindings", {"roleRef": {"name": "other"}}, "FieldValueInvalid", "roleRef"),
    (RBAC, "clusterrolebindings", {"roleRef": {"name": "other"}}, "FieldValueInvalid", "roleRef"),
]


def merge(obj: Any, change: Any) -> Any:
    """A JSON merge patch."""
    if not isinstance(change, dict) or not isinstance(obj, dict):
        return copy.deepcopy(change)
    merged = {**obj}
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def path_of(group: str, plural: str) -> str:
    resource = next(r for r in scheme.resources() if (r.group, r.plural, r.version) == (group, plural, "v1"))
    return resource.path("default" if resource.namespaced else "")


def good(group: str, plural: str) -> dict[str, Any]:
    return {"metadata": {"name": "thing"}, **copy.deepcopy(GOOD[group, plural])}


def name_of_row(row: Change) -> str:
    return f"{row[1]}-{row[4]}-{row[3].removeprefix('FieldValue')}"


@pytest.mark.parametrize(("group", "plural"), GOOD, ids=[plural for _, plural in GOOD])
def test_a_good_object_is_accepted_and_updating_it_with_itself_changes_nothing(group: str, plural: str) -> None:
    api, path = Api(), path_of(group, plural)
    created = api.post(path, good(group, plural)).ok()
    revision = api.storage.revision()
    assert api.put(f"{path}/thing", created).ok() == created
    assert api.storage.revision() == revision


@pytest.mark.parametrize(
    ("group", "plural", "change", "reason", "field"), REFUSED_CREATES, ids=map(name_of_row, REFUSED_CREATES)
)
def test_a_create_is_refused(group: str, plural: str, change: dict[str, Any], reason: str, field: str) -> None:
    refused = Api().post(path_of(group, plural), merge(good(group, plural), change))
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert (reason, field) in {(cause["reason"], cause["field"]) for cause in refused.body["details"]["causes"]}


@pytest.mark.parametrize(
    ("group", "plural", "change", "reason", "field"), REFUSED_UPDATES, ids=map(name_of_row, REFUSED_UPDATES)
)
def test_an_update_is_refused(group: str, plural: str, change: dict[str, Any], reason: str, field: str) -> None:
    api, path = Api(), path_of(group, plural)
    created = api.post(path, good(group, plural)).ok()
    refused = api.put(f"{path}/thing", merge(created, change))
    assert (refused.status, refused.reason) == (422, "Invalid")
    assert (reason, field) in {(cause["reason"], cause["field"]) for cause in refused.body["details"]["causes"]}
    assert api.get(f"{path}/thing").ok() == created


def test_string_data_becomes_data() -> None:
    created = Api().post(path_of("", "secrets"), {"metadata": {"name": "s"}, "stringData": {"a": "hello"}}).ok()
    assert created["data"] == {"a": base64.b64encode(b"hello").decode()}
    assert "stringData" not in created
    assert created["type"] == "Opaque"


@pytest.mark.parametrize("plural", ["configmaps", "secrets"])
def test_what_is_immutable_stays_so(plural: str) -> None:
    api, path = Api(), path_of("", plural)
    created = api.post(path, {**good("", plural), "immutable": True}).ok()
    refused = api.put(f"{path}/thing", merge(created, {"data": {"b": SECRET}}))
    assert refused.fields == ["data"]
    refused = api.put(f"{path}/thing", merge(created, {"immutable": None}))
    assert refused.fields == ["immutable"]
    labelled = api.put(f"{path}/thing", merge(created, {"metadata": {"labels": {"a": "b"}}}))
    assert labelled.status == 200


def test_a_replication_controller_selects_its_template_by_default() -> None:
    created = (
        Api()
        .post(path_of("", "replicationcontrollers"), {"metadata": {"name": "c"}, "spec": {"template": TEMPLATE}})
        .ok()
    )
    assert created["spec"]["selector"] == {"a": "b"}
    assert created["metadata"]["labels"] == {"a": "b"}


def test_a_job_selects_its_own_pods() -> None:
    created = Api().post(path_of("batch", "jobs"), good("batch", "jobs")).ok()
    uid = created["metadata"]["uid"]
    assert created["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    labels = created["spec"]["template"]["metadata"]["labels"]
    assert labels["batch.kubernetes.io/job-name"] == "thing"
    assert labels["controller-uid"] == uid


def test_a_node_keeps_the_status_it_comes_with() -> None:
    node = {"metadata": {"name": "one"}, "status": {"capacity": {"cpu": "4"}}}
    assert Api().post(path_of("", "nodes"), node).ok()["status"]["capacity"] == {"cpu": "4"}


def test_a_signing_request_is_approved_only_where_that_is_asked_for() -> None:
    api, path = Api(), path_of(CSR, CSRS)
    created = api.post(path, merge(good(CSR, CSRS), {"spec": {"username": "somebody else"}})).ok()
    assert (created["spec"]["username"], created["spec"]["groups"][0]) == ("admin", "system:masters")
    approved = {"status": {"conditions": [{"type": "Approved", "status": "True"}]}}
    assert "conditions" not in api.patch(f"{path}/thing/status", approved).ok().get("status", {})
    decided = api.patch(f"{path}/thing/approval", approved).ok()
    assert decided["status"]["conditions"][0]["lastUpdateTime"] == "2025-06-15T15:06:40Z"
    denied = {"status": {"conditions": [{"type": "Denied", "status": "True"}]}}
    assert api.put(f"{path}/thing/approval", merge(decided, denied)).status == 422


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"maxReplicas": 0}, "spec.maxReplicas"),
        ({"minReplicas": 3}, "spec.maxReplicas"),
        ({"scaleTargetRef": {"kind": "Deployment"}}, "spec.scaleTargetRef.name"),
    ],
)
def test_an_autoscaler_that_makes_no_sense_is_refused(spec: dict[str, Any], field: str) -> None:
    given = {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "web"}, **spec}
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    refused = Api().post(path, {"metadata": {"name": "x"}, "spec": given})
    assert (refused.status, set(refused.fields)) == (422, {field})


def test_a_deployment_without_a_selector_is_told_all_that_upstream_tells() -> None:
    given = {"metadata": {"name": "web"}, "spec": {"template": TEMPLATE}}
    refused = Api().post(path_of("apps", "deployments"), given)
    assert refused.message == (
        'Deployment.apps "web" is invalid: [spec.selector: Required value, spec.template.metadata.labels: '
        'Invalid value: {"a":"b"}: `selector` does not match template `labels`]'
    )
