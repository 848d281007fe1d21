"""The door to the object crate: the only module of `api` that names the extension. And JSON read once for all who read it."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from kubecore._core import (
    Decoded,
    DecodeError,
    PatchConflict,
    PatchTooLarge,
    convert,
    decode,
    default,
    encode,
    field_selector_supported,
    label_selector_matches,
    openapi_v2,
    openapi_v2_protobuf,
    openapi_v3,
    openapi_v3_paths,
    partial_metadata,
    patch,
    resources,
    table,
    validate_label_selector,
)

__all__ = [
    "DecodeError",
    "Decoded",
    "PatchConflict",
    "PatchTooLarge",
    "convert",
    "decode",
    "default",
    "encode",
    "field_selector_supported",
    "label_selector_matches",
    "openapi_v2",
    "openapi_v2_protobuf",
    "openapi_v3",
    "openapi_v3_paths",
    "partial_metadata",
    "patch",
    "read_shared",
    "resources",
    "table",
    "validate_label_selector",
]

SHARED_MAX = 2048
"""Objects that `read_shared` remembers; beyond it the least recently read goes, and is decoded again for the next reader."""

_decode_json = msgspec.json.Decoder(dict[str, Any]).decode


@functools.lru_cache(maxsize=SHARED_MAX)
def read_shared(body: bytes) -> dict[str, Any]:
    """An encoded object as every reader in this process shares it: the registry, and each informer. Never change it."""
    return _decode_json(body)
