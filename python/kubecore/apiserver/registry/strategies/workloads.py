"""Kinds that make pods from a template: ReplicationController, ReplicaSet, Deployment, StatefulSet, DaemonSet, Job, CronJob,
PodTemplate. All need a template whose labels their selector selects, and most never change that selector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubecore.api import labels as selectors
from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry.environment import Write
from kubecore.apiserver.registry.metadata import validate_annotations
from kubecore.apiserver.registry.strategies import pod_spec, pod_warnings
from kubecore.apiserver.registry.strategies.shared import validate_immutable, validate_not_negative
from kubecore.apiserver.registry.strategy import Strategy

_MISMATCH = "`selector` does not match template `labels`"
_LEGACY_CONTROLLER_UID = "controller-uid"
_CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
_LEGACY_JOB_NAME = "job-name"
_JOB_NAME = "batch.kubernetes.io/job-name"


def validate_template(template: dict[str, Any], at: str, *, restart: tuple[str, ...] = ("Always",)) -> v.Errors:
    """restart: the policies that the kind allows its pods."""
    errors = validate_template_metadata(template, at)
    spec = template.get("spec") or {}
    errors += pod_spec.validate(spec, f"{at}.spec")
    policy = spec.get("restartPolicy")
    if policy in pod_spec.RESTART_POLICIES and policy not in restart:
        field = f"{at}.spec.restartPolicy"
        if len(restart) == 1:
            errors.append(v.unsupported(field, policy, restart))
        else:  # a Job's: the default is not among them, so it has to be said
            errors.append(v.required(field, "valid values: " + ", ".join(f'"{one}"' for one in restart)))
    if spec.get("ephemeralContainers"):
        errors.append(v.forbidden(f"{at}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"))
    return errors


def validate_template_metadata(template: dict[str, Any], at: str) -> v.Errors:
    metadata = template.get("metadata") or {}
    errors = selectors.validate_labels(metadata.get("labels") or {}, f"{at}.labels")
    if annotations := metadata.get("annotations"):
        errors += validate_annotations(annotations, f"{at}.annotations")
    return errors


def validate_selector_and_template(spec: dict[str, Any], *, empty_detail: str) -> v.Errors:
    """A `metav1.LabelSelector` that selects the template's pods. Without one nothing is selected, and that is told too."""
    selector, template = spec.get("selector"), spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels")
    mismatch = v.invalid_value("spec.template.metadata.labels", labels, _MISMATCH)
    if selector is None:
        return [v.required("spec.selector"), mismatch]
    errors = selectors.validate_selector(selector, "spec.selector")
    if selectors.is_empty(selector):
        errors.append(v.invalid_value("spec.selector", selector, empty_detail))
    elif not errors and not selectors.matches(selector, labels or {}):
        errors.append(mismatch)
    return errors


class TemplatedStrategy(Strategy):
    """A kind with `spec.template`."""

    def warnings(self, obj: Object) -> list[str]:
        template = (obj.get("spec") or {}).get("template") or {}
        return pod_warnings.of_spec(template.get("spec") or {}, "spec.template.spec")


class ReplicationControllerStrategy(TemplatedStrategy):
    def prepare_for_create(self, write: Write, obj: Object) -> None:
        super().prepare_for_create(write, obj)
        _default_selector(obj)

    def prepare_for_update(self, write: Write, new: Object, old: Object) -> None:
        super().prepare_for_update(write, new, old)
        _default_selector(new)

    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        errors = validate_not_negative("spec.minReadySeconds", spec.get("minReadySeconds", 0))
        selector, template = spec.get("selector") or {}, spec.get("template")
        if not selector:
            errors.append(v.required("spec.selector"))
        errors += validate_not_negative("spec.replicas", spec.get("replicas", 0))
        if template is None:
            return [*errors, v.required("spec.template")]
        labels = (template.get("metadata") or {}).get("labels") or {}
        if selector and not selectors.matches_simple(selector, labels):
            errors.append(v.invalid_value("spec.template.metadata.labels", labels, _MISMATCH))
        return errors + validate_template(template, "spec.template")

    def validate_status_update(self, new: Object, old: Object) -> v.Errors:
        return validate_counts(new.get("status") or {})


