"""What is made of encoded objects: tables, metadata alone, other versions, OpenAPI."""

import json
from typing import Any

import pytest

from kubecore.api import codec

POD = json.dumps(
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "a"}], "nodeName": "n1"},
        "status": {"phase": "Running"},
    }
).encode()
NOW_SECONDS = 1_767_225_600.0 + 90


def test_a_table_shows_what_kubectl_prints() -> None:
    table: dict[str, Any] = json.loads(codec.table("", "v1", "pods", [POD], now_seconds=NOW_SECONDS, remaining=3))
    titles = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    assert titles == ["Name", "Ready", "Status", "Restarts", "Age"]
    assert table["rows"][0]["cells"][:5] == ["web", "0/1", "Running", "0", "90s"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert table["metadata"] == {"resourceVersion": "7", "remainingItemCount": 3}


def test_a_table_in_the_old_version_says_so() -> None:
    table = json.loads(codec.table("", "v1", "pods", [POD], now_seconds=0, table_version="v1beta1"))
    assert table["apiVersion"] == "meta.k8s.io/v1beta1"
    assert table["rows"][0]["object"]["apiVersion"] == "meta.k8s.io/v1beta1"


def test_partial_metadata_has_no_spec() -> None:
    partial = json.loads(codec.partial_metadata(POD))
    assert sorted(partial) == ["apiVersion", "kind", "metadata"]
    assert partial["metadata"]["name"] == "web"


def test_an_event_is_read_in_the_other_group() -> None:
    event = (
        b'{"apiVersion":"v1","kind":"Event","metadata":{"name":"e"},"message":"hello","involvedObject":{"kind":"Pod"}}'
    )
    converted = json.loads(codec.convert(event, "events.k8s.io", "v1"))
    assert (converted["apiVersion"], converted["note"], converted["regarding"]) == (
        "events.k8s.io/v1",
        "hello",
        {"kind": "Pod"},
    )


def test_every_served_group_version_has_an_openapi_document() -> None:
    served = {(row["group"], row["version"]) for row in json.loads(codec.resources()) if row["served"]}
    paths = dict(codec.openapi_v3_paths())
    assert {f"apis/{group}/{version}" if group else f"api/{version}" for group, version in served} == set(paths)
    for group, version in served:
        assert json.loads(codec.openapi_v3(group, version))["openapi"] == "3.0.0"
    with pytest.raises(KeyError):
        codec.openapi_v3("example.com", "v1")


def test_the_second_openapi_version_is_there_in_json_and_protobuf() -> None:
    assert json.loads(codec.openapi_v2())["swagger"] == "2.0"
    assert codec.openapi_v2_protobuf().startswith(b"\n\x032.0")
