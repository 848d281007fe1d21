"""ConfigMaps and Secrets: key names, total size, what a secret's type requires, and what `immutable` freezes."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any

from kubecore.api import validation as v
from kubecore.api.meta import Object
from kubecore.apiserver.registry.environment import Write
from kubecore.apiserver.registry.strategies.shared import validate_immutable
from kubecore.apiserver.registry.strategy import Strategy

SIZE_BYTES_MAX = 1024 * 1024
"""Of all values together."""

SERVICE_ACCOUNT_NAME = "kubernetes.io/service-account.name"

REQUIRED_KEYS: dict[str, tuple[str, ...]] = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
"""Secret type → keys that its data must have."""
_JSON_KEYS = (".dockercfg", ".dockerconfigjson")


def _size_of_text(data: dict[str, str]) -> int:
    return sum(len(value.encode()) for value in data.values())


def _size_of_base64(data: dict[str, str | None]) -> int:
    """Of what it stands for; null is nothing."""
    return sum(len(value) * 3 // 4 - value.count("=", -2) for value in data.values() if value)


def _frozen(new: Object, old: Object, parts: tuple[str, ...]) -> v.Errors:
    """Once immutable, for ever so."""
    if not old.get("immutable"):
        return []
    errors: v.Errors = []
    if not new.get("immutable"):
        errors.append(v.forbidden("immutable", "field is immutable when `immutable` is set"))
    errors += [
        v.forbidden(part, "field is immutable when `immutable` is set")
        for part in parts
        if (new.get(part) or {}) != (old.get(part) or {})
    ]
    return errors


class ConfigMapStrategy(Strategy):
    def validate(self, obj: Object) -> v.Errors:
        data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
        errors: v.Errors = []
        for key in data:
            errors += v.check(f"data[{key}]", key, v.is_config_key)
            if key in binary:
                errors.append(v.invalid_value(f"data[{key}]", key, f"duplicate of key present in binaryData: {key}"))
        for key in binary:
            errors += v.check(f"binaryData[{key}]", key, v.is_config_key)
        if _size_of_text(data) + _size_of_base64(binary) > SIZE_BYTES_MAX:
            errors.append(v.too_long("", SIZE_BYTES_MAX))
        return errors

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        return _frozen(new, old, ("data", "binaryData")) + self.validate(new)


class SecretStrategy(Strategy):
    def prepare_for_create(self, write: Write, obj: Object) -> None:
        super().prepare_for_create(write, obj)
        _fold_string_data(obj)

    def prepare_for_update(self, write: Write, new: Object, old: Object) -> None:
        super().prepare_for_update(write, new, old)
        _fold_string_data(new)
        if not new.get("type"):
            new["type"] = old.get("type", "Opaque")

    def validate(self, obj: Object) -> v.Errors:
        data: dict[str, str | None] = obj.get("data") or {}
        kind = obj.get("type", "")
        errors: v.Errors = []
        for key in data:
            errors += v.check(f"data[{key}]", key, v.is_config_key)
        if _size_of_base64(data) > SIZE_BYTES_MAX:
            errors.append(v.too_long("data", SIZE_BYTES_MAX))
        for key in REQUIRED_KEYS.get(kind, ()):
            if key not in data:
                errors.append(v.required(f"data[{key}]"))
            elif key in _JSON_KEYS and (problem := _json_problem(data[key] or "")):
                errors.append(v.invalid_value(f"data[{key}]", "<secret contents redacted>", problem))
        if kind == "kubernetes.io/basic-auth" and not ("username" in data or "password" in data):
            errors += [v.required(f"data[{key}]") for key in ("username", "password")]
        if kind == "kubernetes.io/service-account-token":
            annotations = obj["metadata"].get("annotations") or {}
            if not annotations.get(SERVICE_ACCOUNT_NAME):
                errors.append(v.required(f"metadata.annotations[{SERVICE_ACCOUNT_NAME}]"))
        return errors

    def validate_update(self, new: Object, old: Object) -> v.Errors:
        errors = validate_immutable("type", new.get("type"), old.get("type"))
        return errors + _frozen(new, old, ("data",)) + self.validate(new)


def _fold_string_data(obj: Object) -> None:
    """`stringData` is write-only: its values become data."""
    given: dict[str, str] | None = obj.pop("stringData", None)
    if given:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in given.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}


def _json_problem(value: str) -> str:
    try:
        json.loads(base64.b64decode(value))
    except (ValueError, binascii.Error) as error:
        return str(error)
    return ""


class ServiceAccountStrategy(Strategy):
    def prepare_for_create(self, write: Write, obj: Object) -> None:
        super().prepare_for_create(write, obj)
        _only_names(obj)

    def prepare_for_update(self, write: Write, new: Object, old: Object) -> None:
        super().prepare_for_update(write, new, old)
        _only_names(new)


def _only_names(obj: Object) -> None:
    """References to secrets keep nothing but the name."""
    if secrets := obj.get("secrets"):
        kept: list[dict[str, Any]] = [{"name": secret["name"]} for secret in secrets if secret.get("name")]
        obj["secrets"] = kept


STRATEGIES: dict[tuple[str, str], Callable[..., Strategy]] = {
    ("", "configmaps"): ConfigMapStrategy,
    ("", "secrets"): SecretStrategy,
    ("", "serviceaccounts"): ServiceAccountStrategy,
}