def _default_selector(obj: Object) -> None:
    """A controller without a selector selects its template's labels, and carries them itself."""
    spec = obj.get("spec") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if not labels:
        return
    if not spec.get("selector"):
        spec["selector"] = dict(labels)
    if not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = dict(labels)


class ReplicaSetStrategy(TemplatedStrategy):
    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        errors = validate_not_negative("spec.replicas", spec.get("replicas", 0))
        errors += validate_not_negative("spec.minReadySeconds", spec.get("minReadySeconds", 0))
        detail = "empty selector is invalid for deployment"
        errors += validate_selector_and_template(spec, empty_detail=detail)
        return errors + validate_template(spec.get("template") or {}, "spec.template")

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        return self.validate(new) + _same_selector(new, old)

    def validate_status_update(self, new: Object, old: Object) -> v.Errors:
        return validate_counts(new.get("status") or {})


def _same_selector(new: Object, old: Object) -> v.Errors:
    return validate_immutable("spec.selector", (new.get("spec") or {}).get("selector"), old["spec"].get("selector"))


class DeploymentStrategy(TemplatedStrategy):
    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        errors = validate_not_negative("spec.replicas", spec.get("replicas", 0))
        errors += validate_selector_and_template(spec, empty_detail="empty selector is invalid for deployment")
        errors += validate_template(spec.get("template") or {}, "spec.template")
        errors += _validate_deployment_strategy(spec.get("strategy") or {}, "spec.strategy")
        ready = spec.get("minReadySeconds", 0)
        errors += validate_not_negative("spec.minReadySeconds", ready)
        if (history := spec.get("revisionHistoryLimit")) is not None:
            errors += validate_not_negative("spec.revisionHistoryLimit", history)
        if (deadline := spec.get("progressDeadlineSeconds")) is not None:
            errors += validate_not_negative("spec.progressDeadlineSeconds", deadline)
            if deadline <= ready:
                detail = "must be greater than minReadySeconds"
                errors.append(v.invalid_value("spec.progressDeadlineSeconds", deadline, detail))
        return errors

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        return self.validate(new) + _same_selector(new, old)

    def validate_status_update(self, new: Object, old: Object) -> v.Errors:
        return validate_counts(new.get("status") or {})


