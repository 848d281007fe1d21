"""The page in Debian's Chromium: a browser of its own, a tab that remembers complaints, screenshots in build/."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

from tests.support.processes import ROOT, Up, kubecore

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SHOTS = ROOT / "build"
# Of what is expected to be seen; a busy machine is slow, not wrong.
expect.set_options(timeout=20_000)


@contextmanager
def chromium(profile: Path) -> Iterator[BrowserContext]:
    """A browser with an empty profile of its own."""
    SHOTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=CHROMIUM,
            headless=True,
            args=FLAGS,
            ignore_https_errors=True,
            viewport={"width": 1360, "height": 860},
        )
        yield context
        context.close()


class Tab:
    """One tab, and what its console said."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("response", lambda got: self.complaints.append(got.url) if got.status >= 500 else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)

    def go(self, place: str) -> Page:
        self.page.evaluate("place => { location.hash = place; }", f"#/{place}")
        return self.page

    def shot(self, name: str, *, dark: bool = False) -> None:
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self.page.screenshot(path=SHOTS / f"page-{name}.png", animations="disabled")


def address(cluster: Up, *arguments: str) -> str:
    done = kubecore("ui", *arguments, kubeconfig=cluster.kubeconfig)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def opened(browser: BrowserContext, url: str) -> Tab:
    tab = Tab(browser.new_page())
    tab.page.goto(url)
    expect(tab.page.locator(".shell")).to_be_visible()
    return tab
