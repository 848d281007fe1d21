"""serviceaccounts/token: a TokenRequest is answered with a signed token and never stored."""

from __future__ import annotations

from typing import Any

from kubecore.api import errors
from kubecore.api import validation as v
from kubecore.api.meta import Object, timestamp
from kubecore.apiserver.registry import requests
from kubecore.apiserver.registry.answers import Result
from kubecore.apiserver.registry.environment import encode_json
from kubecore.apiserver.registry.request import Request

EXPIRATION_SECONDS_MIN = 600
EXPIRATION_SECONDS_MAX = 1 << 32
EXPIRATION_SECONDS_DEFAULT = 3600
_BINDABLE = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


def create(request: Request) -> Result:
    call, issuer = request.call, request.environment.token_issuer
    if issuer is None:
        raise errors.NotFound("the server could not find the requested resource")
    options = requests.write_options(call)
    asked = requests.read_object(call, "authentication.k8s.io", "v1", "TokenRequest", options, request.warnings)
    metadata = asked.get("metadata") or {}
    if metadata.get("name", call.name) != call.name:
        raise errors.BadRequest(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({call.name})"
        )
    if metadata.get("namespace", call.namespace) != call.namespace:
        raise errors.BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    account = request.store.get(call.namespace, call.name).object
    spec = asked.setdefault("spec", {})
    request.store.admit("CREATE", request.write(options), asked)
    expiration_seconds = spec.get("expirationSeconds") or EXPIRATION_SECONDS_DEFAULT
    _validate(call.name, expiration_seconds)
    bound = _bound_object(request, spec["boundObjectRef"]) if spec.get("boundObjectRef") else None
    now = request.environment.clock.now()
    audiences = list(spec.get("audiences") or issuer.api_audiences)
    token, expires = issuer.issue(
        service_account=account,
        audiences=audiences,
        expiration_seconds=expiration_seconds,
        bound_object=bound,
        now_seconds=now,
    )
    answered = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": call.name, "namespace": call.namespace, "creationTimestamp": timestamp(now)},
        "spec": {**spec, "audiences": audiences, "expirationSeconds": expiration_seconds},
        "status": {"token": token, "expirationTimestamp": timestamp(expires)},
    }
    return request.answer_other(encode_json(answered), 201)


def _validate(name: str, expiration_seconds: int) -> None:
    field = "spec.expirationSeconds"
    found: v.Errors = []
    if expiration_seconds < EXPIRATION_SECONDS_MIN:
        found.append(v.invalid_value(field, expiration_seconds, "may not specify a duration less than 10 minutes"))
    if expiration_seconds > EXPIRATION_SECONDS_MAX:
        found.append(v.invalid_value(field, expiration_seconds, "may not specify a duration larger than 2^32 seconds"))
    if found:
        raise v.to_status("TokenRequest", "authentication.k8s.io", name, found)


def _bound_object(request: Request, reference: dict[str, Any]) -> dict[str, Any]:
    """The Pod, Secret or Node that the token shall die with. Raises BadRequest, NotFound, Conflict."""
    kind, version = reference.get("kind", ""), reference.get("apiVersion", "")
    plural = _BINDABLE.get(kind) if version in ("v1", "") else None
    if plural is None:
        group, _, short = version.rpartition("/")
        raise errors.BadRequest(f"cannot bind token to object of type {group}/{short}, Kind={kind}")
    store = request.store_for("", "v1", plural)
    name = reference.get("name", "")
    obj: Object = store.get(request.call.namespace if store.resource.namespaced else "", name).object
    account = request.call.name
    if kind == "Pod" and obj["spec"].get("serviceAccountName", "") != account:
        raise errors.BadRequest(
            f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.'
        )
    uid = obj["metadata"]["uid"]
    if reference.get("uid") and reference["uid"] != uid:
        why = (
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise errors.conflict(plural, "", name, why)
    return {"kind": kind, "apiVersion": "v1", "name": name, "uid": uid}
