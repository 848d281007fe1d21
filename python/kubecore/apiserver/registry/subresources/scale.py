"""/scale: how many replicas, as an `autoscaling/v1` Scale, for every kind that has them."""

from __future__ import annotations

from kubecore.api import labels
from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry import metadata, requests, verbs
from kubecore.apiserver.registry.answers import Result
from kubecore.apiserver.registry.environment import decode_json, encode_json
from kubecore.apiserver.registry.request import Request
from kubecore.apiserver.storage.protocol import Stored

SCALABLE = (
    ("", "replicationcontrollers"),
    ("apps", "deployments"),
    ("apps", "replicasets"),
    ("apps", "statefulsets"),
)
_GROUP, _VERSION, _KIND = "autoscaling", "v1", "Scale"
_PRINTED_AS = (_GROUP, _VERSION, "scales")


def answer(request: Request) -> Result:
    call = request.call
    if call.verb == "get":
        stored = request.store.get(call.namespace, call.name)
        return request.answer_other(encode_json(scale_of(stored.object)), printed_as=_PRINTED_AS)
    options = requests.write_options(call)
    make = _from_body(request, options) if call.verb == "update" else _from_patch(request, options)
    value, _ = request.store.update(request.write(options), make)
    return request.answer_other(encode_json(scale_of(decode_json(value))), printed_as=_PRINTED_AS)


def scale_of(obj: Object) -> Object:
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = spec.get("selector")
    scaled: Object = {"replicas": status.get("replicas", 0)}
    if selector:
        plain = "matchLabels" not in selector and "matchExpressions" not in selector
        scaled["selector"] = labels.to_text({"matchLabels": selector} if plain else selector)
    return {
        "kind": _KIND,
        "apiVersion": f"{_GROUP}/{_VERSION}",
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"replicas": spec.get("replicas", 0)} if spec.get("replicas", 0) else {},
        "status": scaled,
    }


def _from_body(request: Request, options: requests.Options) -> verbs.Maker:
    call = request.call
    scale = requests.read_object(call, _GROUP, _VERSION, _KIND, options, request.warnings)
    metadata.match_name(scale, call.name, call.namespace)
    return lambda stored, old: _scaled(old, scale)


def _from_patch(request: Request, options: requests.Options) -> verbs.Maker:
    call = request.call
    patch_type = verbs.patch_type(request)

    def make(stored: Stored, old: Object) -> Object:
        current = encode_json(scale_of(old))
        scale = verbs.apply_patch((_GROUP, _VERSION, _KIND), current, call.body, patch_type, options, request.warnings)
        metadata.match_name(scale, call.name, call.namespace)
        return _scaled(old, scale)

    return make


def _scaled(old: Object, scale: Object) -> Object:
    """The object with the Scale's replicas, and the version that the Scale was read at."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    given = scale.get("metadata") or {}
    if replicas < 0:
        error = v.invalid_value("spec.replicas", replicas, v.NOT_NEGATIVE)
        raise v.to_status(_KIND, _GROUP, given.get("name", ""), [error])
    meta = {**old["metadata"], "resourceVersion": given.get("resourceVersion", "")}
    if given.get("uid"):
        meta["uid"] = given["uid"]
    return {**old, "metadata": meta, "spec": {**old["spec"], "replicas": replicas}}