def _validate_deployment_strategy(strategy: dict[str, Any], at: str) -> v.Errors:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind == "Recreate":
        if rolling is None:
            return []
        detail = "may not be specified when strategy `type` is 'Recreate'"
        return [v.forbidden(f"{at}.rollingUpdate", detail)]
    if kind != "RollingUpdate":
        return [v.unsupported(f"{at}.type", kind or "", ("Recreate", "RollingUpdate"))]
    if rolling is None:
        return [v.required(f"{at}.rollingUpdate", "this should be defaulted and never be nil")]
    path = f"{at}.rollingUpdate"
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    errors = validate_int_or_percent(f"{path}.maxUnavailable", unavailable)
    errors += validate_int_or_percent(f"{path}.maxSurge", surge)
    if not errors and _amount(unavailable) == 0 and _amount(surge) == 0:
        errors.append(v.invalid_value(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0"))
    if not errors and isinstance(unavailable, str) and _amount(unavailable) > 100:
        errors.append(v.invalid_value(f"{path}.maxUnavailable", unavailable, "must not be greater than 100%"))
    return errors


def validate_int_or_percent(field: str, value: Any) -> v.Errors:
    if isinstance(value, str):
        return v.check(field, value, v.is_percent)
    return validate_not_negative(field, value)


def _amount(value: Any) -> int:
    return int(value[:-1]) if isinstance(value, str) else int(value)


_COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "updatedReplicas")


def validate_counts(status: dict[str, Any]) -> v.Errors:
    """No count is negative, and none of a part exceeds the whole."""
    errors: v.Errors = []
    for name in (*_COUNTS, "observedGeneration", "unavailableReplicas"):
        errors += validate_not_negative(f"status.{name}", status.get(name, 0))
    total, ready = status.get("replicas", 0), status.get("readyReplicas", 0)
    for name in _COUNTS[1:]:
        if status.get(name, 0) > total:
            detail = "cannot be greater than status.replicas"
            errors.append(v.invalid_value(f"status.{name}", status.get(name, 0), detail))
    if status.get("availableReplicas", 0) > ready:
        detail = "cannot be greater than readyReplicas"
        errors.append(v.invalid_value("status.availableReplicas", status.get("availableReplicas", 0), detail))
    return errors


class StatefulSetStrategy(TemplatedStrategy):
    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        errors: v.Errors = []
        policy = spec.get("podManagementPolicy", "")
        known = ("OrderedReady", "Parallel")
        if policy not in known:
            detail = f"must be '{known[0]}' or '{known[1]}'"
            field = "spec.podManagementPolicy"
            errors.append(v.invalid_value(field, policy, detail) if policy else v.required(field))
        update = (spec.get("updateStrategy") or {}).get("type", "")
        if update not in ("RollingUpdate", "OnDelete"):
            field = "spec.updateStrategy"
            detail = "must be 'RollingUpdate' or 'OnDelete'"
            errors.append(v.invalid_value(field, spec.get("updateStrategy"), detail) if update else v.required(field))
        errors += validate_not_negative("spec.replicas", spec.get("replicas", 0))
        errors += validate_not_negative("spec.minReadySeconds", spec.get("minReadySeconds", 0))
        errors += validate_selector_and_template(spec, empty_detail="empty selector is invalid for statefulset")
        return errors + self._validate_template(spec.get("template") or {})

    def _validate_template(self, template: dict[str, Any]) -> v.Errors:
        """Its containers may mount volumes that only the claim templates will make: upstream looks at the pods, not here."""
        errors = validate_template_metadata(template, "spec.template")
        pod = template.get("spec") or {}
        policy = pod.get("restartPolicy", "")
        if policy != "Always":
            errors.append(v.unsupported("spec.template.spec.restartPolicy", policy, ("Always",)))
        if pod.get("activeDeadlineSeconds") is not None:
            field = "spec.template.spec.activeDeadlineSeconds"
            errors.append(v.forbidden(field, "activeDeadlineSeconds in StatefulSet is not Supported"))
        return errors

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        errors = self.validate(new)
        spec, before = new.get("spec") or {}, old["spec"]
        if any(spec.get(key) != before.get(key) for key in {*spec, *before} - _STATEFUL_SET_MUTABLE):
            listed = (
                "'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
                "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds'"
            )
            errors.append(
                v.forbidden("spec", f"updates to statefulset spec for fields other than {listed} are forbidden")
            )
        return errors


_STATEFUL_SET_MUTABLE = {
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
}


class DaemonSetStrategy(TemplatedStrategy):
    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        errors = validate_selector_and_template(spec, empty_detail="empty selector is invalid for daemonset")
        errors += validate_template(spec.get("template") or {}, "spec.template")
        errors += validate_not_negative("spec.minReadySeconds", spec.get("minReadySeconds", 0))
        update = (spec.get("updateStrategy") or {}).get("type", "")
        if update not in ("RollingUpdate", "OnDelete"):
            errors.append(v.unsupported("spec.updateStrategy.type", update, ("OnDelete", "RollingUpdate")))
        return errors

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        return self.validate(new) + _same_selector(new, old)


class JobStrategy(TemplatedStrategy):
    """A Job's selector is made from its uid, unless the client takes that upon itself."""

    def prepare_for_create(self, write: Write, obj: Object) -> None:
        super().prepare_for_create(write, obj)
        spec = obj.setdefault("spec", {})
        if spec.get("manualSelector"):
            return
        metadata = obj["metadata"]
        template = spec.setdefault("template", {})
        given = template.setdefault("metadata", {})
        made = {
            _CONTROLLER_UID: metadata["uid"],
            _JOB_NAME: metadata.get("name", ""),
            _LEGACY_CONTROLLER_UID: metadata["uid"],
            _LEGACY_JOB_NAME: metadata.get("name", ""),
        }
        given["labels"] = {**(given.get("labels") or {}), **made}
        selector = spec.setdefault("selector", {})
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), _CONTROLLER_UID: metadata["uid"]}

    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        return validate_job_spec(spec, "spec", has_selector=True)

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        errors = self.validate(new)
        spec, before = new.get("spec") or {}, old["spec"]
        for key in ("selector", "template", "completionMode", "podFailurePolicy"):
            errors += validate_immutable(f"spec.{key}", spec.get(key), before.get(key))
        if spec.get("completionMode") != "Indexed":
            errors += validate_immutable("spec.completions", spec.get("completions"), before.get("completions"))
        return errors


