"""Pages shown below a path of ours lead back there."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from kubecore.apiserver.wire import pages
from kubecore.apiserver.wire.pages import Mount, fitted

BASE = "/api/v1/namespaces/default/services/web/proxy"
MOUNT = Mount(BASE, "10.244.0.5:80")
PAGE = b'<a href="/about">us</a>'
FITTED = f'<a href="{BASE}/about">us</a>'.encode()


async def _fitted(answer: bytes) -> bytes:
    """As the wire gets it: the beginning, and what follows."""
    reader = asyncio.StreamReader(limit=65536)
    reader.feed_data(answer)
    reader.feed_eof()
    return await fitted(reader, MOUNT) + await reader.read()


def _answer(body: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", *fields, b"", body])


@pytest.mark.parametrize(
    ("link", "fits"),
    [
        ("/about?x=1#top", f"{BASE}/about?x=1#top"),
        ("/", f"{BASE}/"),
        ("http://10.244.0.5:80/about", f"{BASE}/about"),
        ("about", "about"),
        ("https://elsewhere.example/about", "https://elsewhere.example/about"),
        ("//elsewhere.example/about", "//elsewhere.example/about"),
        (f"{BASE}/about", f"{BASE}/about"),
        ("http://[broken/", "http://[broken/"),
    ],
)
def test_links_to_the_same_server_stay_below_the_mount(link: str, fits: str) -> None:
    assert MOUNT.link(link) == fits


def test_everything_but_links_is_as_it_was() -> None:
    page = (
        "<!DOCTYPE html><html><!-- <a href='/no'> --><script src='/app.js'>if (a < b) { x = '<a href=\"/no\">' }</SCRIPT>"
        '<p class="/no">a &amp; b &#39; AT&T<br/><IMG alt=">" SRC="/logo.png"><input disabled formaction="/send"/></P>\n'
        '<![CDATA[x]]> <?pi?> <![ <Q cite="a">&y</q><a title="&amp;<" href=/b?x&amp;y>b</a>5 < 6<a href = \'/"\'></html>'
    )
    assert MOUNT.page(page) == (
        f"<!DOCTYPE html><html><!-- <a href='/no'> --><script src=\"{BASE}/app.js\">"
        "if (a < b) { x = '<a href=\"/no\">' }</SCRIPT>"
        f'<p class="/no">a &amp; b &#39; AT&T<br/><IMG alt=">" SRC="{BASE}/logo.png">'
        f'<input disabled formaction="{BASE}/send"/></P>\n'
        f'<![CDATA[x]]> <?pi?> <![ <Q cite="a">&y</q><a title="&amp;<" href="{BASE}/b?x&amp;y">b</a>5 < 6'
        f'<a href = "{BASE}/&quot;"></html>'
    )


@pytest.mark.parametrize(
    "page",
    [
        '<a href="/cut',
        "<a href='/cut><p>",
        "<a href=/cut",
        "<!-- <a href='/no'>",
        "<script><a href='/no'>",
        "<textarea><a href='/no'></textarea>",
        "<",
        "</",
        "<a href=>",
        "< a href='/no'>",
    ],
)
def test_what_is_no_link_is_left(page: str) -> None:
    assert MOUNT.page(page) == page


@pytest.mark.parametrize(
    "noise", ["<!--", "<a ", "</a", "<![", "<?", "<a x='", "<a x=\"y' ", "<script>", "<a  /", "<a =", "& "]
)
def test_a_strangers_page_is_never_read_many_times(noise: str) -> None:
    """With anything quadratic this takes minutes (and the whole run its time limit)."""
    page = noise * (1_000_000 // len(noise))
    assert MOUNT.page(page) == page


async def test_a_page_gets_its_new_length() -> None:
    fits = _answer(FITTED, b"content-type: text/html; charset=utf-8", b"Content-Length: %d" % len(FITTED))
    length = b"content-length: %d" % len(PAGE)
    assert await _fitted(_answer(PAGE, b"content-type: text/html; charset=utf-8", length)) == fits
    assert await _fitted(_answer(PAGE, b"content-type: text/html; charset=utf-8")) == fits


async def test_a_page_in_chunks_or_packed_is_fitted_too() -> None:
    fits = _answer(FITTED, b"Content-Type: text/html", b"Content-Length: %d" % len(FITTED))
    chunks = b"5\r\n" + PAGE[:5] + b"\r\n" + b"%x;note\r\n" % len(PAGE[5:]) + PAGE[5:] + b"\r\n0\r\n\r\n"
    assert await _fitted(_answer(chunks, b"Content-Type: text/html", b"Transfer-Encoding: chunked")) == fits
    packed = gzip.compress(PAGE)
    fields = (b"Content-Type: text/html", b"Content-Encoding: gzip", b"Content-Length: %d" % len(packed))
    assert await _fitted(_answer(packed, *fields)) == fits


@pytest.mark.parametrize(
    "answer",
    [
        _answer(PAGE, b"content-type: text/plain", b"content-length: %d" % len(PAGE)),
        _answer(PAGE, b"content-type: text/html", b"content-encoding: br", b"content-length: %d" % len(PAGE)),
        _answer(PAGE, b"content-type: text/html", b"content-length: 999999"),
        _answer(b"nonsense\r\n" + PAGE, b"content-type: text/html", b"transfer-encoding: chunked"),
        _answer(b"5\r\nhello\r\nff\r\ncut", b"content-type: text/html", b"transfer-encoding: chunked"),
        _answer(b"-5\r\nhello", b"content-type: text/html", b"transfer-encoding: chunked"),
        _answer(b"fffffff\r\nhello", b"content-type: text/html", b"transfer-encoding: chunked"),
        _answer(b"5;" + b"x" * 99_999, b"content-type: text/html", b"transfer-encoding: chunked"),
        _answer(PAGE, b"content-type: text/html", b"content-range: bytes 0-22/90").replace(
            b"200 OK", b"206 Partial Content"
        ),
        _answer(b"any bytes", b"connection: upgrade").replace(b"200 OK", b"101 Switching Protocols"),
        b"HTTP/1.1 200",
        b"",
    ],
)
async def test_what_is_no_whole_page_goes_by_untouched(answer: bytes) -> None:
    assert await _fitted(answer) == answer


async def test_a_page_too_large_to_hold_goes_by_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES_MAX", 10)
    for answer in (
        _answer(PAGE, b"content-type: text/html", b"content-length: %d" % len(PAGE)),
        _answer(PAGE, b"content-type: text/html"),
        _answer(b"17\r\n" + PAGE + b"\r\n0\r\n\r\n", b"content-type: text/html", b"transfer-encoding: chunked"),
    ):
        assert await _fitted(answer) == answer


@pytest.mark.parametrize("status", [b"304 Not Modified", b"204 No Content", b"100 Continue"])
async def test_no_body_is_waited_for_where_none_comes(status: bytes) -> None:
    reader = asyncio.StreamReader()
    head = _answer(b"", b"content-type: text/html", b"content-length: 23").replace(b"200 OK", status)
    reader.feed_data(head)  # the connection stays open
    assert await fitted(reader, MOUNT) == head


async def test_a_small_packed_page_that_unpacks_to_much_goes_by_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES_MAX", 5_000)
    packed = gzip.compress(PAGE + b" " * 1_000_000)
    assert len(packed) < 5_000
    fields = (b"content-type: text/html", b"content-encoding: gzip", b"content-length: %d" % len(packed))
    assert await _fitted(_answer(packed, *fields)) == _answer(packed, *fields)


async def test_a_chunk_larger_than_a_page_is_not_gathered() -> None:
    reader = asyncio.StreamReader()
    beginning = _answer(b"10000000\r\nfirst", b"content-type: text/html", b"transfer-encoding: chunked")
    reader.feed_data(beginning)  # the rest never comes
    assert beginning.startswith(await fitted(reader, MOUNT))
