"""The node's own root as an image, on a disk and where the node is a container itself."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from kubecore.kubelet.runtimes.process.hostroot import file_system_of
from support.process_runtime import Node

MOUNTS = """\
22 1 254:0 / / rw - ext4 /dev/vda rw
23 22 0:21 / /proc rw - proc proc rw
30 22 0:30 / /var/lib rw shared:3 - xfs /dev/vdb rw
31 30 0:31 / /var/lib/docker rw - overlay overlay rw
32 30 0:32 / /var/lib rw - tmpfs none rw
"""

# A root in an overlay, as in a container, with this test's directory in it.
IN_A_CONTAINER = """
mkdir -p {place}
mount -t tmpfs none {place}
mkdir {place}/upper {place}/work {place}/root
mount -t overlay overlay -o lowerdir=/,upperdir={place}/upper,workdir={place}/work {place}/root
for kind in proc sys dev; do mount --rbind /$kind {place}/root/$kind; done
mkdir -p {place}/root{directory}
mount --bind {directory} {place}/root{directory}
cd {place}/root
pivot_root . mnt
umount -l /mnt
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/etc/passwd", "ext4"),
        ("/proc/self", "proc"),
        ("/var/library", "ext4"),
        ("/var/lib/kubecore", "tmpfs"),
    ],
)
def test_the_file_system_of_a_path_is_that_of_the_nearest_mount(path: str, kind: str) -> None:
    assert file_system_of(path, MOUNTS) == kind


async def test_what_is_the_nodes_alone_is_hidden_and_the_rest_is_there(on_node: Node) -> None:
    text = await on_node.output(
        "ls -A /root /home /mnt | grep -v :; test -e /etc/shadow || echo no shadow; test -x /bin/sh && echo shell; "
        "stat -c %a /tmp /root /etc"
    )
    assert text.split("\n")[-6:] == ["no shadow", "shell", "1777", "700", "755", ""]


async def test_a_node_that_is_a_container_itself_runs_containers(tmp_path: Path) -> None:
    before = IN_A_CONTAINER.format(place=tmp_path / "place", directory=tmp_path)
    made = Node(tmp_path / "node", "--root", "/var/lib/kubecore-test", before=before)
    with contextlib.closing(made):
        async with made.for_a_test(tmp_path / "node"):
            assert made.run("stat", "-f", "-c", "%T", "/").strip() == "overlayfs"
            assert await made.output("echo written > /etc/x && cat /etc/x; ls -A /root | wc -l") == "written\n0\n"
            made.kill()
            await made.start()
            assert [each.repo_tags for each in await made.runtime.list_images()] == [
                ("docker.io/library/busybox:latest",)
            ]


async def test_what_is_hidden_stays_so_when_it_is_made_later(tmp_path: Path) -> None:
    before = IN_A_CONTAINER.format(place=tmp_path / "place", directory=tmp_path)
    made = Node(tmp_path / "node", "--root", "/var/lib/kubecore-test", "--hide", "/var/later", before=before)
    with contextlib.closing(made):
        async with made.for_a_test(tmp_path / "node"):
            assert await made.output("test -e /var/later || echo nothing") == "nothing\n"
            made.run("sh", "-c", "mkdir /var/later /var/seen && echo secret > /var/later/key")
            script = "ls -d /var/seen; cat /var/later/key || echo hidden; mkdir /var/later && ls -A /var/later"
            assert (await made.output(f"{{ {script}; }} 2>/dev/null")).split() == ["/var/seen", "hidden"]