def validate_job_spec(spec: dict[str, Any], at: str, *, has_selector: bool) -> v.Errors:
    errors: v.Errors = []
    for key in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"):
        if spec.get(key) is not None:
            errors += validate_not_negative(f"{at}.{key}", spec[key])
    template = spec.get("template") or {}
    if has_selector:
        if not spec.get("selector"):
            errors.append(v.required(f"{at}.selector"))
        elif not selectors.matches(spec["selector"], (template.get("metadata") or {}).get("labels") or {}):
            labels = (template.get("metadata") or {}).get("labels") or {}
            errors.append(v.invalid_value(f"{at}.template.metadata.labels", labels, _MISMATCH))
    errors += validate_template(template, f"{at}.template", restart=("OnFailure", "Never"))
    return errors


class CronJobStrategy(Strategy):
    @staticmethod
    def name_shape(value: str) -> v.Problems:
        problems = v.is_dns1123_subdomain(value)
        return problems if problems or len(value) <= 52 else ("must be no more than 52 characters",)

    def validate(self, obj: Object) -> v.Errors:
        spec = obj.get("spec") or {}
        errors: v.Errors = []
        schedule = spec.get("schedule", "")
        if not schedule:
            errors.append(v.required("spec.schedule"))
        elif "TZ" in schedule:
            detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            errors.append(v.invalid_value("spec.schedule", schedule, detail))
        elif not schedule.startswith("@") and (count := len(schedule.split())) != 5:
            detail = f"expected exactly 5 fields, found {count}: [{' '.join(schedule.split())}]"
            errors.append(v.invalid_value("spec.schedule", schedule, detail))
        policy = spec.get("concurrencyPolicy", "")
        known = ("Allow", "Forbid", "Replace")
        if policy not in known:
            field = "spec.concurrencyPolicy"
            errors.append(v.unsupported(field, policy, known) if policy else v.required(field))
        for key in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
            if spec.get(key) is not None:
                errors += validate_not_negative(f"spec.{key}", spec[key])
        job = (spec.get("jobTemplate") or {}).get("spec") or {}
        return errors + validate_job_spec(job, "spec.jobTemplate.spec", has_selector=False)


class PodTemplateStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        return validate_template(obj.get("template") or {}, "template", restart=pod_spec.RESTART_POLICIES)


STRATEGIES: dict[tuple[str, str], Callable[..., Strategy]] = {
    ("", "replicationcontrollers"): ReplicationControllerStrategy,
    ("", "podtemplates"): PodTemplateStrategy,
    ("apps", "replicasets"): ReplicaSetStrategy,
    ("apps", "deployments"): DeploymentStrategy,
    ("apps", "statefulsets"): StatefulSetStrategy,
    ("apps", "daemonsets"): DaemonSetStrategy,
    ("batch", "jobs"): JobStrategy,
    ("batch", "cronjobs"): CronJobStrategy,
}
