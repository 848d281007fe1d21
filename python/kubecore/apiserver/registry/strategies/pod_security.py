"""Validation of security contexts: of the pod and of its containers."""

from __future__ import annotations

import re
from typing import Any

from kubecore.api import validation as v

ID_MAX = 0xFFFFFFFF
_ID_RANGE = v.range_problem(0, ID_MAX)
_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL_PATTERN = rf"^({_SYSCTL_SEGMENT}[\./])*{_SYSCTL_SEGMENT}$"
_SYSCTL = re.compile(_SYSCTL_PATTERN)
SYSCTL_BYTES_MAX = 253
_SECCOMP = ("Localhost", "RuntimeDefault", "Unconfined")


def validate_container_security(context: dict[str, Any], at: str) -> v.Errors:
    errors = _validate_ids(context, at)
    escalates = context.get("allowPrivilegeEscalation")
    if escalates is False:
        if context.get("privileged"):
            detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            errors.append(v.invalid_value(at, context, detail))
        added = (context.get("capabilities") or {}).get("add") or ()
        if "CAP_SYS_ADMIN" in added:
            detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            errors.append(v.invalid_value(at, context, detail))
    mount = context.get("procMount")
    if mount not in (None, "Default", "Unmasked"):
        errors.append(v.unsupported(f"{at}.procMount", mount, ("Default", "Unmasked")))
    return errors


def validate_pod_security(context: dict[str, Any], at: str) -> v.Errors:
    errors = _validate_ids(context, at)
    if (group := context.get("fsGroup")) is not None and not 0 <= group <= ID_MAX:
        errors.append(v.invalid_value(f"{at}.fsGroup", group, _ID_RANGE))
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        if not 0 <= group <= ID_MAX:
            errors.append(v.invalid_value(f"{at}.supplementalGroups[{index}]", group, _ID_RANGE))
    policy = context.get("fsGroupChangePolicy")
    if policy not in (None, "Always", "OnRootMismatch"):
        errors.append(v.unsupported(f"{at}.fsGroupChangePolicy", policy, ("Always", "OnRootMismatch")))
    names: set[str] = set()
    for index, sysctl in enumerate(context.get("sysctls") or ()):
        name = sysctl.get("name")
        if not name:
            errors.append(v.required(f"{at}.sysctls[{index}].name"))
        elif len(name) > SYSCTL_BYTES_MAX or not _SYSCTL.fullmatch(name):
            detail = f"must have at most {SYSCTL_BYTES_MAX} characters and match regex {_SYSCTL_PATTERN}"
            errors.append(v.invalid_value(f"{at}.sysctls[{index}].name", name, detail))
        elif name in names:
            errors.append(v.duplicate(f"{at}.sysctls[{index}].name", name))
        names.add(name or "")
    return errors


def _validate_ids(context: dict[str, Any], at: str) -> v.Errors:
    errors = [
        v.invalid_value(f"{at}.{name}", context[name], _ID_RANGE)
        for name in ("runAsUser", "runAsGroup")
        if context.get(name) is not None and not 0 <= context[name] <= ID_MAX
    ]
    profile = context.get("seccompProfile")
    if profile is not None:
        errors += _validate_seccomp(profile, f"{at}.seccompProfile")
    return errors


def _validate_seccomp(profile: dict[str, Any], at: str) -> v.Errors:
    kind, local = profile.get("type"), profile.get("localhostProfile")
    if not kind:
        return [v.required(f"{at}.type", "type is required when seccompProfile is set")]
    if kind not in _SECCOMP:
        return [v.unsupported(f"{at}.type", kind, _SECCOMP)]
    if kind == "Localhost" and not local:
        return [v.required(f"{at}.localhostProfile", "must be set when seccomp type is Localhost ")]
    if kind != "Localhost" and local is not None:
        detail = "can only be set when seccomp type is Localhost"
        return [v.invalid_value(f"{at}.localhostProfile", local, detail)]
    return []
