from __future__ import annotations

from typing import Any

import pytest

from kubecore.api.errors import Forbidden
from kubecore.api.meta import Object
from kubecore.apiserver.access.admission.resource_quota import ResourceQuota

from ..worlds import World, admission_request, make
from .pods import container, pod


def quota(hard: dict[str, str], used: dict[str, str] | None, name: str = "q", **spec: Any) -> Object:
    status: dict[str, Any] = {"hard": hard} | ({"used": used} if used is not None else {})
    return make("ResourceQuota", name, "shop", spec={"hard": hard, **spec}, status=status)


def charged(obj: Object, *quotas: Object, **options: Any) -> list[dict[str, str]]:
    """The usage that each quota has afterwards."""
    request = admission_request(World(*quotas), obj, **options)
    ResourceQuota().validate(request)
    return [companion.object["status"]["used"] for companion in request.companions]


def refused(obj: Object, *quotas: Object) -> str:
    with pytest.raises(Forbidden) as raised:
        charged(obj, *quotas)
    assert raised.value.status_code == 403
    return raised.value.message


def test_the_last_place_is_refused_in_upstreams_words() -> None:
    assert refused(pod(), quota({"pods": "2"}, {"pods": "2"})) == (
        'pods "web" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2'
    )


def test_only_what_is_exceeded_is_named() -> None:
    full = quota(
        {"pods": "9", "requests.cpu": "1", "limits.cpu": "9"}, {"pods": "1", "requests.cpu": "600m", "limits.cpu": "1"}
    )
    asked = container(requests={"cpu": "500m"}, limits={"cpu": "1"})
    assert refused(pod(asked), full).endswith(
        "exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1"
    )


def test_what_is_used_is_written_with_the_pod() -> None:
    hard = {"pods": "9", "cpu": "4", "requests.memory": "4Gi", "limits.cpu": "9", "count/pods": "9", "configmaps": "3"}
    used = {"pods": "1", "cpu": "500m", "requests.memory": "0", "limits.cpu": "1", "count/pods": "1", "configmaps": "1"}
    asked = container(requests={"cpu": "750m", "memory": "512Mi"}, limits={"cpu": "1"})
    assert charged(pod(asked), quota(hard, used)) == [
        {
            "pods": "2",
            "cpu": "1250m",
            "requests.memory": "512Mi",
            "limits.cpu": "2",
            "count/pods": "2",
            "configmaps": "1",
        }
    ]


def test_a_pod_must_state_what_is_counted() -> None:
    hard = {"limits.cpu": "2", "requests.memory": "1Gi"}
    silent = pod(container("a", requests={"memory": "1Mi"}), container("b"))
    assert refused(silent, quota(hard, dict.fromkeys(hard, "0"))) == (
        'pods "web" is forbidden: failed quota: q: must specify limits.cpu for: a,b; requests.memory for: b'
    )


def test_a_quota_that_was_not_counted_yet_refuses() -> None:
    assert refused(pod(), quota({"pods": "2"}, {})).endswith("status unknown for quota: q, resources: pods")


def test_a_quota_without_a_status_does_not_count_yet() -> None:
    fresh = make("ResourceQuota", "q", "shop", spec={"hard": {"pods": "0"}})
    assert charged(pod(), fresh) == []


def test_any_kind_is_counted_by_its_name_and_group() -> None:
    deployment = make("Deployment", "d", "shop", api_version="apps/v1", spec={})
    hard = {"count/deployments.apps": "1"}
    assert charged(deployment, quota(hard, {"count/deployments.apps": "0"})) == [{"count/deployments.apps": "1"}]
    assert "requested: count/deployments.apps=1" in refused(deployment, quota(hard, hard))
    secret = make("Secret", "s", "shop")
    assert charged(secret, quota({"secrets": "2"}, {"secrets": "1"})) == [{"secrets": "2"}]


def test_a_service_that_turns_into_a_node_port_is_charged_the_difference() -> None:
    ports = [{"port": 1}, {"port": 2}]
    old = make("Service", "s", "shop", spec={"type": "ClusterIP", "ports": ports})
    new = make("Service", "s", "shop", spec={"type": "NodePort", "ports": ports})
    hard = {"services": "1", "services.nodeports": "2"}
    used = {"services": "1", "services.nodeports": "0"}
    after = charged(new, quota(hard, used), old=old, operation="UPDATE")
    assert after == [{"services": "1", "services.nodeports": "2"}]
    assert charged(old, quota(hard, after[0]), old=new, operation="UPDATE") == []


def test_a_claim_is_counted_by_its_class_too() -> None:
    spec = {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}}
    claim = make("PersistentVolumeClaim", "c", "shop", spec=spec)
    hard = {"requests.storage": "10Gi", "fast.storageclass.storage.k8s.io/requests.storage": "4Gi"}
    assert "fast.storageclass.storage.k8s.io/requests.storage=5Gi" in refused(
        claim, quota(hard, dict.fromkeys(hard, "0"))
    )


@pytest.mark.parametrize(
    ("scopes", "spec", "counted"),
    [
        ({"scopes": ["BestEffort"]}, {}, True),
        ({"scopes": ["NotBestEffort"]}, {}, False),
        ({"scopes": ["Terminating"]}, {"activeDeadlineSeconds": 5}, True),
        ({"scopes": ["NotTerminating"]}, {"activeDeadlineSeconds": 5}, False),
        ({"scopes": ["BestEffort", "NotTerminating"]}, {}, True),
        ({"scopes": ["PriorityClass"]}, {}, False),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]
                }
            },
            {"priorityClassName": "high"},
            True,
        ),
    ],
)
def test_a_scoped_quota_counts_only_what_is_in_its_scopes(
    scopes: dict[str, Any], spec: dict[str, Any], counted: bool
) -> None:
    assert bool(charged(pod(**spec), quota({"pods": "5"}, {"pods": "0"}, **scopes))) is counted


def test_every_quota_of_the_namespace_is_charged_or_none() -> None:
    roomy, full = quota({"pods": "5"}, {"pods": "0"}, "a"), quota({"pods": "1"}, {"pods": "1"}, "b")
    request = admission_request(World(roomy, full), pod())
    with pytest.raises(Forbidden, match="exceeded quota: b"):
        ResourceQuota().validate(request)
    assert charged(pod(), roomy, quota({"pods": "2"}, {"pods": "1"}, "b")) == [{"pods": "1"}, {"pods": "2"}]


def test_init_containers_count_by_their_highest_moment() -> None:
    big = container("i", requests={"cpu": "3"})
    sidecar = container("s", requests={"cpu": "1"}, restartPolicy="Always")
    main = container(requests={"cpu": "1"})
    hard = {"requests.cpu": "99"}
    after = charged(pod(main, initContainers=[sidecar, big]), quota(hard, {"requests.cpu": "0"}))
    assert after == [{"requests.cpu": "4"}]
