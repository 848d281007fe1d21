"""ResourceQuota: a namespace never gets more than its quotas say.

The new usage is written in the same transaction as the object that uses it (a `Companion`), computed from the quota at
the applied head, under the mutation lock: two creates can't both take the last place. What deletions free, the quota
controller gives back.
"""

from __future__ import annotations

from kubecore.api import amounts
from kubecore.api.amounts import Amounts
from kubecore.api.meta import Object, name_of
from kubecore.api.quota_usage import (
    IGNORED,
    Evaluator,
    evaluator_for,
    in_scope,
    increase,
    unstated,
)
from kubecore.api.scheme import core
from kubecore.apiserver.access.admission.refusal import is_resize, refusal
from kubecore.apiserver.registry.admission import AdmissionRequest, BasePlugin, Companion


class ResourceQuota(BasePlugin):
    name = "ResourceQuota"

    def validate(self, request: AdmissionRequest) -> None:
        obj = request.object
        if obj is None or not request.namespace or request.resource.plural in IGNORED:
            return
        resized = is_resize(request)
        if request.subresource and not resized:
            return
        quotas = request.storage.list(core("resourcequotas"), request.namespace)
        if not quotas:
            return
        evaluator = evaluator_for(request.resource)
        if request.operation == "CREATE" or (request.operation == "UPDATE" and (evaluator.on_update or resized)):
            concerned = [quota for quota in quotas if self._check_stated(request, obj, quota, evaluator)]
            self._charge(request, obj, concerned, evaluator)

    def _check_stated(self, request: AdmissionRequest, obj: Object, quota: Object, evaluator: Evaluator) -> bool:
        """Whether the quota counts this object. Raises Forbidden if the object does not say what is to be counted."""
        status = quota.get("status") or {}
        names = [name for name in status.get("hard") or () if evaluator.counts(name)]
        if not names or not in_scope(quota, obj, is_pod=evaluator.is_pod):
            return False
        if evaluator.is_pod and (problem := unstated(obj, names)):
            raise refusal(request, f"failed quota: {name_of(quota)}: {problem}")
        used = status.get("used") or {}
        if any(name not in used for name in names):
            listed = ",".join(sorted(names))
            raise refusal(request, f"status unknown for quota: {name_of(quota)}, resources: {listed}")
        return True

    def _charge(self, request: AdmissionRequest, obj: Object, quotas: list[Object], evaluator: Evaluator) -> None:
        if not quotas:
            return
        usage = evaluator.usage(obj)
        if request.operation == "UPDATE" and request.old_object is not None:
            usage = increase(usage, evaluator.usage(request.old_object))
        for quota in quotas:
            hard, used = quota["status"]["hard"], quota["status"]["used"]
            requested = {name: amount for name, amount in usage.items() if name in hard}
            if not requested:
                continue
            after = amounts.add(used, requested)
            exceeded = amounts.exceeding({name: after[name] for name in requested}, hard)
            if exceeded:
                raise refusal(request, _exceeded(quota, requested, used, hard, exceeded))
            status = {**quota["status"], "used": after}
            request.companions.append(Companion(core("resourcequotas"), {**quota, "status": status}))


def _exceeded(quota: Object, requested: Amounts, used: Amounts, hard: Amounts, names: list[str]) -> str:
    return (
        f"exceeded quota: {name_of(quota)}, requested: {amounts.shown(requested, names)}, "
        f"used: {amounts.shown(used, names)}, limited: {amounts.shown(hard, names)}"
    )
