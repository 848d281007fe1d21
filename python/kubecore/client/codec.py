"""JSON as the client reads and writes it: whole objects, and the few fields that a loop needs from bytes it hands on
unread.

Against the server's own codec: nothing is pruned or defaulted here, an answer is taken as it comes.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kubecore.api.meta import Object

encode = msgspec.json.encode

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class Metadata(msgspec.Struct, rename="camel"):
    """What identifies an object and its state."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    annotations: dict[str, str] | None = None

    @property
    def key(self) -> str:
        """`namespace/name`, or `name` if cluster-scoped."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class _Headed(msgspec.Struct):
    metadata: Metadata


class _ListMetadata(msgspec.Struct):
    resourceVersion: str = ""
    # `continue` is a keyword in Python.
    continue_token: str = msgspec.field(default="", name="continue")


class RawList(msgspec.Struct):
    """A list whose items stay encoded."""

    metadata: _ListMetadata
    items: list[msgspec.Raw] | None = None


class WatchLine(msgspec.Struct):
    """One line of a watch over HTTP."""

    type: str
    object: msgspec.Raw


_decode_headed = msgspec.json.Decoder(_Headed).decode
decode_list = msgspec.json.Decoder(RawList).decode
decode_watch_line = msgspec.json.Decoder(WatchLine).decode


def decode(body: bytes) -> Object:
    return _decode_object(body)


def metadata_of(body: bytes) -> Metadata:
    """Name, namespace, uid, resourceVersion and annotations of an encoded object; the rest is skipped, not built."""
    return _decode_headed(body).metadata
