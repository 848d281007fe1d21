from __future__ import annotations

from typing import Any

import pytest

from kubecore.api.errors import Forbidden
from kubecore.api.meta import Object
from kubecore.apiserver.access.admission.limit_ranger import LimitRanger

from ..worlds import World, admission_request, make
from .pods import container, pod


def limit_range(kind: str = "Container", **limits: Any) -> Object:
    return make("LimitRange", "lr", "shop", spec={"limits": [{"type": kind, **limits}]})


def admit(obj: Object, *ranges: Object) -> Object:
    request = admission_request(World(*ranges), obj)
    LimitRanger().mutate(request)
    LimitRanger().validate(request)
    return obj


def refused(obj: Object, *ranges: Object) -> str:
    with pytest.raises(Forbidden) as raised:
        admit(obj, *ranges)
    return raised.value.message.removeprefix('pods "web" is forbidden: ')


def test_a_container_that_says_nothing_gets_the_defaults_and_the_pod_is_told() -> None:
    ranges = limit_range(default={"cpu": "1", "memory": "1Gi"}, defaultRequest={"cpu": "500m", "memory": "256Mi"})
    obj = admit(pod(container(requests={"cpu": "100m"})), ranges)
    assert obj["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"cpu": "1", "memory": "1Gi"},
    }
    assert obj["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: memory request for container web; cpu, memory limit for container web"
    )


@pytest.mark.parametrize(
    ("given", "limits", "message"),
    [
        (
            container(requests={"cpu": "50m"}),
            {"min": {"cpu": "100m"}},
            "minimum cpu usage per Container is 100m, but request is 50m",
        ),
        (container(), {"min": {"cpu": "100m"}}, "minimum cpu usage per Container is 100m.  No request is specified"),
        (
            container(requests={"cpu": "1"}, limits={"cpu": "3"}),
            {"max": {"cpu": "2"}},
            "maximum cpu usage per Container is 2, but limit is 3",
        ),
        (container(), {"max": {"memory": "1Gi"}}, "maximum memory usage per Container is 1Gi.  No limit is specified"),
        (
            container(requests={"cpu": "1"}, limits={"cpu": "4"}),
            {"maxLimitRequestRatio": {"cpu": "2"}},
            "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000",
        ),
        (
            container(limits={"cpu": "4"}),
            {"maxLimitRequestRatio": {"cpu": "2"}},
            "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
        ),
    ],
)
def test_a_bound_is_explained_in_upstreams_words(given: dict[str, Any], limits: dict[str, Any], message: str) -> None:
    assert refused(pod(given), limit_range(**limits)) == message


def test_all_broken_bounds_are_named_together() -> None:
    given = container(requests={"cpu": "50m", "memory": "1Mi"})
    assert refused(pod(given), limit_range(min={"cpu": "100m", "memory": "1Gi"})) == (
        "[minimum cpu usage per Container is 100m, but request is 50m, "
        "minimum memory usage per Container is 1Gi, but request is 1Mi]"
    )


def test_a_pods_bound_counts_all_its_containers() -> None:
    two = [container(name, limits={"memory": "600Mi"}, requests={"memory": "1Mi"}) for name in "ab"]
    bound = limit_range("Pod", max={"memory": "1Gi"})
    assert refused(pod(*two), bound) == "maximum memory usage per Pod is 1Gi, but limit is 1200Mi"
    admit(pod(two[0]), bound)


def test_a_claim_is_held_to_its_bounds() -> None:
    claim = make("PersistentVolumeClaim", "c", "shop", spec={"resources": {"requests": {"storage": "5Gi"}}})
    with pytest.raises(Forbidden) as raised:
        admit(claim, limit_range("PersistentVolumeClaim", max={"storage": "2Gi"}))
    assert raised.value.message == (
        'persistentvolumeclaims "c" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 5Gi'
    )


def test_a_running_pod_is_not_judged_again() -> None:
    request = admission_request(World(limit_range(min={"cpu": "1"})), pod(), old=pod(), operation="UPDATE")
    LimitRanger().mutate(request)
    LimitRanger().validate(request)
    assert request.object == pod()
