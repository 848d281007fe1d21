"""`/openapi/v2` and `/openapi/v3`: the documents that the object crate makes from the fact table, with caching headers.

Source: https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-interface-definition
"""

from __future__ import annotations

import functools
import hashlib

from kubecore.api import codec
from kubecore.api.errors import NotAcceptable
from kubecore.apiserver.wire.door import Call
from kubecore.apiserver.wire.response import JSON, Response, accepts, encode_json, header, query

V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
_V2_PROTOBUF_ASKED = {V2_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}
_ANYTHING = {JSON, "application/*", "*/*"}
_V2, _V3 = "/openapi/v2", "/openapi/v3"


class OpenApi:
    """Documents are made when first asked for."""

    def paths(self) -> list[str]:
        return [_V2, _V3, *(f"{_V3}/{path}" for path in _hashes())]

    def answer(self, call: Call) -> Response | None:
        """None: no document of that name."""
        path = call.path.rstrip("/")
        if path == _V2:
            return _answer_v2(call)
        if path == _V3:
            return _cached(call, _index(), JSON)
        document = path.removeprefix(f"{_V3}/")
        return _answer_v3(call, document) if path != document and document in _hashes() else None


def _answer_v2(call: Call) -> Response:
    wanted = [media_type for media_type, _ in accepts(call)] or [JSON]
    for media_type in wanted:
        if media_type in _V2_PROTOBUF_ASKED:
            return _cached(call, _v2(protobuf=True), V2_PROTOBUF)
        if media_type in _ANYTHING:
            return _cached(call, _v2(protobuf=False), JSON)
    raise NotAcceptable(f"only the following media types are accepted: {JSON}, {V2_PROTOBUF}")


def _answer_v3(call: Call, document: str) -> Response:
    wanted = [media_type for media_type, _ in accepts(call)] or [JSON]
    if not _ANYTHING.intersection(wanted):
        raise NotAcceptable(f"only the following media types are accepted: {JSON}")
    current, asked = _hashes()[document], query(call, "hash")
    if asked is not None and asked != current:
        return Response(301, b"", "", (("location", _url(document)),))
    # A URL with the right hash names this very document for ever.
    forever = (("cache-control", "public, immutable"), ("expires", "Fri, 31 Dec 2100 00:00:00 GMT")) if asked else ()
    return _cached(call, _v3(document), JSON, forever)


def _cached(call: Call, body: bytes, content_type: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    etag = f'"{hashlib.sha512(body).hexdigest().upper()}"'
    headers = (("etag", etag), ("vary", "Accept"), *headers)
    if header(call, "if-none-match") == etag:
        return Response(304, b"", "", headers)
    return Response(200, body, content_type, headers)


@functools.cache
def _v2(*, protobuf: bool) -> bytes:
    return codec.openapi_v2_protobuf() if protobuf else codec.openapi_v2()


@functools.cache
def _hashes() -> dict[str, str]:
    """Document path, such as `apis/apps/v1`, → hash."""
    return dict(codec.openapi_v3_paths())


@functools.lru_cache(maxsize=64)
def _v3(document: str) -> bytes:
    """`api/v1`, or `apis/GROUP/VERSION`."""
    *_, group, version = ("", *document.split("/"))
    return codec.openapi_v3("" if group == "api" else group, version)


@functools.cache
def _index() -> bytes:
    return encode_json({"paths": {path: {"serverRelativeURL": _url(path)} for path in _hashes()}})


def _url(document: str) -> str:
    return f"{_V3}/{document}?hash={_hashes()[document]}"
