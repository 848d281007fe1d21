"""componentstatuses: read only, made when asked. Deprecated upstream, and still what `kubectl get cs` shows."""

from __future__ import annotations

from kubecore.api import errors
from kubecore.api.meta import Object
from kubecore.apiserver.registry import answers
from kubecore.apiserver.registry.answers import Result
from kubecore.apiserver.registry.environment import encode_json
from kubecore.apiserver.registry.request import Request
from kubecore.apiserver.storage.protocol import StorageError

ROW = ("", "componentstatuses")
STORAGE_NAME = "etcd-0"
"""The storage goes by upstream's name for it."""


def answer(request: Request) -> Result:
    """`get` and `list`; anything else is refused."""
    call = request.call
    request.warnings.append("v1 ComponentStatus is deprecated in v1.19+")
    status = _storage_status(request)
    if call.verb == "list":
        return answers.of_list(
            call,
            request.form,
            [encode_json(status)],
            resource=request.resource,
            kind="ComponentStatusList",
            revision=request.environment.storage.revision(),
            warnings=request.warnings,
            now_seconds=request.environment.clock.now(),
        )
    if call.verb != "get":
        raise errors.MethodNotAllowed(f'{call.verb} is not supported on resources of kind "componentstatuses"')
    if call.name != STORAGE_NAME:
        raise errors.not_found("componentstatuses", "", call.name)
    return request.answer(encode_json(status))


def _storage_status(request: Request) -> Object:
    condition = {"type": "Healthy", "status": "True", "message": "ok"}
    try:
        request.environment.storage.count("/registry/core/namespaces/")
    except StorageError as error:
        condition = {"type": "Healthy", "status": "False", "message": str(error)}
    return {
        "apiVersion": "v1",
        "kind": "ComponentStatus",
        "metadata": {"name": STORAGE_NAME},
        "conditions": [condition],
    }
