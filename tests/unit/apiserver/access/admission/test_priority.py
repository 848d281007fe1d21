from __future__ import annotations

from typing import Any

import pytest

from kubecore.api.errors import Forbidden
from kubecore.api.meta import Object
from kubecore.apiserver.access.admission.priority import Priority

from ..worlds import World, admission_request, make
from .pods import pod


def priority_class(name: str, value: int, **fields: Any) -> Object:
    return make("PriorityClass", name, api_version="scheduling.k8s.io/v1", value=value, **fields)


HIGH = priority_class("high", 1000, preemptionPolicy="Never")


def admitted(obj: Object, *classes: Object) -> Object:
    Priority().mutate(admission_request(World(*classes), obj))
    return obj["spec"]  # type: ignore[no-any-return]


def test_a_pod_takes_the_value_and_policy_of_its_class() -> None:
    spec = admitted(pod(priorityClassName="high"), HIGH)
    assert (spec["priority"], spec["preemptionPolicy"]) == (1000, "Never")


def test_a_class_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(Forbidden) as raised:
        admitted(pod(priorityClassName="x"))
    assert raised.value.message == 'pods "web" is forbidden: no PriorityClass with name x was found'


def test_a_pod_without_a_class_has_priority_zero() -> None:
    spec = admitted(pod(), HIGH)
    assert (spec["priority"], spec["preemptionPolicy"]) == (0, "PreemptLowerPriority")
    assert "priorityClassName" not in spec


def test_a_pod_without_a_class_takes_the_default_class() -> None:
    spec = admitted(pod(), HIGH, priority_class("usual", 10, globalDefault=True))
    assert (spec["priorityClassName"], spec["priority"]) == ("usual", 10)


def test_a_priority_of_ones_own_is_refused() -> None:
    with pytest.raises(Forbidden, match=r"the integer value of priority \(5\) must not be provided in pod spec"):
        admitted(pod(priority=5, priorityClassName="high"), HIGH)


def test_only_one_class_can_be_the_default() -> None:
    world = World(priority_class("usual", 10, globalDefault=True))
    Priority().validate(admission_request(world, priority_class("usual", 10, globalDefault=True)))
    with pytest.raises(Forbidden) as raised:
        Priority().validate(admission_request(world, priority_class("other", 20, globalDefault=True)))
    assert raised.value.message == (
        'priorityclasses.scheduling.k8s.io "other" is forbidden: PriorityClass usual is already marked as default. '
        "Only one default can exist"
    )
