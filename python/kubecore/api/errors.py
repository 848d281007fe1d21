"""One exception for each Status reason.

    StatusError
    ├── BadRequest 400           ├── Conflict 409               ├── UnsupportedMediaType 415
    ├── Unauthorized 401         │   └── AlreadyExists 409      ├── Invalid 422
    ├── Forbidden 403            ├── Expired 410                ├── TooManyRequests 429
    ├── NotFound 404             ├── RequestEntityTooLarge 413  ├── InternalError 500
    ├── MethodNotAllowed 405                                    ├── ServiceUnavailable 503
    └── NotAcceptable 406                                       └── ServerTimeout 504

The server raises them and the wire writes them as a Status; the client reads a Status and raises them again.
Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar


class StatusError(Exception):
    """An answer of failure in Kubernetes' form."""

    reason: ClassVar[str] = "Unknown"
    code: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        code: int | None = None,
        reason: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = details or {}
        if retry_after_seconds is not None:
            self.details["retryAfterSeconds"] = retry_after_seconds
        self.status_code = code if code is not None else self.code
        self.status_reason = reason if reason is not None else self.reason

    def to_status(self) -> dict[str, Any]:
        """A `v1.Status`."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.status_reason,
        }
        if self.details:
            status["details"] = self.details
        status["code"] = self.status_code
        return status


class BadRequest(StatusError):
    reason, code = "BadRequest", 400


class Unauthorized(StatusError):
    reason, code = "Unauthorized", 401


class Forbidden(StatusError):
    reason, code = "Forbidden", 403


class NotFound(StatusError):
    reason, code = "NotFound", 404


class MethodNotAllowed(StatusError):
    reason, code = "MethodNotAllowed", 405


class NotAcceptable(StatusError):
    reason, code = "NotAcceptable", 406


class Conflict(StatusError):
    reason, code = "Conflict", 409


class AlreadyExists(Conflict):
    reason, code = "AlreadyExists", 409


class Expired(StatusError):
    reason, code = "Expired", 410


class RequestEntityTooLarge(StatusError):
    reason, code = "RequestEntityTooLarge", 413


class UnsupportedMediaType(StatusError):
    reason, code = "UnsupportedMediaType", 415


class Invalid(StatusError):
    """A well-formed object that breaks the rules of its kind; `details.causes` names each field."""

    reason, code = "Invalid", 422


class TooManyRequests(StatusError):
    reason, code = "TooManyRequests", 429


class InternalError(StatusError):
    reason, code = "InternalError", 500


class ServiceUnavailable(StatusError):
    reason, code = "ServiceUnavailable", 503


class ServerTimeout(StatusError):
    reason, code = "Timeout", 504


BY_REASON: dict[str, type[StatusError]] = {
    error.reason: error
    for error in (
        BadRequest,
        Unauthorized,
        Forbidden,
        NotFound,
        MethodNotAllowed,
        NotAcceptable,
        Conflict,
        AlreadyExists,
        Expired,
        RequestEntityTooLarge,
        UnsupportedMediaType,
        Invalid,
        TooManyRequests,
        InternalError,
        ServiceUnavailable,
        ServerTimeout,
    )
}


def from_status(status: dict[str, Any], *, code: int = 500) -> StatusError:
    """The exception that a `v1.Status` of failure stands for."""
    reason = status.get("reason") or "Unknown"
    error = BY_REASON.get(reason, StatusError)
    return error(
        status.get("message") or reason,
        details=status.get("details"),
        code=status.get("code") or code,
        reason=reason,
    )


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def _details(resource: str, group: str, name: str) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    details["kind"] = resource
    return details


def not_found(resource: str, group: str, name: str) -> NotFound:
    return NotFound(f'{_qualified(resource, group)} "{name}" not found', details=_details(resource, group, name))


def already_exists(resource: str, group: str, name: str) -> AlreadyExists:
    return AlreadyExists(
        f'{_qualified(resource, group)} "{name}" already exists', details=_details(resource, group, name)
    )


def conflict(resource: str, group: str, name: str, why: str) -> Conflict:
    return Conflict(
        f'Operation cannot be fulfilled on {_qualified(resource, group)} "{name}": {why}',
        details=_details(resource, group, name),
    )


def forbidden(resource: str, group: str, name: str, why: str) -> Forbidden:
    message = (
        f'{_qualified(resource, group)} "{name}" is forbidden: {why}'
        if name
        else (f"{_qualified(resource, group)} is forbidden: {why}")
    )
    return Forbidden(message, details=_details(resource, group, name))


def invalid(kind: str, group: str, name: str, causes: Iterable[dict[str, str]]) -> Invalid:
    """causes: `{reason, message, field}` as `FieldError.to_cause` gives them; at least one."""
    listed = list(causes)
    texts = [f"{cause['field']}: {cause['message']}" for cause in listed]
    text = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    details = _details(kind, group, name)
    details["causes"] = listed
    qualified = f"{kind}.{group}" if group else kind
    return Invalid(f'{qualified} "{name}" is invalid: {text}', details=details)
