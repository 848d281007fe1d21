"""The object crate through its Python door: bodies to dictionaries and dictionaries to bytes."""

from __future__ import annotations

import json

import pytest

from kubecore.api import codec, scheme

POD = ("", "v1", "Pod")


def decode(kind: tuple[str, str, str], body: object, **options: bool) -> codec.Decoded:
    return codec.decode(*kind, json.dumps(body).encode(), **options)


def test_the_fact_table_lists_every_resource_of_the_minor() -> None:
    rows = scheme.resources()
    assert len(rows) == 90
    assert sum(len(row.subresources) for row in rows) == 52
    pods = scheme.core("pods")
    assert pods.short_names == ("po",)
    assert pods.categories == ("all",)
    assert {"binding", "eviction", "exec", "log", "status"} <= {sub.name for sub in pods.subresources}


def test_alpha_and_beta_versions_are_not_served_by_default() -> None:
    assert {row.version for row in scheme.resources() if row.served} == {"v1", "v2"}


def test_versions_of_one_resource_share_one_place_in_the_store() -> None:
    v1 = scheme.resource("autoscaling", "v1", "horizontalpodautoscalers")
    v2 = scheme.resource("autoscaling", "v2", "horizontalpodautoscalers")
    assert v1.key("default", "web") == v2.key("default", "web")
    events = scheme.resource("events.k8s.io", "v1", "events")
    assert events.key("default", "x") == scheme.core("events").key("default", "x")


def test_a_body_becomes_a_pruned_and_defaulted_dictionary() -> None:
    decoded = decode(POD, {"metadata": {"name": "x"}, "spec": {"foo": 1, "containers": [{"name": "c", "image": "i"}]}})
    assert decoded.strict_errors == ['unknown field "spec.foo"']
    assert decoded.object["apiVersion"] == "v1"
    assert "foo" not in decoded.object["spec"]
    assert decoded.object["spec"]["restartPolicy"] == "Always"
    assert decoded.object["spec"]["containers"][0]["imagePullPolicy"] == "Always"


def test_defaults_can_be_left_out() -> None:
    decoded = decode(POD, {"spec": {"containers": []}}, defaults=False)
    assert decoded.object["spec"] == {"containers": []}


def test_a_bad_body_raises_upstreams_message() -> None:
    with pytest.raises(codec.DecodeError) as raised:
        decode(("apps", "v1", "Deployment"), {"spec": {"replicas": "three"}})
    assert str(raised.value) == (
        'Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct '
        "field DeploymentSpec.spec.replicas of type int32"
    )


def test_a_protobuf_body_is_the_same_object() -> None:
    name = b"\x0a\x03web"
    deployment = b"\x0a" + bytes([len(name)]) + name + b"\x12\x02\x08\x00"
    meta = b"\x0a\x07apps/v1\x12\x0aDeployment"
    body = b"k8s\0\x0a" + bytes([len(meta)]) + meta + b"\x12" + bytes([len(deployment)]) + deployment
    kind = ("apps", "v1", "Deployment")
    ours = codec.decode(*kind, body, media_type="application/vnd.kubernetes.protobuf")
    theirs = decode(kind, {"metadata": {"name": "web"}, "spec": {"replicas": 0}})
    assert ours.object == theirs.object
    assert ours.object["spec"]["replicas"] == 0


def test_protobuf_needs_its_prefix() -> None:
    with pytest.raises(codec.DecodeError, match=r"expected prefix \[107 56 115 0\]"):
        codec.decode(*POD, b"{}", media_type="application/vnd.kubernetes.protobuf")


def test_default_gives_a_new_object() -> None:
    given = {"kind": "Service", "apiVersion": "v1", "spec": {"ports": [{"port": 80}]}}
    made = codec.default("", "v1", "Service", given)
    assert made["spec"]["ports"] == [{"protocol": "TCP", "port": 80, "targetPort": 80}]
    assert given["spec"] == {"ports": [{"port": 80}]}


def test_encoding_puts_the_revision_where_the_store_expects_it() -> None:
    obj = {"spec": {"é": [1, 1.5, None, True, 'a"\n']}, "metadata": {"name": "x", "resourceVersion": "7"}, "kind": "K"}
    body, splice = codec.encode({**obj, "apiVersion": "v1"})
    assert body.startswith(b'{"apiVersion":"v1","kind":"K","metadata":{"resourceVersion":"","name":"x"}')
    spliced = json.loads(body[:splice] + b"42" + body[splice:])
    assert spliced == {**obj, "apiVersion": "v1", "metadata": {"name": "x", "resourceVersion": "42"}}


def test_encoding_refuses_what_json_cannot_say() -> None:
    with pytest.raises(ValueError, match="no such number"):
        codec.encode({"a": float("nan")})
    with pytest.raises(TypeError, match="JSON has no set"):
        codec.encode({"a": {1}})
    with pytest.raises(TypeError, match="keys are strings"):
        codec.encode({"a": {1: 2}})


def test_an_object_that_holds_itself_is_refused() -> None:
    endless: dict[str, object] = {}
    endless["again"] = endless
    with pytest.raises(RecursionError):
        codec.encode(endless)
