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
        "<!DOCTYPE html><html><!-- <a href='/no'> --><script src='/app.js'>if (a < b) { x = '<a href=\"/no\">' }</script>"
        '<p class="/no">a &amp; b &#39;<br/><IMG alt="x" src="/logo.png"><input disabled formaction="/send"/></p></html>'
    )
    assert MOUNT.page(page) == (
        f"<!DOCTYPE html><html><!-- <a href='/no'> --><script src=\"{BASE}/app.js\">"
        "if (a < b) { x = '<a href=\"/no\">' }</script>"
        f'<p class="/no">a &amp; b &#39;<br/><img alt="x" src="{BASE}/logo.png">'
        f'<input disabled formaction="{BASE}/send"/></p></html>'
    )


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
