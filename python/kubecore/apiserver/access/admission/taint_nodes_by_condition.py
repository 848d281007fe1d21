"""TaintNodesByCondition: a new node starts not ready, so that nothing lands on it before it said that it is."""

from __future__ import annotations

from kubecore.apiserver.registry.admission import AdmissionRequest, BasePlugin

NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class TaintNodesByCondition(BasePlugin):
    name = "TaintNodesByCondition"

    def mutate(self, request: AdmissionRequest) -> None:
        node = request.object
        if request.operation != "CREATE" or request.resource.plural != "nodes" or request.subresource or node is None:
            return
        spec = node.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(
            taint.get("key") == NOT_READY["key"] and taint.get("effect") == NOT_READY["effect"] for taint in taints
        ):
            spec["taints"] = [*taints, dict(NOT_READY)]
