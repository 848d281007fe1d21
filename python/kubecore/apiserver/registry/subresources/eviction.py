"""pods/eviction: a DELETE that disruption budgets may refuse.

Source: https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from __future__ import annotations

from typing import Any

from kubecore.api import errors, labels
from kubecore.api.meta import Object, labels_of
from kubecore.apiserver.registry import answers, requests
from kubecore.apiserver.registry.answers import Result
from kubecore.apiserver.registry.environment import Write
from kubecore.apiserver.registry.request import Request

DISRUPTED_PODS_MAX = 2000
"""Evictions that the disruption controller has not confirmed; beyond it, none is granted."""

_SUCCESS = answers.success(code=201)
_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."


def create(request: Request) -> Result:
    call = request.call
    options = requests.write_options(call)
    eviction = requests.read_object(call, "policy", "v1", "Eviction", options, request.warnings)
    if (eviction.get("metadata") or {}).get("name", "") != call.name:
        raise errors.BadRequest("name in URL does not match name in Eviction object")
    delete_options = _delete_options(eviction, options)
    write = request.write(options)
    write.dry_run = bool(delete_options.get("dryRun"))
    request.store.admit("CREATE", write, eviction)
    pod = request.store.get(call.namespace, call.name).object
    if not _ignores_budgets(pod):
        _spend_budget(request, write, pod)
    # A deletion is admitted as one: its subresource is gone.
    request.store.delete(
        Write(request.user, "", call.namespace, call.name, write.dry_run, delete_options, request.warnings),
        delete_options,
    )
    return request.answer_other(_SUCCESS, 201)


def _delete_options(eviction: Object, options: requests.Options) -> dict[str, Any]:
    given: dict[str, Any] = {**(eviction.get("deleteOptions") or {})}
    asked = options.given.get("dryRun")
    if asked and not given.get("dryRun"):
        given["dryRun"] = asked
    elif asked and given["dryRun"] != asked:
        raise errors.BadRequest(f"Non-matching dry-run options in request and content: {asked} and {given['dryRun']}")
    requests.check_delete_options(given)
    return given


def _ignores_budgets(pod: Object) -> bool:
    """It disrupts nothing: it never ran, or no longer does."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or "deletionTimestamp" in pod["metadata"]


def _spend_budget(request: Request, write: Write, pod: Object) -> None:
    """Raises TooManyRequests if the pod's budget allows no disruption now."""
    budgets = request.store_for("policy", "v1", "poddisruptionbudgets")
    matching = [
        budget
        for budget in request.environment.reader.list(budgets.resource, write.namespace)
        if not labels.is_empty(selector := (budget.get("spec") or {}).get("selector"))
        and labels.matches(selector, labels_of(pod))
    ]
    if not matching:
        return
    if len(matching) > 1:
        raise errors.StatusError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            reason="",
        )
    budget = matching[0]
    status = budget.get("status") or {}
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    always = (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
    if not _is_ready(pod) and (always or (healthy >= desired > 0)):
        return  # it does not count as healthy, so nothing is spent
    budget_write = Write(
        request.user, "status", write.namespace, budget["metadata"]["name"], write.dry_run, {}, request.warnings
    )
    now = request.environment.now()
    budgets.rewrite(budget_write, lambda stored: _decrement(stored, write.name, now))


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _decrement(budget: Object, pod_name: str, now: str) -> Object:
    name, status = budget["metadata"]["name"], budget.get("status") or {}
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _too_many(f"The disruption budget {name} is still being processed by the server.", 10)
    allowed = status.get("disruptionsAllowed", 0)
    disrupted = status.get("disruptedPods") or {}
    if allowed < 0:
        raise errors.forbidden("poddisruptionbudget", "policy", name, "pdb disruptions allowed is negative")
    if len(disrupted) > DISRUPTED_PODS_MAX:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise errors.forbidden("poddisruptionbudget", "policy", name, why)
    if allowed == 0:
        desired, current = status.get("desiredHealthy", 0), status.get("currentHealthy", 0)
        raise _too_many(f"The disruption budget {name} needs {desired} healthy pods and has {current} currently", 0)
    left = {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": {**disrupted, pod_name: now}}
    return {**budget, "status": left}


def _too_many(why: str, retry_after_seconds: int) -> errors.TooManyRequests:
    return errors.TooManyRequests(
        _REFUSED,
        details={"causes": [{"reason": "DisruptionBudget", "message": why}]},
        retry_after_seconds=retry_after_seconds or None,
    )
