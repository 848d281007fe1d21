"""Pods: what upstream rejects, what may change, what is derived."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.registry import PODS, Api, pod


@pytest.fixture
def api() -> Api:
    return Api()


def container(**more: Any) -> list[dict[str, Any]]:
    return [{"name": "main", "image": "nginx", **more}]


C = "spec.containers[0]"
REFUSED: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    ("no containers", {"containers": []}, [("FieldValueRequired", "spec.containers")]),
    ("no container name", {"containers": [{"image": "x"}]}, [("FieldValueRequired", f"{C}.name")]),
    ("a bad container name", {"containers": container(name="Main")}, [("FieldValueInvalid", f"{C}.name")]),
    ("no image", {"containers": [{"name": "a"}]}, [("FieldValueRequired", f"{C}.image")]),
    ("an image with a space", {"containers": container(image=" nginx")}, [("FieldValueInvalid", f"{C}.image")]),
    (
        "two containers of one name",
        {"containers": [*container(), *container()]},
        [("FieldValueDuplicate", "spec.containers[1].name")],
    ),
    (
        "a port out of range",
        {"containers": container(ports=[{"containerPort": 70000}])},
        [("FieldValueInvalid", f"{C}.ports[0].containerPort")],
    ),
    (
        "a port without a number",
        {"containers": container(ports=[{"name": "x"}])},
        [("FieldValueRequired", f"{C}.ports[0].containerPort")],
    ),
    (
        "a port name without a letter",
        {"containers": container(ports=[{"containerPort": 1, "name": "8080"}])},
        [("FieldValueInvalid", f"{C}.ports[0].name")],
    ),
    (
        "an unknown protocol",
        {"containers": container(ports=[{"containerPort": 1, "protocol": "ICMP"}])},
        [("FieldValueNotSupported", f"{C}.ports[0].protocol")],
    ),
    (
        "one host port twice",
        {"containers": container(ports=[{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}])},
        [("FieldValueDuplicate", f"{C}.ports[1].hostPort")],
    ),
    (
        "another host port on the host's network",
        {"hostNetwork": True, "containers": container(ports=[{"containerPort": 1, "hostPort": 2}])},
        [("FieldValueInvalid", f"{C}.ports[0].hostPort")],
    ),
    (
        "a variable without a name",
        {"containers": container(env=[{"value": "x"}])},
        [("FieldValueRequired", f"{C}.env[0].name")],
    ),
    (
        "a variable with two sources of its value",
        {
            "containers": container(
                env=[{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
            )
        },
        [("FieldValueInvalid", f"{C}.env[0].valueFrom")],
    ),
    (
        "a variable from an unknown field",
        {"containers": container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.magic"}}}])},
        [("FieldValueInvalid", f"{C}.env[0].valueFrom.fieldRef.fieldPath")],
    ),
    (
        "a variable from a secret without a key",
        {"containers": container(env=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}])},
        [("FieldValueRequired", f"{C}.env[0].valueFrom.secretKeyRef.key")],
    ),
    (
        "variables from nowhere",
        {"containers": container(envFrom=[{"prefix": "A"}])},
        [("FieldValueInvalid", f"{C}.envFrom")],
    ),
    (
        "a mount of no volume",
        {"containers": container(volumeMounts=[{"name": "data", "mountPath": "/data"}])},
        [("FieldValueNotFound", f"{C}.volumeMounts[0].name")],
    ),
    (
        "two mounts at one path",
        {
            "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "emptyDir": {}}],
            "containers": container(volumeMounts=[{"name": "a", "mountPath": "/x"}, {"name": "b", "mountPath": "/x"}]),
        },
        [("FieldValueInvalid", f"{C}.volumeMounts[1].mountPath")],
    ),
    (
        "a mount that climbs out",
        {
            "volumes": [{"name": "a", "emptyDir": {}}],
            "containers": container(volumeMounts=[{"name": "a", "mountPath": "/x", "subPath": "../y"}]),
        },
        [("FieldValueInvalid", f"{C}.volumeMounts[0].subPath")],
    ),
    (
        "a volume of two kinds",
        {"volumes": [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/x"}}]},
        [("FieldValueForbidden", "spec.volumes[0].hostPath")],
    ),
    (
        "two volumes of one name",
        {"volumes": [{"name": "a", "emptyDir": {}}] * 2},
        [("FieldValueDuplicate", "spec.volumes[1].name")],
    ),
    (
        "a claim without a name",
        {"volumes": [{"name": "a", "persistentVolumeClaim": {}}]},
        [("FieldValueRequired", "spec.volumes[0].persistentVolumeClaim.claimName")],
    ),
    (
        "a request above its limit",
        {"containers": container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})},
        [("FieldValueInvalid", f"{C}.resources.requests")],
    ),
    (
        "a negative request",
        {"containers": container(resources={"requests": {"cpu": "-1"}})},
        [("FieldValueInvalid", f"{C}.resources.requests[cpu]")],
    ),
    (
        "a resource nobody knows",
        {"containers": container(resources={"requests": {"luck": "1"}})},
        [("FieldValueInvalid", f"{C}.resources.requests")],
    ),
    (
        "a probe that does nothing",
        {"containers": container(livenessProbe={"periodSeconds": 3})},
        [("FieldValueRequired", f"{C}.livenessProbe")],
    ),
    (
        "a probe with two handlers",
        {"containers": container(readinessProbe={"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}})},
        [("FieldValueForbidden", f"{C}.readinessProbe.tcpSocket")],
    ),
    (
        "a liveness probe that must succeed twice",
        {"containers": container(livenessProbe={"exec": {"command": ["a"]}, "successThreshold": 2})},
        [("FieldValueInvalid", f"{C}.livenessProbe.successThreshold")],
    ),
    (
        "a privileged container that may not escalate",
        {"containers": container(securityContext={"privileged": True, "allowPrivilegeEscalation": False})},
        [("FieldValueInvalid", f"{C}.securityContext")],
    ),
    (
        "a user below zero",
        {"securityContext": {"runAsUser": -1}},
        [("FieldValueInvalid", "spec.securityContext.runAsUser")],
    ),
    (
        "sysctls that no kernel has",
        {
            "securityContext": {
                "sysctls": [
                    {"name": "foo-", "value": "bar"},
                    {"name": "kernel/shmmax", "value": "1"},
                    {"name": "bar..", "value": "42"},
                ]
            }
        },
        [
            ("FieldValueInvalid", "spec.securityContext.sysctls[0].name"),
            ("FieldValueInvalid", "spec.securityContext.sysctls[2].name"),
        ],
    ),
    ("an unknown restart policy", {"restartPolicy": "Maybe"}, [("FieldValueNotSupported", "spec.restartPolicy")]),
    ("an unknown DNS policy", {"dnsPolicy": "Guess"}, [("FieldValueNotSupported", "spec.dnsPolicy")]),
    ("no DNS and no servers", {"dnsPolicy": "None"}, [("FieldValueRequired", "spec.dnsConfig")]),
    ("a deadline of zero", {"activeDeadlineSeconds": 0}, [("FieldValueInvalid", "spec.activeDeadlineSeconds")]),
    ("a bad node selector", {"nodeSelector": {"a b": "c"}}, [("FieldValueInvalid", "spec.nodeSelector")]),
    (
        "a toleration that names no operator for all keys",
        {"tolerations": [{"effect": "NoExecute"}]},
        [("FieldValueInvalid", "spec.tolerations[0].operator")],
    ),
    (
        "seconds for an effect that does not evict",
        {"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 3}]},
        [("FieldValueInvalid", "spec.tolerations[0].effect")],
    ),
    (
        "a node affinity without terms",
        {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}},
        [
            (
                "FieldValueRequired",
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
            )
        ],
    ),
    (
        "a pod affinity without a topology",
        {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {}}]}}},
        [
            (
                "FieldValueRequired",
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey",
            ),
            (
                "FieldValueInvalid",
                "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey",
            ),
        ],
    ),
    (
        "a spread of no skew",
        {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]},
        [("FieldValueInvalid", "spec.topologySpreadConstraints[0].maxSkew")],
    ),
    (
        "gates on a pod with a node",
        {"schedulingGates": [{"name": "example.com/wait"}], "nodeName": "one"},
        [("FieldValueForbidden", "spec.nodeName")],
    ),
    (
        "an init container with a probe",
        {"initContainers": [{"name": "i", "image": "x", "readinessProbe": {"exec": {"command": ["a"]}}}]},
        [("FieldValueForbidden", "spec.initContainers[0].readinessProbe")],
    ),
    (
        "an init container of a container's name",
        {"initContainers": [{"name": "main", "image": "x"}]},
        [("FieldValueDuplicate", "spec.initContainers[0].name")],
    ),
    ("a bad host name", {"hostname": "Not.A.Label"}, [("FieldValueInvalid", "spec.hostname")]),
]


@pytest.mark.parametrize(("spec", "causes"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_pod_that_breaks_a_rule_is_refused(api: Api, spec: dict[str, Any], causes: list[tuple[str, str]]) -> None:
    refused = api.post(PODS, pod(**spec))
    assert (refused.status, refused.reason) == (422, "Invalid")
    found = [(cause["reason"], cause["field"]) for cause in refused.body["details"]["causes"]]
    assert list(dict.fromkeys(found)) == causes


def test_every_mistake_is_told_at_once(api: Api) -> None:
    refused = api.post(PODS, pod("Bad", containers=[{"name": "a"}], restartPolicy="Maybe"))
    assert refused.fields == ["metadata.name", "spec.containers[0].image", "spec.restartPolicy"]
    assert refused.message.startswith('Pod "Bad" is invalid: [metadata.name: Invalid value: "Bad": ')


def test_messages_are_those_of_upstream(api: Api) -> None:
    refused = api.post(PODS, pod(restartPolicy="Maybe"))
    assert refused.message == (
        'Pod "web" is invalid: spec.restartPolicy: Unsupported value: "Maybe": '
        'supported values: "Always", "OnFailure", "Never"'
    )
    refused = api.post(
        PODS, pod(containers=container(resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "1024Mi"}}))
    )
    assert refused.message == (
        'Pod "web" is invalid: spec.containers[0].resources.requests: Invalid value: "2Gi": '
        "must be less than or equal to memory limit of 1Gi"
    )


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}, "Burstable"),
    ],
)
def test_the_quality_of_service_follows_from_the_resources(api: Api, resources: dict[str, Any], qos: str) -> None:
    assert api.post(PODS, pod(containers=container(resources=resources))).ok()["status"]["qosClass"] == qos


def test_a_gated_pod_says_that_it_is(api: Api) -> None:
    created = api.post(PODS, pod(schedulingGates=[{"name": "example.com/wait"}])).ok()
    assert created["status"]["conditions"][0]["reason"] == "SchedulingGated"
    refused = api.post(f"{PODS}/web/binding", {"target": {"name": "one"}})
    assert "has non-empty .spec.schedulingGates" in refused.message


def test_label_keys_become_part_of_the_selectors(api: Api) -> None:
    term = {"topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": ["version"], "mismatchLabelKeys": ["tenant"]}
    given = pod(
        affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}},
        topologySpreadConstraints=[
            {
                "maxSkew": 1,
                "topologyKey": "zone",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "web"}},
                "matchLabelKeys": ["version", "absent"],
            }
        ],
    )
    given["metadata"]["labels"] = {"version": "2", "tenant": "a"}
    spec = api.post(PODS, given).ok()["spec"]
    (made,) = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    same, other = (
        ({"key": "version", "operator": "In", "values": ["2"]},),
        ({"key": "tenant", "operator": "NotIn", "values": ["a"]},),
    )
    assert made["labelSelector"]["matchExpressions"] == [*same, *other]
    assert spec["topologySpreadConstraints"][0]["labelSelector"]["matchExpressions"] == [*same]


def test_a_pod_starts_pending_whatever_the_client_says(api: Api) -> None:
    created = api.post(PODS, {**pod(), "status": {"phase": "Running", "podIP": "1.2.3.4"}}).ok()
    assert created["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


ALLOWED_CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("the image", {"containers": container(image="nginx:2")}),
    ("a deadline", {"activeDeadlineSeconds": 60}),
    ("one more toleration", {"tolerations": [{"key": "a", "operator": "Exists"}]}),
]
REFUSED_CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("a new container", {"containers": [*container(), {"name": "b", "image": "x"}]}, "spec.containers"),
    ("the command", {"containers": container(command=["x"])}, "spec"),
    ("the node", {"nodeName": "two"}, "spec"),
    ("the restart policy", {"restartPolicy": "Never"}, "spec"),
    ("no image", {"containers": container(image="")}, "spec.containers[0].image"),
]


@pytest.mark.parametrize("change", [row[1] for row in ALLOWED_CHANGES], ids=[row[0] for row in ALLOWED_CHANGES])
def test_a_pod_may_change(api: Api, change: dict[str, Any]) -> None:
    api.post(PODS, pod()).ok()
    changed = api.patch(f"{PODS}/web", {"spec": change}, kind="strategic").ok()
    assert changed["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("change", "field"), [row[1:] for row in REFUSED_CHANGES], ids=[row[0] for row in REFUSED_CHANGES]
)
def test_a_pod_may_not_change(api: Api, change: dict[str, Any], field: str) -> None:
    api.post(PODS, pod()).ok()
    refused = api.patch(f"{PODS}/web", {"spec": change}, kind="strategic")
    assert (refused.status, refused.fields[0]) == (422, field)


def test_a_toleration_is_not_taken_away(api: Api) -> None:
    api.post(PODS, pod(tolerations=[{"key": "a", "operator": "Exists"}])).ok()
    refused = api.patch(f"{PODS}/web", {"spec": {"tolerations": []}})
    assert (refused.status, refused.fields) == (422, ["spec.tolerations"])


def test_status_leaves_the_spec_and_the_owners_alone(api: Api) -> None:
    created = api.post(PODS, pod()).ok()
    created["spec"]["nodeName"] = "two"
    created["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "y"}]
    created["status"] = {"phase": "Running"}
    written = api.put(f"{PODS}/web/status", created).ok()
    assert "nodeName" not in written["spec"]
    assert "ownerReferences" not in written["metadata"]
    assert written["status"] == {"phase": "Running", "qosClass": "BestEffort"}


def test_a_container_that_ended_for_good_stays_ended(api: Api) -> None:
    created = api.post(PODS, pod(restartPolicy="Never")).ok()
    status = {"name": "main", "image": "nginx", "imageID": "", "ready": False, "restartCount": 0}
    ended = {**status, "state": {"terminated": {"exitCode": 1}}}
    created["status"] = {"phase": "Running", "containerStatuses": [ended]}
    written = api.put(f"{PODS}/web/status", created).ok()
    written["status"]["containerStatuses"] = [{**status, "state": {"running": {}}}]
    refused = api.put(f"{PODS}/web/status", written)
    assert (refused.status, refused.fields) == (422, ["status.containerStatuses[0].state"])


def test_what_is_allowed_and_unwise_is_warned_of(api: Api) -> None:
    twice = container(
        env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}],
        ports=[{"containerPort": 80}, {"containerPort": 80}],
    )
    created = api.post(PODS, pod("web.one", containers=twice, nodeSelector={"beta.kubernetes.io/os": "linux"}))
    assert created.status == 201
    told = "\n".join(created.warnings)
    assert "metadata.name: this is used in the Pod's hostname" in told
    assert (
        'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \\"kubernetes.io/os\\" instead' in told
    )
    assert 'spec.containers[0].env[1]: hides previous definition of \\"A\\", which may be dropped' in told
    assert "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]" in told
