"""Validation of probes and lifecycle hooks: exactly one handler each."""

from __future__ import annotations

from typing import Any

from kubecore.api import validation as v
from kubecore.apiserver.registry.strategies.shared import validate_not_negative, validate_port_or_name

_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def validate_lifecycle(lifecycle: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    for part in ("postStart", "preStop"):
        if (handler := lifecycle.get(part)) is not None:
            errors += _validate_handler(handler, f"{at}.{part}")
    return errors


def validate_probes(container: dict[str, Any], at: str) -> v.Errors:
    errors: v.Errors = []
    for part in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(part)
        if probe is None:
            continue
        path = f"{at}.{part}"
        errors += _validate_handler(probe, path)
        for name in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"):
            errors += validate_not_negative(f"{path}.{name}", probe.get(name, 0))
        grace = probe.get("terminationGracePeriodSeconds")
        if grace is not None and part == "readinessProbe":
            errors.append(
                v.invalid_value(f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
            )
        elif grace is not None and grace <= 0:
            errors.append(v.invalid_value(f"{path}.terminationGracePeriodSeconds", grace, v.POSITIVE))
        threshold = probe.get("successThreshold", 1)
        if part != "readinessProbe" and threshold != 1:
            errors.append(v.invalid_value(f"{path}.successThreshold", threshold, "must be 1"))
    return errors


def _validate_handler(handler: dict[str, Any], at: str) -> v.Errors:
    given = [name for name in _HANDLERS if handler.get(name) is not None]
    if not given:
        return [v.required(at, "must specify a handler type")]
    errors = [v.forbidden(f"{at}.{name}", "may not specify more than 1 handler type") for name in given[1:]]
    kind = given[0]
    action, path = handler[kind], f"{at}.{kind}"
    if kind == "exec":
        if not action.get("command"):
            errors.append(v.required(f"{path}.command"))
    elif kind == "httpGet":
        if not action.get("path"):
            errors.append(v.required(f"{path}.path"))
        errors += validate_port_or_name(f"{path}.port", action.get("port", 0))
        if action.get("scheme") not in ("HTTP", "HTTPS"):
            errors.append(v.unsupported(f"{path}.scheme", action.get("scheme", ""), ("HTTP", "HTTPS")))
        for header in action.get("httpHeaders") or ():
            errors += v.check(f"{path}.httpHeaders", header.get("name", ""), v.is_header_name)
    elif kind == "tcpSocket" or kind == "grpc":
        errors += validate_port_or_name(f"{path}.port", action.get("port", 0))
    elif action.get("seconds", 0) < 0:
        errors.append(v.invalid_value(path, action["seconds"], "must be non-negative"))
    return errors
