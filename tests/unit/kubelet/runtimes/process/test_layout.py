"""Importing an OCI image layout: layers, whiteouts, digests; and what must not be let in."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from kubecore.kubelet.runtimes.process.layout import InvalidLayout, import_layout
from kubecore.kubelet.runtimes.protocol import RuntimeFailure
from support.image_layout import Layout, layer
from support.process_runtime import ROOT, Node, log_lines

BOTTOM = layer(
    {"etc": None, "etc/old": "old", "etc/kept": "kept", "data": None, "data/hidden": "x", "bin/tool": "#!/bin/sh\n"}
)
TOP = layer({"etc/.wh.old": "", "data/.wh..wh..opq": "", "data/new": "new"}, links={"etc/link": "kept"})
CONFIG = {
    "User": "1000:1000",
    "Env": ["PATH=/bin", "EMPTY="],
    "Entrypoint": ["/bin/tool"],
    "Cmd": ["serve"],
    "WorkingDir": "/data",
    "StopSignal": "SIGQUIT",
}


def test_layers_are_unpacked_in_overlays_own_form(tmp_path: Path) -> None:
    image = import_layout(Layout(tmp_path / "layout", [(BOTTOM, "gzip"), (TOP, "zstd")], CONFIG).directory, tmp_path)
    top, bottom = (tmp_path / each for each in image.layers)
    assert (bottom / "etc" / "old").read_text() == "old"
    whiteout = (top / "etc" / "old").lstat()
    assert stat.S_ISCHR(whiteout.st_mode)
    assert whiteout.st_rdev == 0
    assert os.getxattr(top / "data", "trusted.overlay.opaque") == b"y"
    assert (top / "etc" / "link").readlink() == Path("kept")
    assert sorted(each.name for each in (top / "data").iterdir()) == ["new"]


def test_the_configuration_is_the_images(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout", [(BOTTOM, "")], CONFIG)
    image = import_layout(layout.directory, tmp_path)
    assert (image.id, image.digest) == (layout.config["digest"], layout.manifest["digest"])
    assert (image.entrypoint, image.command, image.user) == (("/bin/tool",), ("serve",), "1000:1000")
    assert image.environment == (("PATH", "/bin"), ("EMPTY", ""))
    assert (image.working_dir, image.stop_signal) == ("/data", "SIGQUIT")
    assert image.as_image().uid == 1000


def test_a_layer_that_is_there_is_not_unpacked_again(tmp_path: Path) -> None:
    first = import_layout(Layout(tmp_path / "one", [(BOTTOM, "gzip")], {}).directory, tmp_path)
    marked = tmp_path / first.layers[0] / "mark"
    marked.touch()
    second = import_layout(Layout(tmp_path / "two", [(BOTTOM, ""), (TOP, "")], {}).directory, tmp_path)
    assert second.layers[1] == first.layers[0]
    assert marked.exists()


def test_a_blob_that_was_changed_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout", [(BOTTOM, "gzip")], CONFIG)
    blob = layout.blob(layout.layers[0])
    blob.write_bytes(blob.read_bytes() + b"x")
    with pytest.raises(InvalidLayout, match="has the digest"):
        import_layout(layout.directory, tmp_path)
    assert list((tmp_path / "layers").glob("*")) == []


@pytest.mark.parametrize(
    ("entries", "links", "said"),
    [
        ({"../../escaped": "x"}, {}, "leaves its layer"),
        ({"etc/../../escaped": "x"}, {}, "leaves its layer"),
    ],
)
def test_an_entry_that_leaves_its_layer_is_refused(
    tmp_path: Path, entries: dict[str, str | None], links: dict[str, str], said: str
) -> None:
    layout = Layout(tmp_path / "layout", [(layer(entries, links=links), "")], {})
    with pytest.raises(InvalidLayout, match=said):
        import_layout(layout.directory, tmp_path)
    assert not (tmp_path / "escaped").exists()


def test_an_entry_through_a_link_is_refused(tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        link = tarfile.TarInfo("out")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("out/escaped"), io.BytesIO(b""))
    layout = Layout(tmp_path / "layout", [(made.getvalue(), "")], {})
    with pytest.raises(InvalidLayout, match="which is no directory"):
        import_layout(layout.directory, tmp_path)
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("name", ["it", "it/node"])
def test_a_link_in_a_directorys_place_gives_its_mode_to_nothing_outside(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    (outside / "node").mkdir(parents=True, mode=0o700)
    outside.chmod(0o700)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        open_to_all = tarfile.TarInfo(name)
        open_to_all.type, open_to_all.mode = tarfile.DIRTYPE, 0o777
        archive.addfile(open_to_all)
        link = tarfile.TarInfo("it")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(link)
    import_layout(Layout(tmp_path / "layout", [(made.getvalue(), "")], {}).directory, tmp_path)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (outside, outside / "node")] == [0o700, 0o700]


def test_a_layout_for_other_machines_only_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "layout", [(BOTTOM, "")], {})
    layout.index([{**layout.manifest, "platform": {"os": "linux", "architecture": "riscv64"}}])
    with pytest.raises(InvalidLayout, match="no image for linux/"):
        import_layout(layout.directory, tmp_path)


async def test_an_imported_image_runs(on_node: Node, tmp_path: Path) -> None:
    """A static root of its own: the shell and its libraries, copied from this machine."""
    layout = Layout(
        tmp_path / "layout", [(_shell(), "gzip"), (TOP, "gzip")], {"Cmd": ["/bin/sh", "-c", "echo from the image"]}
    )
    told = _import(layout.directory, on_node)
    assert f"shop:1.2 is {layout.config['digest']}" in told
    sandbox = await on_node.sandbox(hostname="shop")
    image = await on_node.runtime.image_status("shop:1.2")
    assert image is not None
    assert image.repo_tags == ("docker.io/library/shop:1.2",)
    assert image.repo_digests == (f"docker.io/library/shop@{layout.manifest['digest']}",)
    assert await on_node.runtime.pull_image("shop:1.2", None) == image.repo_digests[0]
    container = await on_node.created(sandbox, "", image="shop:1.2", command=(), pull=False)
    await on_node.runtime.start_container(container)
    ended = await on_node.ended(container)
    assert log_lines(ended.log_path) == [("stdout", "F", "from the image")]
    listing = await on_node.created(
        sandbox, "", name="second", image="shop:1.2", command=("/bin/sh", "-c", "echo /data/* /etc/*"), pull=False
    )
    await on_node.runtime.start_container(listing)
    ended = await on_node.ended(listing)
    (line,) = log_lines(ended.log_path)
    assert line[2].split() == ["/data/new", "/etc/hostname", "/etc/kept", "/etc/link", "/etc/resolv.conf"]


async def test_a_layout_that_is_none_is_a_failure_in_words(on_node: Node, tmp_path: Path) -> None:
    with pytest.raises(RuntimeFailure, match=r"index\.json"):
        await on_node.runtime.import_image(str(tmp_path), "shop:1")


def _import(layout: Path, node: Node) -> str:
    words = ["-m", "kubecore_cli", "image", "import", str(layout), "--name", "shop:1.2", "--socket", str(node.socket)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python")}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True, env=environment).stdout


def _shell() -> bytes:
    made = io.BytesIO()
    linked = subprocess.run(["ldd", "/bin/sh"], capture_output=True, text=True, check=True).stdout
    libraries = [line.split("=>")[-1].split()[0] for line in linked.splitlines() if "/" in line]
    with tarfile.open(fileobj=made, mode="w", dereference=True) as archive:
        for file in ["/bin/sh", *libraries]:
            archive.add(file, arcname=file.lstrip("/"))
        archive.addfile(tarfile.TarInfo("etc/kept"), io.BytesIO(b""))
        archive.addfile(tarfile.TarInfo("etc/old"), io.BytesIO(b""))
        archive.addfile(tarfile.TarInfo("data/hidden"), io.BytesIO(b""))
    return made.getvalue()
