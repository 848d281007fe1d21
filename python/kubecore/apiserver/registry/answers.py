"""Turns what the registry decided into an answer in the form that the client asked for: JSON, YAML, Table, PartialObjectMetadata."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import yaml

from kubecore.api import codec
from kubecore.api.errors import NotAcceptable, StatusError
from kubecore.api.scheme import Resource
from kubecore.apiserver.registry import requests
from kubecore.apiserver.registry.call import Call
from kubecore.apiserver.registry.environment import decode_json, encode_json

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
WARNING_LENGTH_MAX = 4096
"""Bytes of warning headers in one answer; the rest is left out."""


@dataclass(slots=True)
class Result:
    """An answer before the wire adds the revision it waits for."""

    status: int
    body: bytes
    content_type: str = requests.JSON
    headers: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Form:
    """One media type of an Accept header."""

    media_type: str
    transform: Literal["", "Table", "PartialObjectMetadata"] = ""
    version: str = "v1"


PLAIN = Form(requests.JSON)
_TRANSFORMS = {"Table", "PartialObjectMetadata"}


def form_of(call: Call, *, tabular: bool) -> Form:
    """Raises NotAcceptable if nothing that the client accepts can be made. tabular: whether it can be shown as a table."""
    accept = requests.header(call, "accept")
    return PLAIN if not accept or accept == requests.JSON else _negotiate(accept, tabular=tabular)


@functools.lru_cache(maxsize=256)
def _negotiate(accept: str, *, tabular: bool) -> Form:
    for clause in accept.split(","):
        media_type, *parameters = (part.strip() for part in clause.split(";"))
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        if media_type in ("*/*", "application/*"):
            media_type = requests.JSON
        if media_type not in (requests.JSON, requests.YAML):
            continue
        transform = given.get("as", "")
        if not transform:
            return Form(media_type)
        known = given.get("g") == "meta.k8s.io" and given.get("v") in ("v1", "v1beta1")
        if transform in _TRANSFORMS and known and (tabular or transform != "Table"):
            return Form(media_type, cast(Any, transform), given["v"])
    accepted = f"{requests.JSON}, {requests.YAML}"
    raise NotAcceptable(f"only the following media types are accepted: {accepted}")


Printed = tuple[str, str, str]
"""(group, version, plural) whose columns a Table has."""


def of_object(
    call: Call,
    form: Form,
    status: int,
    value: bytes,
    *,
    printed_as: Printed | None,
    warnings: list[str],
    now_seconds: float,
) -> Result:
    """`value`: the complete JSON of an object of that resource (None: of a kind that is never transformed)."""
    if form.transform and printed_as is not None:
        if form.transform == "Table":
            include = requests.query(call, "includeObject") or "Metadata"
            value = codec.table(
                *printed_as,
                [value],
                now_seconds=now_seconds,
                include_object=cast(Any, include),
                table_version=form.version,
                resource_version=str(decode_json(value)["metadata"].get("resourceVersion", "")),
            )
        else:
            value = codec.partial_metadata(value, version=form.version)
    return _result(form, status, value, warnings)


def of_list(
    call: Call,
    form: Form,
    values: list[bytes],
    *,
    resource: Resource,
    kind: str,
    revision: int,
    warnings: list[str],
    now_seconds: float,
) -> Result:
    """A list of complete JSON objects."""
    if form.transform == "Table":
        include = requests.query(call, "includeObject") or "Metadata"
        body = codec.table(
            resource.group,
            resource.version,
            resource.plural,
            values,
            now_seconds=now_seconds,
            include_object=cast(Any, include),
            table_version=form.version,
            resource_version=str(revision),
        )
        return _result(form, 200, body, warnings)
    api_version = resource.api_version
    if form.transform:
        values = [codec.partial_metadata(value, version=form.version) for value in values]
        kind, api_version = "PartialObjectMetadataList", f"meta.k8s.io/{form.version}"
    head = f'{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{{"resourceVersion":"{revision}"}},"items":['
    return _result(form, 200, head.encode() + b",".join(values) + b"]}", warnings)


def of_status(call: Call, error: StatusError, warnings: list[str] | None = None) -> Result:
    """A refusal: YAML if the client asked for that, else JSON."""
    try:
        form = Form(form_of(call, tabular=True).media_type)
    except NotAcceptable:
        form = PLAIN
    result = _result(form, error.status_code, encode_json(error.to_status()), warnings or [])
    if (seconds := error.details.get("retryAfterSeconds")) is not None:
        result.headers.append(("retry-after", str(seconds)))
    return result


def success(details: dict[str, Any] | None = None, *, code: int | None = None) -> bytes:
    """A `v1.Status` of success."""
    status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details is not None:
        status["details"] = details
    if code is not None:
        status["code"] = code
    return encode_json(status)


def in_form(form: Form, value: Any) -> Result:
    """Something that is made when asked for, and is transformed already."""
    return _result(form, 200, encode_json(value), [])


def _result(form: Form, status: int, value: bytes, warnings: list[str]) -> Result:
    headers = [("warning", text) for text in _warning_headers(warnings)] if warnings else []
    if form.media_type == requests.YAML:
        text = yaml.dump(decode_json(value), Dumper=_DUMPER, sort_keys=True, allow_unicode=True)
        return Result(status, text.encode(), requests.YAML, headers)
    return Result(status, value, requests.JSON, headers)


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _warning_headers(warnings: list[str]) -> list[str]:
    """RFC 7234's form; equal ones once, cut at the bound."""
    headers: list[str] = []
    left = WARNING_LENGTH_MAX
    for text in dict.fromkeys(warnings):
        quoted = _CONTROL.sub(" ", text).replace("\\", "\\\\").replace('"', '\\"')
        left -= len(quoted)
        if left < 0:
            break
        headers.append(f'299 - "{quoted}"')
    return headers
