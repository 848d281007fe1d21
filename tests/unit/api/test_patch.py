"""Patches through the codec: applied, pruned, defaulted, and refused for the right reason."""

import json
from typing import Any, Literal

import pytest

from kubecore.api import codec

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "resourceVersion": "7", "labels": {"app": "web"}},
    "spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]},
}


def patched(body: Any, patch_type: Literal["json", "merge", "strategic"]) -> codec.Decoded:
    current, _ = codec.encode(POD)
    return codec.patch("", "v1", "Pod", current, json.dumps(body).encode(), patch_type=patch_type)


def images(decoded: codec.Decoded) -> dict[str, str]:
    return {container["name"]: container["image"] for container in decoded.object["spec"]["containers"]}


def test_a_strategic_patch_merges_containers_by_name() -> None:
    decoded = patched({"spec": {"containers": [{"name": "b", "image": "b:2"}]}}, "strategic")
    assert images(decoded) == {"a": "a:1", "b": "b:2"}


def test_a_merge_patch_replaces_the_list() -> None:
    decoded = patched({"spec": {"containers": [{"name": "b", "image": "b:2"}]}}, "merge")
    assert images(decoded) == {"b": "b:2"}


def test_a_json_patch_changes_one_place() -> None:
    decoded = patched([{"op": "replace", "path": "/spec/containers/0/image", "value": "a:2"}], "json")
    assert images(decoded) == {"a": "a:2", "b": "b:1"}


def test_what_a_patch_leaves_has_its_defaults() -> None:
    assert patched({"spec": {"nodeName": "n"}}, "merge").object["spec"]["restartPolicy"] == "Always"


def test_an_unknown_field_in_a_patch_is_dropped_and_told() -> None:
    decoded = patched({"spec": {"nodeNam": "n"}}, "strategic")
    assert "nodeNam" not in decoded.object["spec"]
    assert decoded.strict_errors == ['unknown field "spec.nodeNam"']


def test_a_failed_test_is_a_conflict_with_upstreams_words() -> None:
    with pytest.raises(codec.PatchConflict, match="testing value /metadata/name failed: test failed"):
        patched([{"op": "test", "path": "/metadata/name", "value": "other"}], "json")


def test_a_malformed_patch_is_a_decode_error() -> None:
    with pytest.raises(codec.DecodeError, match="does not contain declared merge key: name"):
        patched({"spec": {"containers": [{"image": "x"}]}}, "strategic")


def test_more_than_ten_thousand_operations_are_too_many() -> None:
    with pytest.raises(codec.PatchTooLarge, match="maximum operations in a JSON patch is 10000, got 10001"):
        patched([{"op": "test", "path": "/kind", "value": "Pod"}] * 10_001, "json")
