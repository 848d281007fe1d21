"""Pages that are shown below a path of ours: their links are made to lead back there.

In: what a pod, service or node answers to a proxied request, byte by byte. Out: the same, but for HTML, whose links to the
same server (`/about`) become links below the proxy's path (`/api/v1/namespaces/.../proxy/about`), as upstream's proxy does.
What is no page, is too large (`PAGE_BYTES_MAX`) or has an encoding that is not known goes by untouched.
"""

from __future__ import annotations

import asyncio
import html
import posixpath
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

PAGE_BYTES_MAX = 4 * 1024 * 1024
"""Of a page as it comes, and unpacked."""

UNFIT = re.compile(rb"HTTP/1\.[01] (1\d\d|204|206|304)\b")
"""Answers without a body, whatever their headers say of it, and parts of one."""

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

CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]*(;|\r\n)")

GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS
"""How zlib is told that gzip's header is there."""


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
        pieces, end = [], 0
        for value in _links(page):
            fits = self.link(value.text)
            if fits != value.text:
                pieces += [page[end : value.start], f'"{html.escape(fits)}"']
                end = value.end
        return "".join([*pieces, page[end:]])


# ── in a page ──

TAG = re.compile(r"<([a-zA-Z][^\s/>]*)")
ATTRIBUTE = re.compile(r"""[\s/]*(?P<name>[^\s/>][^\s/>=]*)(?:\s*=\s*(?P<value>"[^"]*"|'[^']*'|[^\s"'>][^\s>]*))?""")
TAG_END = re.compile(r"[\s/]*>")
TEXT_ENDS = {
    name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE)
    for name in ("iframe", "noembed", "noframes", "script", "style", "textarea", "title", "xmp")
}
"""What is in these elements is text, whatever it looks like."""


@dataclass(frozen=True, slots=True)
class _Value:
    """Of an attribute: `text` as it is meant, quotes and all from `start` to `end`."""

    start: int
    end: int
    text: str


def _links(page: str) -> Iterator[_Value]:
    """The attributes that are links. Reads as HTML's own rules do, broken pages too, and each character a few times at
    most: it is a stranger's page. (The standard library's parser gives up on some, and takes hours over others.)"""
    position = 0
    while (start := page.find("<", position)) >= 0:
        tag = TAG.match(page, start)
        if tag is None:
            position = _behind_what_is_no_tag(page, start)
            continue
        name = tag[1].lower()
        values, position = _attributes(page, tag.end(), LINKS.get(name, ()))
        yield from values
        if name in TEXT_ENDS and position < len(page):
            end = TEXT_ENDS[name].search(page, position)
            position = end.start() if end else len(page)


def _behind_what_is_no_tag(page: str, start: int) -> int:
    """Where a comment, a declaration or an element's end is over; or just behind a `<` that means itself."""
    if page.startswith("<!--", start):
        mark, begin = "-->", start + 2
    elif page.startswith(("<!", "</", "<?"), start):
        mark, begin = ">", start + 2
    else:
        return start + 1
    found = page.find(mark, begin)
    return found + len(mark) if found >= 0 else len(page)


def _attributes(page: str, position: int, wanted: tuple[str, ...]) -> tuple[list[_Value], int]:
    """Those that are wanted, and where the tag is over; a tag that has no end is none."""
    values: list[_Value] = []
    while True:
        if end := TAG_END.match(page, position):
            return values, end.end()
        found = ATTRIBUTE.match(page, position)
        if found is None:
            return [], len(page)
        position = found.end()
        if found["value"] and found["name"].lower() in wanted:
            written = found["value"]
            text = written[1:-1] if written[0] in "\"'" else written
            values.append(_Value(*found.span("value"), html.unescape(text)))


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
    if UNFIT.match(head) or fields.get(b"content-type", b"").partition(b";")[0].strip() != b"text/html":
        return head
    body = await _body(source, fields)
    page = _decoded(body, fields.get(b"content-encoding", b""))
    if page is None:
        return head + body.raw
    # On another thread: what other requests carry does not wait for a large page.
    written = await asyncio.to_thread(mount.page, page.decode("utf-8", "surrogateescape"))
    text = written.encode("utf-8", "surrogateescape")
    dropped = (b"content-length", b"transfer-encoding", b"content-encoding")
    kept = [line for line in lines if line.partition(b":")[0].strip().lower() not in dropped]
    return b"\r\n".join([*kept, b"Content-Length: %d" % len(text), b"", text])


def _decoded(body: _Body, encoding: bytes) -> bytes | None:
    if body.content is None or encoding not in (b"", b"gzip"):
        return None
    if not encoding:
        return body.content
    unpacking = zlib.decompressobj(wbits=GZIP_WINDOW_BITS)
    try:
        page = unpacking.decompress(body.content, PAGE_BYTES_MAX)
    except zlib.error:
        return None
    return page if unpacking.eof and not unpacking.unused_data else None


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
        line = await _line(source)
        raw += line
        written = CHUNK_SIZE.match(line)
        if written is None or (size := int(written[1], 16)) > PAGE_BYTES_MAX:
            return _Body(bytes(raw), None)
        if size == 0:
            return await _trailers(source, raw, bytes(content))
        try:
            chunk = await source.readexactly(size + 2)
        except asyncio.IncompleteReadError as ended:
            return _Body(bytes(raw + ended.partial), None)
        raw += chunk
        content += chunk[:-2]
    return _Body(bytes(raw), None)


async def _trailers(source: asyncio.StreamReader, raw: bytearray, content: bytes) -> _Body:
    while len(raw) <= PAGE_BYTES_MAX:
        line = await _line(source)
        raw += line
        if line == b"\r\n":
            return _Body(bytes(raw), content)
        if not line.endswith(b"\n"):
            break
    return _Body(bytes(raw), None)


async def _line(source: asyncio.StreamReader) -> bytes:
    """Without an end if the source has ended, or if the line is longer than the reader holds: nothing of it then."""
    try:
        return await source.readuntil(b"\n")
    except asyncio.IncompleteReadError as ended:
        return ended.partial
    except asyncio.LimitOverrunError:
        return b""
