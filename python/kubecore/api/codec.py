"""The door to the object crate: the only module of `api` that names the extension."""

from __future__ import annotations

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
    "resources",
    "table",
    "validate_label_selector",
]
