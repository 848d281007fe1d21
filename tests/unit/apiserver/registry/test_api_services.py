"""APIServices as the aggregator would keep them."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.registry import Api

from kubecore.api import scheme
from kubecore.apiserver.registry.api_services import ensure_api_services

SERVED = [("", ["v1"]), ("apps", ["v1"]), ("autoscaling", ["v2", "v1"]), ("metrics.k8s.io", ["v1beta1"])]


@pytest.fixture
def api() -> Api:
    return Api()


def _found(api: Api) -> dict[str, Any]:
    items = api.get("/apis/apiregistration.k8s.io/v1/apiservices").ok()["items"]
    return {item["metadata"]["name"]: item for item in items}


def test_each_served_version_has_one_and_is_available(api: Api) -> None:
    ensure_api_services(api.registry, SERVED)
    found = _found(api)
    assert set(found) == {"v1.", "v1.apps", "v2.autoscaling", "v1.autoscaling", "v1beta1.metrics.k8s.io"}
    metrics = found["v1beta1.metrics.k8s.io"]
    assert (metrics["spec"]["group"], metrics["spec"]["version"]) == ("metrics.k8s.io", "v1beta1")
    assert [(each["type"], each["status"], each["reason"]) for each in metrics["status"]["conditions"]] == [
        ("Available", "True", "Local")
    ]


def test_priorities_follow_the_order_of_discovery(api: Api) -> None:
    ensure_api_services(api.registry, SERVED)
    found = _found(api)
    priorities = [found[name]["spec"]["groupPriorityMinimum"] for name in ("v1.", "v1.apps", "v1beta1.metrics.k8s.io")]
    assert priorities == sorted(priorities, reverse=True)
    assert found["v2.autoscaling"]["spec"]["versionPriority"] > found["v1.autoscaling"]["spec"]["versionPriority"]


def test_a_version_that_is_served_no_more_goes_and_nothing_else_is_written_again(api: Api) -> None:
    ensure_api_services(api.registry, SERVED)
    before = {name: item["metadata"]["resourceVersion"] for name, item in _found(api).items()}
    ensure_api_services(api.registry, SERVED[:-1])
    after = {name: item["metadata"]["resourceVersion"] for name, item in _found(api).items()}
    assert after == {name: version for name, version in before.items() if name != "v1beta1.metrics.k8s.io"}


def test_all_that_the_fact_table_serves_fits(api: Api) -> None:
    groups = dict.fromkeys(resource.group for resource in scheme.resources())
    ensure_api_services(api.registry, [(group, ["v1"]) for group in groups])
    assert len(_found(api)) == len(groups)
