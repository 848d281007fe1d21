"""NamespaceLifecycle: nothing is created where there is no namespace, or where it is going; three namespaces never go."""

from __future__ import annotations

from kubecore.api.errors import forbidden, not_found
from kubecore.api.scheme import core
from kubecore.apiserver.access.admission.refusal import refusal
from kubecore.apiserver.registry.admission import AdmissionRequest, BasePlugin

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
_REVIEW = "localsubjectaccessreviews"
"""One may ask about namespaces that are not there."""


class NamespaceLifecycle(BasePlugin):
    name = "NamespaceLifecycle"

    def mutate(self, request: AdmissionRequest) -> None:
        """Changes nothing; judges here, as upstream does, so that later plugins can rely on the namespace."""
        namespace, resource = request.namespace, request.resource
        if resource.plural == "namespaces" and not resource.group:
            if request.operation == "DELETE" and request.name in IMMORTAL and not request.subresource:
                raise forbidden("namespaces", "", request.name, "this namespace may not be deleted")
            return
        if not namespace or request.operation not in ("CREATE", "UPDATE") or resource.plural == _REVIEW:
            return
        found = request.storage.get(core("namespaces"), "", namespace)
        if found is None:
            raise not_found("namespaces", "", namespace)
        if request.operation != "CREATE" or found.get("status", {}).get("phase") != "Terminating":
            return
        error = refusal(
            request, f"unable to create new content in namespace {namespace} because it is being terminated"
        )
        error.details["causes"] = [
            {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
        ]
        raise error
