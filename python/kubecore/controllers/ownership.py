"""Adopting what matches and nobody owns, releasing what matches no more."""

from __future__ import annotations

from kubecore.api import errors
from kubecore.api.meta import Object, namespace_of, uid_of
from kubecore.api.scheme import Resource
from kubecore.client import Request, requests
from kubecore.controllers.pods import owner_reference


def adoption(resource: Resource, obj: Object, owner: Object) -> Request:
    """Makes `owner` the controller of `obj`; the uid in the patch makes sure that it is still the same object."""
    patch = {"metadata": {"uid": uid_of(obj), "ownerReferences": [owner_reference(owner)]}}
    return requests.patch(resource, namespace_of(obj), obj["metadata"]["name"], patch, patch_type="strategic")


def release(resource: Resource, obj: Object, owner: Object) -> Request:
    """Takes the reference to `owner` away."""
    reference = {"$patch": "delete", "uid": uid_of(owner)}
    patch = {"metadata": {"uid": uid_of(obj), "ownerReferences": [reference]}}
    return requests.patch(resource, namespace_of(obj), obj["metadata"]["name"], patch, patch_type="strategic")


def is_namespace_terminating(failure: errors.StatusError) -> bool:
    """Whether a create was refused because its namespace is on its way out."""
    causes = failure.details.get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
