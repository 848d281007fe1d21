"""Client-side apply: the three-way merge, list by list."""

from __future__ import annotations

from typing import Any

from kubecore.api import schema
from kubecore.client.apply import LAST_APPLIED, last_applied_of, three_way, with_last_applied

POD = schema.of_kind("", "v1", "Pod")


def _containers(*containers: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"containers": list(containers)}}


def test_what_nobody_asked_for_is_left_alone() -> None:
    assert three_way({}, {"spec": {"a": 1}}, {"spec": {"a": 1, "defaulted": 2}}, None) == {}


def test_what_the_author_dropped_is_removed() -> None:
    last, wanted = {"data": {"a": "1", "b": "2"}}, {"data": {"a": "1"}}
    assert three_way(last, wanted, {"data": {"a": "1", "b": "2", "c": "3"}}, None) == {"data": {"b": None}}


def test_containers_merge_by_name() -> None:
    current = _containers({"name": "a", "image": "x:1", "terminationMessagePath": "/dev/termination-log"})
    patch = three_way({}, _containers({"name": "a", "image": "x:2"}), current, POD)
    assert patch == {
        "spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "a", "image": "x:2"}]}
    }


def test_a_container_that_the_author_dropped_is_deleted_by_its_name() -> None:
    both = _containers({"name": "a", "image": "x"}, {"name": "b", "image": "y"})
    patch = three_way(both, _containers({"name": "a", "image": "x"}), both, POD)
    assert patch["spec"]["containers"] == [{"name": "b", "$patch": "delete"}]


def test_finalizers_merge_as_a_set() -> None:
    last = {"metadata": {"finalizers": ["a/x", "a/y"]}}
    wanted = {"metadata": {"finalizers": ["a/y", "a/z"]}}
    current = {"metadata": {"finalizers": ["a/x", "a/y", "b/q"]}}
    assert three_way(last, wanted, current, POD) == {
        "metadata": {"finalizers": ["a/z"], "$deleteFromPrimitiveList/finalizers": ["a/x"]}
    }


def test_a_plain_list_is_replaced() -> None:
    current = _containers({"name": "a", "args": ["1", "2"]})
    patch = three_way({}, _containers({"name": "a", "args": ["2"]}), current, POD)
    assert patch["spec"]["containers"] == [{"name": "a", "args": ["2"]}]


def test_a_manifest_carries_itself_without_its_own_annotation() -> None:
    once = with_last_applied({"kind": "ConfigMap", "metadata": {"name": "a"}})
    assert last_applied_of(once) == {"kind": "ConfigMap", "metadata": {"name": "a", "annotations": {}}}
    assert (
        with_last_applied(once)["metadata"]["annotations"][LAST_APPLIED]
        == once["metadata"]["annotations"][LAST_APPLIED]
    )
