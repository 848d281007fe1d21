"""`/ui`: the page, from the files beside this module. No build step: browsers read the modules as they are.

The page itself (`index.html`) is asked for again each time and names its files by a digest of them all; so those may be kept for ever.
It holds no secret and needs none to load: whoever opens it brings a token, and every request it makes is judged like any other. Its
policy lets it run, style itself and connect to this server with nothing that comes from elsewhere or is written inline.
"""

from __future__ import annotations

import functools
import hashlib
from importlib import resources

from kubecore.apiserver.wire.door import Call
from kubecore.apiserver.wire.response import NO_SNIFFING, Response, header

ROOT = "/ui"
ASSETS = f"{ROOT}/assets/"
_INDEX = "index.html"
_PLACEHOLDER = b"{{assets}}"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = (
    ("content-security-policy", _POLICY),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    NO_SNIFFING,
)


class UserInterface:
    """Reads its files when they are first asked for."""

    def paths(self) -> list[str]:
        return [ROOT]

    def answer(self, call: Call) -> Response | None:
        """None: no such file."""
        if call.path == ROOT:
            # Relative names in the page need the slash.
            return Response(307, b"", "", (("location", f"{ROOT}/"),))
        if call.path == f"{ROOT}/":
            return self._index(call)
        if not call.path.startswith(ASSETS):
            return None
        digest, _, name = call.path.removeprefix(ASSETS).partition("/")
        content = self._files.get(name)
        if content is None or digest != self._digest:
            return None
        kept = (("cache-control", "public, max-age=31536000, immutable"),)
        return Response(200, content, _TYPES[_suffix(name)], (*_HEADERS, *kept))

    def _index(self, call: Call) -> Response:
        tag = f'"{self._digest}"'
        headers = (*_HEADERS, ("cache-control", "no-cache"), ("etag", tag))
        if header(call, "if-none-match") == tag:
            return Response(304, b"", "", headers)
        body = self._files[_INDEX].replace(_PLACEHOLDER, f"assets/{self._digest}".encode())
        return Response(200, body, _TYPES[".html"], headers)

    @functools.cached_property
    def _files(self) -> dict[str, bytes]:
        directory = resources.files("kubecore.apiserver.wire") / "ui"
        return {
            entry.name: entry.read_bytes()
            for entry in sorted(directory.iterdir(), key=lambda entry: entry.name)
            if _suffix(entry.name) in _TYPES
        }

    @functools.cached_property
    def _digest(self) -> str:
        whole = hashlib.sha256()
        for name, content in self._files.items():
            whole.update(f"{name} {len(content)} ".encode() + content)
        return whole.hexdigest()[:16]


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
