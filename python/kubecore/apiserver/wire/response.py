"""What Python answers to one request, before the wire adds the revision it waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from kubecore.api.errors import StatusError
from kubecore.apiserver.wire.door import Call

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
NO_SNIFFING = ("x-content-type-options", "nosniff")

encode_json = msgspec.json.Encoder().encode
decode_json = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    content_type: str = JSON
    headers: Sequence[tuple[str, str]] = ()


def of_json(value: Any, *, status: int = 200, headers: Sequence[tuple[str, str]] = ()) -> Response:
    return Response(status, encode_json(value), headers=headers)


def of_text(text: str, *, status: int = 200) -> Response:
    return Response(status, text.encode(), TEXT, (NO_SNIFFING,))


def of_status(error: StatusError) -> Response:
    """A refusal as `v1.Status`; its retryAfterSeconds is a header too."""
    seconds = error.details.get("retryAfterSeconds")
    headers = () if seconds is None else (("retry-after", str(seconds)),)
    return of_json(error.to_status(), status=error.status_code, headers=headers)


def page_not_found() -> Response:
    """Upstream's answer to a path that nobody serves."""
    return of_text("404 page not found\n", status=404)


def header(call: Call, name: str) -> str:
    """A request header's value, empty if absent."""
    return next((value for key, value in call.headers if key == name), "")


def query(call: Call, name: str) -> str | None:
    """A query parameter's first value."""
    return next((value for key, value in call.query if key == name), None)


def accepts(call: Call) -> list[tuple[str, dict[str, str]]]:
    """The Accept header's media types with their parameters, most wanted first. Empty: the client takes anything."""
    clauses: list[tuple[float, str, dict[str, str]]] = []
    for clause in filter(None, (part.strip() for part in header(call, "accept").split(","))):
        media_type, *parameters = (part.strip() for part in clause.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        try:
            quality = float(given.pop("q", "1"))
        except ValueError:
            quality = 0.0
        clauses.append((quality, media_type, given))
    clauses.sort(key=lambda clause: -clause[0])
    return [(media_type, given) for _, media_type, given in clauses]
