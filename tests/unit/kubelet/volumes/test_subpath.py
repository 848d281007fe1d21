"""Parts of volumes: what is mounted is in the volume, whatever the volume's links say and whenever they change."""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path

import pytest

from kubecore.kubelet.volumes import subpath
from kubecore.kubelet.volumes.mounts import LinuxMounter
from kubecore.kubelet.volumes.subpath import SubPathFailure
from support.mount_namespace import in_private_mounts

MOUNTER = LinuxMounter()
LIBC = ctypes.CDLL(None)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("of the node")
    return tmp_path / "volume"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "volume-subpaths" / "data" / "main" / "0"


@in_private_mounts
def test_a_directory_of_the_volume_is_mounted(volume: Path, target: Path) -> None:
    (volume / "a").mkdir()
    (volume / "a" / "file").write_text("x")
    subpath.prepare(MOUNTER, volume, "a", target)
    assert (target / "file").read_text() == "x"
    (target / "written").write_text("y")
    assert (volume / "a" / "written").read_text() == "y"


@in_private_mounts
def test_a_file_of_the_volume_is_mounted(volume: Path, target: Path) -> None:
    (volume / "file").write_text("x")
    subpath.prepare(MOUNTER, volume, "file", target)
    assert target.read_text() == "x"


@in_private_mounts
def test_what_is_missing_is_made_with_the_volumes_mode(volume: Path, target: Path) -> None:
    volume.chmod(0o2775)
    os.chown(volume, -1, 2000)
    subpath.prepare(MOUNTER, volume, "new/deep", target)
    made = (volume / "new" / "deep").stat()
    assert target.is_dir()
    assert (made.st_mode & 0o7777, made.st_gid) == (0o2775, 2000)


@in_private_mounts
def test_links_within_the_volume_are_followed(volume: Path, target: Path) -> None:
    (volume / "..v1").mkdir()
    (volume / "..v1" / "key").write_text("value")
    (volume / "..data").symlink_to("..v1")
    (volume / "key").symlink_to("..data/key")
    subpath.prepare(MOUNTER, volume, "key", target)
    assert target.read_text() == "value"


@pytest.mark.parametrize("leads_to", ["../outside", "/etc", "../outside/secret", "a/../../outside"])
@in_private_mounts
def test_a_link_out_of_the_volume_is_refused(volume: Path, target: Path, leads_to: str) -> None:
    (volume / "a").mkdir()
    (volume / "link").symlink_to(leads_to)
    with pytest.raises(OSError, match="link"):
        subpath.prepare(MOUNTER, volume, "link", target)
    assert MOUNTER.below(target) == []


@in_private_mounts
def test_nothing_is_made_behind_a_link_that_leads_out(volume: Path, target: Path) -> None:
    (volume / "link").symlink_to("../outside")
    (volume / "dangling").symlink_to("../outside/made")
    for path in ("link/made", "dangling", "dangling/more"):
        with pytest.raises(OSError):
            subpath.prepare(MOUNTER, volume, path, target)
    assert os.listdir(volume.parent / "outside") == ["secret"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/etc", "error SubPath `/etc` must not be an absolute path"),
        ("a/../b", "unable to provision SubPath `a/../b`: must not contain '..'"),
    ],
)
def test_a_path_that_says_so_itself_is_refused(path: str, message: str) -> None:
    with pytest.raises(SubPathFailure) as refused:
        subpath.checked(path)
    assert str(refused.value) == message


@in_private_mounts
def test_a_link_swapped_in_meanwhile_never_leads_out(volume: Path, target: Path) -> None:
    """A container that exchanges a directory for a link, over and over, sees its own directory mounted or nothing."""
    (volume / "mine" / "part").mkdir(parents=True)
    (volume / "trap").symlink_to("../outside")
    (volume.parent / "outside" / "part").mkdir()
    (volume.parent / "outside" / "part" / "secret").touch()
    finished = threading.Event()
    here, exchange = -100, 2
    names = (os.fsencode(volume / "mine"), os.fsencode(volume / "trap"))

    def swap() -> None:
        while not finished.is_set():
            LIBC.renameat2(here, names[0], here, names[1], exchange)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        mounted, refused = 0, 0
        while min(mounted, refused) < 20:
            place = target.parent / str(mounted + refused)
            try:
                subpath.prepare(MOUNTER, volume, "mine/part", place)
            except OSError:
                refused += 1
                continue
            assert "secret" not in os.listdir(place)
            mounted += 1
    finally:
        finished.set()
        swapper.join()


@in_private_mounts
def test_a_container_that_starts_again_gets_the_same_mount_or_the_newer_file(volume: Path, target: Path) -> None:
    (volume / "file").write_text("old")
    subpath.prepare(MOUNTER, volume, "file", target)
    subpath.prepare(MOUNTER, volume, "file", target)
    assert len(MOUNTER.below(target)) == 1
    (volume / "new").write_text("new")
    (volume / "new").rename(volume / "file")
    assert target.read_text() == "old"
    subpath.prepare(MOUNTER, volume, "file", target)
    assert target.read_text() == "new"
    assert len(MOUNTER.below(target)) == 1


def test_a_file_is_read_within_its_volume_only(volume: Path) -> None:
    (volume / "env").write_text("A='1'")
    (volume / "link").symlink_to("../outside/secret")
    assert subpath.read_text(volume, "env") == "A='1'"
    with pytest.raises(OSError):
        subpath.read_text(volume, "link")
