"""The verbs of a resource, each as `Request` → `Result`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubecore.api import codec, errors
from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry import answers, kinds, listing, metadata, requests
from kubecore.apiserver.registry.answers import Result
from kubecore.apiserver.registry.environment import Write, encode_json
from kubecore.apiserver.registry.request import Request
from kubecore.apiserver.storage.protocol import Stored

UNFITTING_PATCH = "the server rejected our request due to an error in our request"
"""All that upstream says of a JSON patch whose steps do not fit the object."""

Maker = Callable[[Stored, Object], Object]
"""See `generic.Make`."""


def create(request: Request) -> Result:
    options = requests.write_options(request.call)
    obj = request.read_object(options)
    value = request.store.create(request.write(options), obj)
    _say_if_not_acted_on(request)
    return request.answer(value, 201)


def update(request: Request) -> Result:
    call = request.call
    options = requests.write_options(call)

    def read() -> Object:
        obj = request.read_object(options)
        metadata.match_name(obj, call.name, call.namespace)
        return obj

    first = read()
    pending = [first]

    def make(stored: Stored, old: Object) -> Object:
        # The first attempt owns what was decoded; another needs a fresh one, because admission may have changed it.
        return pending.pop() if pending else read()

    value, created = request.store.create_or_update(request.write(options), make, lambda: pending.pop())
    _say_if_not_acted_on(request)
    return request.answer(value, 201 if created else 200)


def patch(request: Request) -> Result:
    options = requests.write_options(request.call)
    value, _ = request.store.update(request.write(options), _patch_maker(request, options))
    _say_if_not_acted_on(request)
    return request.answer(value)


def patch_type(request: Request) -> str:
    """json, merge or strategic. Raises UnsupportedMediaType."""
    media_type = requests.content_type(request.call)
    if media_type in requests.APPLY_TYPES:
        raise errors.UnsupportedMediaType(
            "server-side apply is not supported yet; accepted media types include: " + ", ".join(requests.PATCH_TYPES)
        )
    found = requests.PATCH_TYPES.get(media_type)
    if found is None:
        raise requests.unsupported_media_type(tuple(requests.PATCH_TYPES))
    return found


def _patch_maker(request: Request, options: requests.Options) -> Maker:
    """Applies the body to the stored object, in the version that the URL names."""
    call, resource, form = request.call, request.resource, patch_type(request)

    def make(stored: Stored, old: Object) -> Object:
        kind = (resource.group, resource.version, resource.kind)
        patched = apply_patch(kind, request.to_asked(stored.value), call.body, form, options, request.warnings)
        metadata.match_name(patched, call.name, call.namespace)
        return request.to_stored(patched)

    return make


def apply_patch(
    kind: tuple[str, str, str],
    current: bytes,
    body: bytes,
    form: Any,
    options: requests.Options,
    warnings: list[str],
) -> Object:
    """kind: group, version, kind. Raises BadRequest (not a patch), Invalid (a json patch that does not fit, fields unknown
    under Strict)."""
    try:
        decoded = codec.patch(*kind, current, body, patch_type=form)
    except codec.PatchConflict as error:
        raise errors.Invalid(UNFITTING_PATCH) from error
    except codec.PatchTooLarge as error:
        raise errors.RequestEntityTooLarge(str(error)) from error
    except codec.DecodeError as error:
        raise errors.BadRequest(str(error)) from error
    if decoded.strict_errors:
        if options.field_validation == "Strict":
            listed = ", ".join(decoded.strict_errors)
            text = body.decode("utf-8", "replace")
            raise v.to_status("", "", "", [v.invalid_value("patch", text, f"strict decoding error: {listed}")])
        requests.judge_strictness(decoded.strict_errors, options, warnings, kind[2], kind[1])
    return decoded.object


def delete(request: Request) -> Result:
    options = requests.delete_options(request.call)
    deletion = request.store.delete(_delete_write(request, options), options)
    resource = request.resource
    accepted = not deletion.gone and options.get("orphanDependents") is False
    if deletion.gone and not request.store.strategy.returns_deleted:
        details: dict[str, Any] = {"name": request.call.name}
        if resource.group:
            details["group"] = resource.group
        details |= {"kind": resource.plural, "uid": deletion.uid}
        return request.answer_other(answers.success(details))
    return request.answer(deletion.value, 202 if accepted else 200)


def _delete_write(request: Request, options: dict[str, Any], name: str | None = None, namespace: str = "") -> Write:
    return Write(
        user=request.user,
        subresource="",
        namespace=namespace or request.call.namespace,
        name=request.call.name if name is None else name,
        dry_run=bool(options.get("dryRun")),
        options=options,
        warnings=request.warnings,
    )


def delete_collection(request: Request) -> Result:
    options = requests.delete_options(request.call)
    matching, revision = _select(request)
    for stored in matching:
        found = stored.object["metadata"]
        write = _delete_write(request, options, found["name"], found.get("namespace", ""))
        try:
            request.store.delete(write, options)
        except errors.NotFound:
            continue  # gone meanwhile, which is what was asked for
    return _list_answer(request, matching, revision)


def get(request: Request) -> Result:
    return request.answer(request.store.get(request.call.namespace, request.call.name).value)


def list_(request: Request) -> Result:
    matching, revision = _select(request)
    return _list_answer(request, matching, revision)


def _select(request: Request) -> tuple[list[Stored], int]:
    return listing.select(
        request.environment.storage,
        request.resource,
        request.call.namespace if request.resource.namespaced else "",
        label_selector=requests.query(request.call, "labelSelector"),
        field_selector=requests.query(request.call, "fieldSelector"),
    )


def _list_answer(request: Request, matching: list[Stored], revision: int) -> Result:
    return answers.of_list(
        request.call,
        request.form,
        [request.to_asked(stored.value) for stored in matching],
        resource=request.resource,
        kind=f"{request.resource.kind}List",
        revision=revision,
        warnings=request.warnings,
        now_seconds=request.environment.clock.now(),
    )


def create_virtual(request: Request) -> Result:
    """A resource that is answered and never stored: reviews."""
    call, resource = request.call, request.resource
    options = requests.write_options(call)
    obj = requests.read_object(call, resource.group, resource.version, resource.kind, options, request.warnings)
    if resource.namespaced:
        metadata.match_namespace(resource, obj, call.namespace)
    answered = request.virtual[resource.group, resource.plural](request.user, resource, call.namespace, obj)
    return request.answer_other(encode_json(answered), 201)


def _say_if_not_acted_on(request: Request) -> None:
    """Nobody acts on this kind yet, and whoever writes it hears so."""
    if request.call.subresource:
        return
    text = kinds.NOT_ACTED_ON.get((request.resource.group, request.resource.plural))
    if text is not None:
        request.warnings.append(text)


VERBS: dict[str, Callable[[Request], Result]] = {
    "create": create,
    "update": update,
    "patch": patch,
    "delete": delete,
    "deletecollection": delete_collection,
    "get": get,
    "list": list_,
}
