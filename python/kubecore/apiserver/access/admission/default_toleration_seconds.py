"""DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or unreachable, unless it says
otherwise."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kubecore.apiserver.access.admission.refusal import is_pod
from kubecore.apiserver.registry.admission import AdmissionRequest, BasePlugin

TOLERATION_SECONDS = 300
TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DefaultTolerationSeconds(BasePlugin):
    name = "DefaultTolerationSeconds"

    def __init__(
        self, *, not_ready_seconds: int = TOLERATION_SECONDS, unreachable_seconds: int = TOLERATION_SECONDS
    ) -> None:
        """Upstream's --default-not-ready-toleration-seconds and --default-unreachable-toleration-seconds."""
        self._seconds = tuple(zip(TAINTS, (not_ready_seconds, unreachable_seconds), strict=True))

    def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None or not is_pod(request) or request.operation not in ("CREATE", "UPDATE"):
            return
        tolerations = pod["spec"].get("tolerations") or []
        added = [
            {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
            for taint, seconds in self._seconds
            if not _tolerates(tolerations, taint)
        ]
        if added:
            pod["spec"]["tolerations"] = [*tolerations, *added]


def _tolerates(tolerations: Iterable[dict[str, Any]], taint: str) -> bool:
    """Has something to say on eviction for this taint: by its key or for all, by its effect or for all."""
    return any(
        toleration.get("key", "") in ("", taint) and toleration.get("effect", "") in ("", "NoExecute")
        for toleration in tolerations
    )
