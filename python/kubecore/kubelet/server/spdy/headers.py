"""SPDY's header blocks: name and value pairs, compressed with zlib over one context a connection and direction.

Source: SPDY Protocol, Draft 3.1, section 2.6.10. Bound: `BLOCK_SIZE_MAX_BYTES` after inflating.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

Pairs = Sequence[tuple[str, str]]

BLOCK_SIZE_MAX_BYTES = 64 * 1024

_NAMES = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length content-location "
    "content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match "
    "if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range "
    "referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method "
    "get status"
)
_WORDS = [*_NAMES.split(" "), "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"]
_TEXT = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,public"
    "privatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = b"".join(struct.pack(">I", len(word)) + word.encode() for word in _WORDS) + _TEXT.encode()
"""What both sides' compressors have seen before the first byte: part of the protocol."""


class HeaderError(ValueError):
    """A header block that cannot be read; the connection's context is lost with it."""


class Compressor:
    def __init__(self) -> None:
        self._zlib = zlib.compressobj(zdict=DICTIONARY)

    def block(self, headers: Pairs) -> bytes:
        parts = [struct.pack(">I", len(headers))]
        for name, value in headers:
            texts = (name.lower().encode(), value.encode())
            parts += [struct.pack(">I", len(text)) + text for text in texts]
        return self._zlib.compress(b"".join(parts)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class Decompressor:
    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def headers(self, block: bytes) -> list[tuple[str, str]]:
        """Names in lower case; a value may hold several, a NUL between them. Raises HeaderError."""
        try:
            plain = self._zlib.decompress(block, BLOCK_SIZE_MAX_BYTES)
        except zlib.error as error:
            raise HeaderError(str(error)) from error
        if self._zlib.unconsumed_tail:
            raise HeaderError(f"more than {BLOCK_SIZE_MAX_BYTES} bytes of headers")
        texts, at = [], 4
        try:
            (count,) = struct.unpack_from(">I", plain)
            for _ in range(2 * count):
                (length,) = struct.unpack_from(">I", plain, at)
                if at + 4 + length > len(plain):
                    raise HeaderError("a header goes on behind its block")
                texts.append(plain[at + 4 : at + 4 + length].decode(errors="replace"))
                at += 4 + length
        except struct.error as error:
            raise HeaderError("a header block that ends too soon") from error
        return [(name.lower(), value) for name, value in zip(texts[::2], texts[1::2], strict=True)]
