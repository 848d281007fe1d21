"""Pages that are shown below a path of ours: their links are made to lead back there.

In: what a pod, service or node answers to a proxied request, byte by byte. Out: the same, but for HTML, whose links to the
same server (`/about`) become links below the proxy's path (`/api/v1/namespaces/.../proxy/about`), as upstream's proxy does.
What is no page, is too large (`PAGE_BYTES_MAX`) or has an encoding that is not known goes by untouched.
"""

from __future__ import annotations

import asyncio
import gzip
import html
import posixpath
import zlib
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import urlsplit, urlunsplit

PAGE_BYTES_MAX = 4 * 1024 * 1024

LINKS: dict[str, tuple[str, ...]] = {
    "a": ("href",),
    "area": ("href",),
    "audio": ("src",),
    "base": ("href",),
    "blockquote": ("cite",),
    "body": ("background",),
    "button": ("formaction",),
    "del": ("cite",),
    "embed": ("src",),
    "form": ("action",),
    "frame": ("longdesc", "src"),
    "html": ("manifest",),
    "iframe": ("longdesc", "src"),
    "img": ("longdesc", "src", "usemap"),
    "input": ("src", "usemap", "formaction"),
    "ins": ("cite",),
    "link": ("href",),
    "object": ("classid", "codebase", "data", "usemap"),
    "q": ("cite",),
    "script": ("src",),
    "source": ("src",),
    "video": ("poster", "src"),
}
"""HTML's elements, and which of their attributes are links."""


@dataclass(frozen=True, slots=True)
class Mount:
    """`path`: where the server of that `authority` appears here; ends in `/proxy`."""

    path: str
    authority: str

    def link(self, link: str) -> str:
        """The same place as seen from outside; relative links and those to other servers stay."""
        try:
            parts = urlsplit(link)
        except ValueError:
            return link
        elsewhere = parts.netloc and parts.netloc != self.authority
        if elsewhere or not parts.path.startswith("/") or parts.path.startswith(self.path):
            return link
        path = posixpath.join(self.path, parts.path.lstrip("/"))
        return urlunsplit(("", "", path, parts.query, parts.fragment))

    def page(self, page: str) -> str:
        parser = _Links(self)
        parser.feed(page)
        parser.close()
        return "".join(parser.out)


class _Links(HTMLParser):
    """Gives back what it is fed, but for links."""

    def __init__(self, mount: Mount) -> None:
        super().__init__(convert_charrefs=False)
        self.out: list[str] = []
        self._mount = mount

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._start(tag, attrs, end=">")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._start(tag, attrs, end="/>")

    def _start(self, tag: str, attrs: list[tuple[str, str | None]], *, end: str) -> None:
        names = LINKS.get(tag, ())
        changed = [
            (name, self._mount.link(value) if name in names and value is not None else value) for name, value in attrs
        ]
        if changed == attrs:
            self.out.append(self.get_starttag_text() or "")
            return
        words = [tag, *(name if value is None else f'{name}="{html.escape(value)}"' for name, value in changed)]
        self.out.append(f"<{' '.join(words)}{end}")

    def handle_endtag(self, tag: str) -> None:
        self.out.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.out.append(data)

    def handle_entityref(self, name: str) -> None:
        self.out.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.out.append(f"&#{name};")

    def handle_comment(self, data: str) -> None:
        self.out.append(f"<!--{data}-->")

    def handle_decl(self, decl: str) -> None:
        self.out.append(f"<!{decl}>")

    def unknown_decl(self, data: str) -> None:
        self.out.append(f"<![{data}]>")

    def handle_pi(self, data: str) -> None:
        self.out.append(f"<?{data}>")


# ── in an answer ──


@dataclass(slots=True)
class _Body:
    """`raw` as it came; `content` None: too large to be held, what is left follows."""

    raw: bytes
    content: bytes | None


async def fitted(source: asyncio.StreamReader, mount: Mount) -> bytes:
    """The beginning of the answer, fitted if it is a page; what follows is to be copied as it is. Raises OSError."""
    try:
        head = await source.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return b""
    except asyncio.IncompleteReadError as ended:
        return ended.partial
    lines = head[:-4].split(b"\r\n")
    fields = {
        name.strip().lower(): value.strip().lower() for name, _, value in (each.partition(b":") for each in lines)
    }
    if fields.get(b"content-type", b"").partition(b";")[0].strip() != b"text/html":
        return head
    body = await _body(source, fields)
    page = _decoded(body, fields.get(b"content-encoding", b""))
    if page is None:
        return head + body.raw
    text = mount.page(page.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    dropped = (b"content-length", b"transfer-encoding", b"content-encoding")
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in dropped]
    return b"\r\n".join([*kept, b"Content-Length: %d" % len(text), b"", text])


def _decoded(body: _Body, encoding: bytes) -> bytes | None:
    if body.content is None or encoding not in (b"", b"gzip"):
        return None
    try:
        return gzip.decompress(body.content) if encoding else body.content
    except (OSError, EOFError, zlib.error):
        return None


async def _body(source: asyncio.StreamReader, fields: dict[bytes, bytes]) -> _Body:
    try:
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            return await _chunks(source)
        length = fields.get(b"content-length", b"")
        if length.isdigit():
            if int(length) > PAGE_BYTES_MAX:
                return _Body(b"", None)
            whole = await source.readexactly(int(length))
            return _Body(whole, whole)
        return await _rest(source)
    except asyncio.IncompleteReadError as ended:
        return _Body(ended.partial, None)


async def _rest(source: asyncio.StreamReader) -> _Body:
    raw = bytearray()
    while piece := await source.read(PAGE_BYTES_MAX):
        raw += piece
        if len(raw) > PAGE_BYTES_MAX:
            return _Body(bytes(raw), None)
    return _Body(bytes(raw), bytes(raw))


async def _chunks(source: asyncio.StreamReader) -> _Body:
    raw, content = bytearray(), bytearray()
    while len(raw) <= PAGE_BYTES_MAX:
        line = await source.readline()
        raw += line
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            return _Body(bytes(raw), None)
        if size == 0:
            while (line := await source.readline()) not in (b"\r\n", b""):
                raw += line
            return _Body(bytes(raw + line), bytes(content))
        try:
            chunk = await source.readexactly(size + 2)
        except asyncio.IncompleteReadError as ended:
            return _Body(bytes(raw + ended.partial), None)
        raw += chunk
        content += chunk[:-2]
    return _Body(bytes(raw), None)
