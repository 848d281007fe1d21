from __future__ import annotations

from typing import Any

import pytest

from kubecore.api.errors import Forbidden
from kubecore.api.meta import Object
from kubecore.apiserver.access.admission.runtime_class import RuntimeClass

from ..worlds import World, admission_request, make
from .pods import pod

TOLERATION = {"key": "sandbox", "operator": "Exists"}


def runtime_class(**fields: Any) -> Object:
    return make("RuntimeClass", "gvisor", api_version="node.k8s.io/v1", handler="runsc", **fields)


def admitted(obj: Object, *classes: Object) -> Object:
    request = admission_request(World(*classes), obj)
    RuntimeClass().mutate(request)
    RuntimeClass().validate(request)
    return obj["spec"]  # type: ignore[no-any-return]


def test_a_class_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(Forbidden) as raised:
        admitted(pod(runtimeClassName="gvisor"))
    assert raised.value.message == 'pods "web" is forbidden: pod rejected: RuntimeClass "gvisor" not found'


def test_a_pod_takes_the_overhead_of_its_class() -> None:
    overhead = {"cpu": "10m", "memory": "1Mi"}
    spec = admitted(pod(runtimeClassName="gvisor"), runtime_class(overhead={"podFixed": overhead}))
    assert spec["overhead"] == overhead


def test_a_pod_goes_where_its_class_runs() -> None:
    scheduling = {"nodeSelector": {"sandbox": "yes"}, "tolerations": [TOLERATION]}
    spec = admitted(pod(runtimeClassName="gvisor", nodeSelector={"zone": "a"}), runtime_class(scheduling=scheduling))
    assert spec["nodeSelector"] == {"zone": "a", "sandbox": "yes"}
    assert spec["tolerations"] == [TOLERATION]


def test_a_selector_that_contradicts_the_class_is_refused() -> None:
    scheduling = {"nodeSelector": {"sandbox": "yes"}}
    with pytest.raises(Forbidden, match=r"conflict: runtimeClass.scheduling.nodeSelector\[sandbox\] = yes"):
        admitted(pod(runtimeClassName="gvisor", nodeSelector={"sandbox": "no"}), runtime_class(scheduling=scheduling))


def test_an_overhead_of_ones_own_must_be_that_of_the_class() -> None:
    wanted = runtime_class(overhead={"podFixed": {"cpu": "1"}})
    admitted(pod(runtimeClassName="gvisor", overhead={"cpu": "1000m"}), wanted)
    with pytest.raises(Forbidden, match="Pod's Overhead doesn't match RuntimeClass's defined Overhead"):
        admitted(pod(runtimeClassName="gvisor", overhead={"cpu": "2"}), wanted)
    with pytest.raises(Forbidden, match="Pod Overhead set without corresponding RuntimeClass defined Overhead"):
        admitted(pod(overhead={"cpu": "2"}))
