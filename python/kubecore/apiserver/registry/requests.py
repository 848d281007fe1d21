"""Reads what a client sent: query parameters, bodies in JSON, YAML or protobuf, delete options.

In: a `Call`. Out: dictionaries and `StatusError`s in upstream's words.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from kubecore.api import codec
from kubecore.api import validation as v
from kubecore.api.errors import BadRequest, UnsupportedMediaType
from kubecore.api.meta import Object
from kubecore.apiserver.registry import yaml_body
from kubecore.apiserver.registry.call import Call
from kubecore.apiserver.registry.environment import decode_json

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
BODY_TYPES = (JSON, YAML, PROTOBUF)
PATCH_TYPES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
}
APPLY_TYPES = ("application/apply-patch+yaml", "application/apply-patch+cbor")

_DIRECTIVES = ("Ignore", "Strict", "Warn")
_POLICIES = ("Foreground", "Background", "Orphan")
FIELD_MANAGER_LENGTH_MAX = 128


@dataclass(slots=True)
class Options:
    """CreateOptions, UpdateOptions or PatchOptions."""

    dry_run: bool = False
    field_validation: str = "Warn"
    given: dict[str, Any] = field(default_factory=dict)
    """As admission sees them."""


_NO_OPTIONS_KIND = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}


def header(call: Call, name: str) -> str:
    """The first header of a lower-case name, or empty."""
    for key, value in call.headers:
        if key == name:
            return value
    return ""


def content_type(call: Call) -> str:
    return header(call, "content-type").partition(";")[0].strip().lower()


def query(call: Call, name: str) -> str:
    """The first value of a query parameter, or empty."""
    for key, value in call.query:
        if key == name:
            return value
    return ""


def write_options(call: Call) -> Options:
    """Raises Invalid if a parameter has a value that upstream does not know."""
    options = Options()
    if not call.query:
        return options
    errors: v.Errors = []
    dry_run: list[str] = []
    for key, value in call.query:
        if key == "dryRun":
            dry_run.append(value)
        elif key == "fieldValidation" and value:
            if value not in _DIRECTIVES:
                errors.append(v.unsupported("fieldValidation", value, _DIRECTIVES))
            options.field_validation = options.given["fieldValidation"] = value
        elif key == "fieldManager" and value:
            if len(value) > FIELD_MANAGER_LENGTH_MAX:
                errors.append(v.too_long("fieldManager", FIELD_MANAGER_LENGTH_MAX))
            if not value.isprintable():
                errors.append(v.invalid_value("fieldManager", value, "should only contain printable characters"))
            options.given["fieldManager"] = value
    errors[:0] = _dry_run_errors(dry_run)
    if errors:
        raise v.to_status(_NO_OPTIONS_KIND.get(call.verb, "CreateOptions"), "meta.k8s.io", "", errors)
    if dry_run:
        options.dry_run = True
        options.given["dryRun"] = dry_run
    return options


def _dry_run_errors(values: list[str]) -> v.Errors:
    return [v.unsupported("dryRun", values, ("All",))] if any(value != "All" for value in values) else []


def read_object(
    call: Call, group: str, version: str, kind: str, options: Options, warnings: list[str], *, defaults: bool = True
) -> Object:
    """The body as an object of that kind, pruned and defaulted. Unknown and duplicate fields are judged by
    fieldValidation. Raises BadRequest, UnsupportedMediaType."""
    media_type = content_type(call) or JSON
    body, strict_errors = call.body, list[str]()
    if media_type == YAML:
        body, strict_errors = yaml_body.to_json(body)
        media_type = JSON
    elif media_type not in BODY_TYPES:
        raise unsupported_media_type(BODY_TYPES)
    try:
        decoded = codec.decode(group, version, kind, body, media_type=media_type, defaults=defaults)
    except codec.DecodeError as error:
        raise BadRequest(str(error)) from error
    strict_errors += decoded.strict_errors
    if strict_errors:
        judge_strictness(strict_errors, options, warnings, kind, version)
    return decoded.object


def judge_strictness(errors: list[str], options: Options, warnings: list[str], kind: str, version: str) -> None:
    """Strict refuses, Warn warns, Ignore ignores."""
    if options.field_validation == "Warn":
        warnings.extend(error.replace("\n ", "") for error in errors)
    elif options.field_validation == "Strict":
        listed = ", ".join(errors)
        raise BadRequest(
            f'{kind} in version "{version}" cannot be handled as a {kind}: strict decoding error: {listed}'
        )


def unsupported_media_type(accepted: tuple[str, ...]) -> UnsupportedMediaType:
    listed = ", ".join(accepted)
    return UnsupportedMediaType(
        f"the body of the request was in an unknown format - accepted media types include: {listed}"
    )


# ───────────────────────────── delete options ─────────────────────────────

_TYPES: dict[str, type | tuple[type, ...]] = {
    "gracePeriodSeconds": int,
    "propagationPolicy": str,
    "orphanDependents": bool,
    "preconditions": dict,
    "dryRun": list,
}


def delete_options(call: Call) -> dict[str, Any]:
    """From the body, or from the query if there is none. Raises BadRequest, Invalid."""
    options = _delete_options_of_body(call) if call.body else _delete_options_of_query(call)
    check_delete_options(options)
    return options


def check_delete_options(options: dict[str, Any]) -> None:
    errors: v.Errors = []
    policy, orphan = options.get("propagationPolicy"), options.get("orphanDependents")
    if policy is not None and orphan is not None:
        detail = "orphanDependents and deletionPropagation cannot be both set"
        errors.append(v.invalid_value("propagationPolicy", policy, detail))
    elif policy is not None and policy not in _POLICIES:
        errors.append(v.unsupported("propagationPolicy", policy, (*_POLICIES, "nil")))
    errors += _dry_run_errors(options.get("dryRun") or [])
    if errors:
        raise v.to_status("DeleteOptions", "meta.k8s.io", "", errors)


def _delete_options_of_body(call: Call) -> dict[str, Any]:
    media_type = content_type(call) or JSON
    if media_type == PROTOBUF:
        try:
            return codec.decode("", "v1", "DeleteOptions", call.body, media_type=PROTOBUF).object
        except codec.DecodeError as error:
            raise BadRequest(str(error)) from error
    if media_type not in (JSON, YAML):
        raise unsupported_media_type(BODY_TYPES)
    try:
        options = decode_json(yaml_body.to_json(call.body)[0] if media_type == YAML else call.body)
    except msgspec.DecodeError as error:
        raise BadRequest(f"couldn't get version/kind; json parse error: {error}") from error
    if not isinstance(options, dict):
        raise BadRequest("couldn't get version/kind; json parse error: DeleteOptions is not an object")
    kind = options.get("kind")
    if kind not in (None, "", "DeleteOptions"):
        raise BadRequest("decoded object cannot be converted to DeleteOptions")
    for name, type_ in _TYPES.items():
        value = options.get(name)
        if value is not None and (not isinstance(value, type_) or (type_ is int and isinstance(value, bool))):
            raise BadRequest(f"DeleteOptions.{name}: unexpected value {v.show(value)}")
    return {name: value for name, value in options.items() if value is not None}


def _delete_options_of_query(call: Call) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for key, value in call.query:
        if key == "gracePeriodSeconds" and value:
            try:
                options[key] = int(value)
            except ValueError as error:
                raise BadRequest(f'strconv.ParseInt: parsing "{value}": invalid syntax') from error
        elif key == "propagationPolicy" and value:
            options[key] = value
        elif key == "orphanDependents" and value:
            options[key] = value.lower() in ("true", "1")
        elif key == "dryRun" and value:
            options.setdefault(key, []).append(value)
    return options
