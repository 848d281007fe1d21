"""How a plugin says no: upstream's Forbidden about the object that is being admitted."""

from __future__ import annotations

from kubecore.api.errors import Forbidden, forbidden
from kubecore.apiserver.registry.admission import AdmissionRequest


def refusal(request: AdmissionRequest, why: str) -> Forbidden:
    """`pods "web" is forbidden: why`; an object without a name yet is called by its generateName."""
    name = request.name
    if not name:
        metadata = (request.object or {}).get("metadata", {})
        name = metadata.get("name") or metadata.get("generateName") or "Unknown"
    return forbidden(request.resource.plural, request.resource.group, name, why)


def is_resize(request: AdmissionRequest) -> bool:
    """A running pod asks for other resources: what holds for a new pod's holds for these."""
    return request.resource.plural == "pods" and request.subresource == "resize" and not request.resource.group


def is_pod(request: AdmissionRequest) -> bool:
    """The request is about a pod itself, not one of its subresources."""
    return request.resource.plural == "pods" and not request.subresource and not request.resource.group
