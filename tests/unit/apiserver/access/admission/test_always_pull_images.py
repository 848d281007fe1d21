from __future__ import annotations

import pytest

from kubecore.api.errors import Forbidden
from kubecore.apiserver.access.admission.always_pull_images import AlwaysPullImages

from ..worlds import World, admission_request
from .pods import container, pod


def test_every_container_pulls_always() -> None:
    obj = pod(container(imagePullPolicy="Never"), initContainers=[container("i", imagePullPolicy="IfNotPresent")])
    AlwaysPullImages().mutate(admission_request(World(), obj))
    spec = obj["spec"]
    assert [each["imagePullPolicy"] for each in (*spec["containers"], *spec["initContainers"])] == ["Always", "Always"]


def test_a_policy_that_somebody_changed_back_is_refused_with_its_path() -> None:
    obj = pod(container(imagePullPolicy="IfNotPresent"))
    with pytest.raises(Forbidden) as raised:
        AlwaysPullImages().validate(admission_request(World(), obj))
    assert raised.value.message == (
        'pods "web" is forbidden: spec.containers[0].imagePullPolicy: Unsupported value: "IfNotPresent": '
        'supported values: "Always"'
    )


def test_an_old_pod_can_be_updated_with_the_images_it_has() -> None:
    old = pod(container(imagePullPolicy="IfNotPresent"))
    new = pod(container(imagePullPolicy="IfNotPresent"), metadata={"labels": {"a": "b"}})
    AlwaysPullImages().validate(admission_request(World(), new, old=old, operation="UPDATE"))
    other = pod(container(imagePullPolicy="IfNotPresent", image="web:2"))
    with pytest.raises(Forbidden):
        AlwaysPullImages().validate(admission_request(World(), other, old=old, operation="UPDATE"))
