"""The page's files as they are served: their policy, their caching, and that they are complete."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from importlib import resources

import pytest

from kubecore.apiserver.wire.ui import ASSETS, UserInterface


@dataclass
class Asked:
    path: str
    headers: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture(scope="module")
def page() -> UserInterface:
    return UserInterface()


FILES = {file.name: file.read_text() for file in (resources.files("kubecore.apiserver.wire") / "ui").iterdir()}


def _get(page: UserInterface, path: str, *headers: tuple[str, str]) -> tuple[int, str, dict[str, str]]:
    answer = page.answer(Asked(path, list(headers)))  # type: ignore[arg-type]
    assert answer is not None, path
    return answer.status, answer.body.decode(), dict(answer.headers)


def test_the_page_is_asked_for_anew_and_its_files_are_kept_for_ever(page: UserInterface) -> None:
    status, index, headers = _get(page, "/ui/")
    assert status == 200
    assert headers["cache-control"] == "no-cache"
    again, body, _ = _get(page, "/ui/", ("if-none-match", headers["etag"]))
    assert (again, body) == (304, "")
    named = re.findall(r'(?:href|src)="(assets/[^"]+)"', index)
    assert len(named) == 3
    for name in named:
        status, _, kept = _get(page, f"/ui/{name}")
        assert status == 200
        assert "immutable" in kept["cache-control"]


def test_without_the_slash_the_browser_is_sent_to_the_page(page: UserInterface) -> None:
    status, _, headers = _get(page, "/ui")
    assert (status, headers["location"]) == (307, "/ui/")


def test_files_of_another_build_and_strangers_are_not_there(page: UserInterface) -> None:
    for path in (
        f"{ASSETS}0000/app.js",
        "/ui/app.js",
        "/ui/assets/../logs.py",
        "/ui/index.html",
        f"{ASSETS}/x/../app.js",
    ):
        assert page.answer(Asked(path)) is None, path  # type: ignore[arg-type]


def test_nothing_from_elsewhere_and_nothing_inline_may_run(page: UserInterface) -> None:
    _, index, headers = _get(page, "/ui/")
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert re.findall(r"<script(?![^>]*src=)", index) == []
    assert not re.search(r"\son\w+=|\sstyle=|<style", index)


def test_no_file_turns_text_into_markup_or_code() -> None:
    for name, text in FILES.items():
        if name.endswith(".js"):
            assert not re.search(
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text
            ), name


def test_every_module_that_is_imported_is_there() -> None:
    for name, text in FILES.items():
        for module in re.findall(r'from "\./([^"]+)"', text):
            assert module in FILES, f"{name} imports {module}"


def test_what_a_module_imports_the_other_exports() -> None:
    for name, text in FILES.items():
        for names, module in re.findall(r'import \{([^}]+)\} from "\./([^"]+)"', text):
            for wanted in filter(None, (each.strip() for each in names.split(","))):
                exported = rf"export (?:async )?(?:const|class|function\*?) {re.escape(wanted)}\b"
                assert re.search(exported, FILES[module]), f"{name}: {module} exports no {wanted}"
                assert len(re.findall(rf"\b{re.escape(wanted)}\b", text)) > 1, f"{name} does not use {wanted}"


def test_the_token_is_never_put_into_an_address() -> None:
    assert [name for name, text in FILES.items() if re.search(r"[?&](access_)?token=", text)] == []
    assert "localStorage" not in FILES["api.js"]


def test_the_page_stays_small() -> None:
    assert sum(len(text) for text in FILES.values()) < 150_000
