"""Priority: the name of a priority class becomes the pod's priority and preemption policy; one class at most is the
default."""

from __future__ import annotations

from kubecore.api import scheme
from kubecore.api.meta import Object, name_of
from kubecore.apiserver.access.admission.refusal import is_pod, refusal
from kubecore.apiserver.registry.admission import AdmissionRequest, BasePlugin, StorageReader

DEFAULT_POLICY = "PreemptLowerPriority"
NO_CLASS: Object = {"metadata": {"name": ""}, "value": 0}


class Priority(BasePlugin):
    name = "Priority"

    def mutate(self, request: AdmissionRequest) -> None:
        pod = request.object
        if request.operation != "CREATE" or pod is None or not is_pod(request):
            return
        spec = pod["spec"]
        name = spec.get("priorityClassName")
        if name:
            found = request.storage.get(_priority_classes(), "", name)
            if found is None:
                raise refusal(request, f"no PriorityClass with name {name} was found")
        else:
            found = default_class(request.storage)
            if name_of(found):
                spec["priorityClassName"] = name_of(found)
        value, policy = found.get("value", 0), found.get("preemptionPolicy") or DEFAULT_POLICY
        given = spec.get("priority")
        if given is not None and given != value:
            raise refusal(
                request,
                f"the integer value of priority ({given}) must not be provided in pod spec; priority admission "
                f"controller computed {value} from the given PriorityClass name",
            )
        given_policy = spec.get("preemptionPolicy")
        if given_policy is not None and given_policy != policy:
            raise refusal(
                request,
                f"the string value of PreemptionPolicy ({given_policy}) must not be provided in pod spec; priority "
                f"admission controller computed {policy} from the given PriorityClass name",
            )
        spec["priority"], spec["preemptionPolicy"] = value, policy

    def validate(self, request: AdmissionRequest) -> None:
        wanted = request.object
        if request.resource.plural != "priorityclasses" or wanted is None or not wanted.get("globalDefault"):
            return
        for other in request.storage.list(_priority_classes()):
            if other.get("globalDefault") and name_of(other) != name_of(wanted):
                raise refusal(
                    request,
                    f"PriorityClass {name_of(other)} is already marked as default. Only one default can exist",
                )


def _priority_classes() -> scheme.Resource:
    return scheme.resource("scheduling.k8s.io", "v1", "priorityclasses")


def default_class(storage: StorageReader) -> Object:
    """The class of pods that name none: of several defaults, which a race can leave, the one of lowest value."""
    defaults = [each for each in storage.list(_priority_classes()) if each.get("globalDefault")]
    return min(defaults, key=lambda each: int(each.get("value", 0)), default=NO_CLASS)
