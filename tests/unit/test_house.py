"""The house's rules that import-linter cannot see: who names the extension, how long files are, what is left undone."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import tomllib
from pathlib import Path

import kubecore

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python" / "kubecore"
DOORS = {
    "api/codec.py",
    "apiserver/storage/embedded.py",
    "apiserver/storage/maintenance.py",
    "apiserver/wire/door.py",
    "scheduler/kernel.py",
}
FILE_LINES_MAX = 600


def _names_the_extension(tree: ast.Module) -> bool:
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and (
            node.module == "kubecore._core"
            or (node.module == "kubecore" and any(alias.name == "_core" for alias in node.names))
        ):
            return True
        if isinstance(node, ast.Import) and any(alias.name.startswith("kubecore._core") for alias in node.names):
            return True
    return False


def test_the_extension_has_five_doors() -> None:
    named = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if _names_the_extension(ast.parse(path.read_text()))
    }
    assert named == DOORS


def test_no_source_file_is_longer_than_a_reader_wants() -> None:
    sources = [*PACKAGE.rglob("*.py"), *(ROOT / "cli").glob("*.py"), *(ROOT / "rust_core").rglob("*.rs")]
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources}
    assert {name: lines for name, lines in long.items() if lines > FILE_LINES_MAX} == {}


def test_no_crate_but_py_knows_python() -> None:
    manifests = {path.parent.name: path.read_text() for path in (ROOT / "rust_core").glob("*/Cargo.toml")}
    assert {name for name, text in manifests.items() if "pyo3" in text} == {"py"}


def test_nothing_is_left_as_a_stub() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error", "todo" + "!(", "unimplemented" + "!(")
    sources = [*PACKAGE.rglob("*.py"), *(ROOT / "cli").glob("*.py"), *(ROOT / "rust_core").rglob("*.rs")]
    assert [str(path) for path in sources if any(mark in path.read_text() for mark in marks)] == []


def test_there_is_one_version() -> None:
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())
    assert workspace["workspace"]["package"]["version"] == kubecore.__version__


def test_every_dependency_has_its_reason() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().split("## Dependencies")[1]
    told = {name.strip().lower() for row in table.splitlines() for name in re.split(r"[,()|]", row)}
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["dependencies"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    named = {name for name in workspace if not name.startswith("kubecore-")}
    named |= {re.split(r"[<>=\[;]", text)[0].strip() for text in project}
    assert {name for name in named if name.lower() not in told} == set()


def test_the_map_names_every_room() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {str(Path(file).parent) for file in tracked.splitlines()}
    # A crate is one room; so are a tool, and what mirrors the package.
    rooms = {folder for folder in folders if len(Path(folder).parts) <= 2 or folder.startswith("python/")}
    told = (ROOT / "ARCHITECTURE.md").read_text()
    unnamed = {room for room in rooms - {"."} if f"{Path(room).name}/`" not in told and f"`{room}`" not in told}
    # What only holds other rooms has nothing to tell.
    assert unnamed <= {"python", "python/kubecore", "python/kubecore/apiserver"}


def test_what_a_package_exports_is_there() -> None:
    packages = ["kubecore", *(m.name for m in pkgutil.walk_packages(kubecore.__path__, "kubecore.") if m.ispkg)]
    for name in packages:
        package = importlib.import_module(name)
        exported = getattr(package, "__all__", [])
        assert [each for each in exported if not hasattr(package, each)] == [], name
        assert package.__doc__, f"{name} says what it is"
    assert set(kubecore.__all__) == {"AsyncCluster", "Cluster", "ClusterOptions", "__version__"}
