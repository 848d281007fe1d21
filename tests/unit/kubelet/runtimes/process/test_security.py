"""Who a container's process is and what it may: users, groups, capabilities, mounts, namespaces."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kubecore.kubelet.runtimes.process import users
from kubecore.kubelet.runtimes.process.capabilities import DEFAULT, NUMBERS, UnknownCapability, mask_of
from kubecore.kubelet.runtimes.protocol import (
    Capabilities,
    ContainerSecurity,
    LinuxResources,
    Mount,
    MountPropagation,
    NamespaceMode,
    NamespaceOptions,
    RuntimeFailure,
    SandboxSecurity,
)
from support.process_runtime import Node, log_lines, read

ALL = (1 << len(NUMBERS)) - 1


def _bits(*names: str) -> int:
    return sum(1 << NUMBERS[name] for name in names)


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        ((), (), _bits(*DEFAULT)),
        (("NET_ADMIN",), (), _bits(*DEFAULT, "NET_ADMIN")),
        ((), ("ALL",), 0),
        (("CHOWN",), ("ALL",), _bits("CHOWN")),
        (("ALL",), (), ALL),
        (("ALL",), ("SYS_ADMIN",), ALL & ~_bits("SYS_ADMIN")),
        (("cap_sys_time",), ("KILL",), _bits(*(DEFAULT - {"KILL"}), "SYS_TIME")),
    ],
)
def test_capabilities_are_the_default_with_add_and_drop(
    add: tuple[str, ...], drop: tuple[str, ...], expected: int
) -> None:
    assert mask_of(Capabilities(add=add, drop=drop), privileged=False, permitted=ALL) == expected


def test_nobody_gets_more_than_the_runtime_has() -> None:
    assert mask_of(Capabilities(add=("ALL",)), privileged=True, permitted=_bits("CHOWN")) == _bits("CHOWN")
    with pytest.raises(UnknownCapability, match="CAP_FLY"):
        mask_of(Capabilities(add=("FLY",)), privileged=False, permitted=ALL)


@pytest.mark.parametrize(
    ("user", "group", "expected"),
    [
        ("", None, (0, 0, (0,), "/root")),
        ("app", None, (1000, 1000, (1000, 50), "/home/app")),
        ("1000", None, (1000, 1000, (1000, 50), "/home/app")),
        ("1000", 7, (1000, 7, (7, 50), "/home/app")),
        ("4242", None, (4242, 0, (0,), "/")),
        ("app:staff", None, (1000, 50, (50,), "/home/app")),
        ("4242:77", None, (4242, 77, (77,), "/")),
    ],
)
def test_users_are_read_from_the_containers_own_files(
    tmp_path: Path, user: str, group: int | None, expected: tuple[int, int, tuple[int, ...], str]
) -> None:
    (tmp_path / "passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nbroken\n")
    (tmp_path / "group").write_text("root:x:0:\nstaff:x:50:app,other\n")
    found = users.resolve(user, group=group, passwd=str(tmp_path / "passwd"), groups=str(tmp_path / "group"))
    assert (found.uid, found.gid, found.groups, found.home) == expected


def test_a_number_is_that_user_whatever_the_containers_files_call_so(tmp_path: Path) -> None:
    """Else a pod that may not run as root would, by a passwd of its own."""
    (tmp_path / "passwd").write_text("1000:x:0:0::/root:/bin/sh\n")
    found = users.resolve("1000", passwd=str(tmp_path / "passwd"), groups=str(tmp_path / "group"))
    assert (found.uid, found.gid) == (1000, 0)


def test_a_user_that_the_image_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(users.UnknownUser, match="unable to find user ghost: no matching entries in passwd file"):
        users.resolve("ghost", passwd=str(tmp_path / "none"), groups=str(tmp_path / "none"))


def test_a_passwd_that_is_no_file_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "passwd")
    assert users.resolve("7", passwd=str(tmp_path / "passwd"), groups=str(tmp_path)).uid == 7


async def test_a_process_is_the_user_it_should_be(on_node: Node) -> None:
    security = ContainerSecurity(run_as_user=1234, run_as_group=2345, supplemental_groups=(3456,), no_new_privs=True)
    text = await on_node.output(
        "id -u; id -g; id -G; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status", security=security
    )
    uid, gid, groups, effective, bounding, no_new = text.splitlines()
    assert (uid, gid, groups) == ("1234", "2345", "2345 3456")
    assert int(effective.split()[1], 16) == 0
    assert int(bounding.split()[1], 16) == _bits(*DEFAULT)
    assert no_new.split()[1] == "1"


async def test_root_has_the_default_capabilities_and_no_more(on_node: Node) -> None:
    text = await on_node.output("grep Cap /proc/self/status; mount -t tmpfs x /mnt || echo refused")
    rows = dict(line.split(":") for line in text.splitlines() if ":\t" in line)
    assert {int(rows[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {_bits(*DEFAULT)}
    assert {int(rows[name], 16) for name in ("CapInh", "CapAmb")} == {0}
    assert "refused" in text


async def test_a_device_that_a_container_makes_does_not_work(on_node: Node) -> None:
    script = (
        "for at in /tmp/d /dev/d /dev/shm/d; do mknod $at c 1 5; head -c1 $at > /dev/null && echo opened; done; "
        "head -c1 /dev/zero | wc -c"
    )
    assert [line for line in (await on_node.output(script)).splitlines() if "denied" not in line] == ["1"]


async def test_a_read_only_root_lets_volumes_be_written(on_node: Node) -> None:
    volume = on_node.directory / "volume"
    volume.mkdir()
    text = await on_node.output(
        "touch /x || echo refused; echo kept > /data/file && echo written; touch /fixed/y || echo refused",
        security=ContainerSecurity(readonly_rootfs=True),
        mounts=(
            Mount(container_path="/data", host_path=str(volume)),
            Mount(container_path="/fixed", host_path=str(volume), readonly=True),
        ),
    )
    assert [line for line in text.splitlines() if "touch" not in line] == ["refused", "written", "refused"]
    assert read(volume / "file") == "kept\n"


async def test_mounts_nest_and_follow_the_images_own_links(on_node: Node) -> None:
    for name in ("outer", "inner"):
        (on_node.directory / name).mkdir()
        (on_node.directory / name / name).touch()
    file = on_node.directory / "file"
    file.write_text("in place\n")
    text = await on_node.output(
        "cat /var/run/placed; ls /a /a/b",
        mounts=(
            Mount(container_path="/a/b", host_path=str(on_node.directory / "inner")),
            Mount(container_path="/a", host_path=str(on_node.directory / "outer")),
            Mount(container_path="/var/run/placed", host_path=str(file), readonly=True),
        ),
    )
    assert text.split() == ["in", "place", "/a:", "b", "outer", "/a/b:", "inner"]


async def test_a_missing_source_is_told(on_node: Node) -> None:
    mounts = (Mount(container_path="/a", host_path="/nosuch/source"),)
    container = await on_node.created(await on_node.sandbox(), "true", mounts=mounts)
    with pytest.raises(RuntimeFailure, match='failed to stat "/nosuch/source": no such file or directory'):
        await on_node.runtime.start_container(container)


async def test_mounts_propagate_as_told(on_node: Node) -> None:
    shared = on_node.directory / "shared"
    shared.mkdir()
    on_node.run("mount", "-t", "tmpfs", "x", str(shared))
    on_node.run("mount", "--make-shared", str(shared))
    for name in ("host", "both", "private"):
        (shared / name).mkdir()
    on_node.run("mkdir", *(str(shared / name) for name in ("later", "back")))
    admin = ContainerSecurity(privileged=True)
    sandbox = await on_node.sandbox()
    mounts = tuple(
        Mount(container_path=f"/{name}", host_path=str(shared), propagation=propagation)
        for name, propagation in (
            ("private", MountPropagation.PRIVATE),
            ("slave", MountPropagation.HOST_TO_CONTAINER),
            ("both", MountPropagation.BIDIRECTIONAL),
        )
    )
    container = await on_node.started(sandbox, "exec sleep 1000", mounts=mounts, security=admin)
    on_node.run("mount", "-t", "tmpfs", "fromhost", str(shared / "later"))
    seen = await on_node.runtime.exec_sync(container, ["grep", "fromhost", "/proc/mounts"], 10)
    assert sorted(line.split()[1] for line in seen.stdout.decode().splitlines()) == ["/both/later", "/slave/later"]
    result = await on_node.runtime.exec_sync(container, ["mount", "-t", "tmpfs", "fromcontainer", "/both/back"], 10)
    assert result.exit_code == 0
    assert f"fromcontainer {shared}/back" in on_node.run("cat", "/proc/mounts")
    await on_node.runtime.exec_sync(container, ["mount", "-t", "tmpfs", "kept", "/slave/back"], 10)
    assert "kept" not in on_node.run("cat", "/proc/mounts")


async def test_masked_and_read_only_paths(on_node: Node) -> None:
    security = ContainerSecurity(
        masked_paths=("/proc/keys", "/proc/scsi", "/sys/firmware", "/nosuch"), readonly_paths=("/proc/sys",)
    )
    text = await on_node.output(
        "wc -c < /proc/keys; ls /sys/firmware | wc -l; echo 1 > /proc/sys/kernel/printk_delay || echo refused",
        security=security,
    )
    assert text.split()[:2] == ["0", "0"]
    assert "refused" in text


async def test_a_privileged_container_has_what_the_runtime_has(on_node: Node) -> None:
    text = await on_node.output(
        "mount -t tmpfs x /mnt && echo mounted; ls /dev | wc -l; grep CapEff /proc/self/status",
        security=ContainerSecurity(privileged=True),
    )
    mounted, devices, capabilities = text.splitlines()
    assert mounted == "mounted"
    assert int(devices) > 20
    assert int(capabilities.split()[1], 16) & _bits("SYS_ADMIN")


async def test_a_terminal_is_one_of_the_containers_own(on_node: Node) -> None:
    text = await on_node.output(
        "tty; test -t 0 && test -t 1 && echo terminal; echo err >&2; ps -o tty= -p $$", tty=True
    )
    assert text.split() == ["/dev/pts/0", "terminal", "err", "pts/0"]


async def test_a_working_directory_that_is_missing_is_made_and_one_that_is_a_file_is_told(on_node: Node) -> None:
    assert await on_node.output("pwd", working_dir="/opt/new/dir") == "/opt/new/dir\n"
    container = await on_node.created(await on_node.sandbox(), "pwd", working_dir="/etc/passwd")
    with pytest.raises(RuntimeFailure, match=r'chdir to cwd \("/etc/passwd"\) set in config\.json failed: '):
        await on_node.runtime.start_container(container)


class LeakingNode(Node):
    """Its daemon has the node's root open, as it has directories that it removes while it starts a container."""

    def _spawn(self, words: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
        self.leaked = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        return subprocess.Popen(self.command(*words), stderr=self._log, env=environment, pass_fds=[self.leaked])


async def test_no_path_of_a_pods_leads_through_the_daemons_handles_onto_the_node(tmp_path: Path) -> None:
    node = LeakingNode(tmp_path / "node")
    try:
        async with node.for_a_test(tmp_path):
            way_out = f"/proc/self/fd/{node.leaked}"
            container = await node.created(await node.sandbox(), "ls", working_dir=way_out)
            with pytest.raises(RuntimeFailure, match="chdir to cwd"):
                await node.runtime.start_container(container)
            assert await node.output(f"test -e {way_out} || echo nothing") == "nothing\n"
            running = await node.started(await node.sandbox("other"), "sleep 60")
            with pytest.raises(RuntimeFailure, match="no such file"):
                await node.runtime.exec_sync(running, [f"{way_out}/bin/true"], 5.0)
    finally:
        node.close()
        os.close(node.leaked)


async def test_the_environment_is_only_what_was_given(on_node: Node) -> None:
    text = await on_node.output("env | sort", envs=(("A", "1"), ("B", "two words"), ("A", "2")))
    rows = dict(line.split("=", 1) for line in text.splitlines())
    assert {name: rows[name] for name in rows if name not in ("PWD", "SHLVL", "_", "OLDPWD")} == {
        "A": "2",
        "B": "two words",
        "HOME": "/root",
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }


async def test_the_nodes_pids_are_seen_with_host_pid_only(on_node: Node) -> None:
    everyone: dict[str, Any] = {"security": ContainerSecurity(namespaces=NamespaceOptions(pid=NamespaceMode.NODE))}
    assert (await on_node.output("test -e /proc/%d && echo seen" % on_node.daemon_pid, **everyone)) == "seen\n"  # noqa: UP031
    assert (await on_node.output(f"test -e /proc/{on_node.daemon_pid} || echo unseen")) == "unseen\n"


async def test_a_container_joins_the_pids_of_another_by_its_id(on_node: Node) -> None:
    sandbox = await on_node.sandbox()
    target = await on_node.started(sandbox, "exec sleep 4321", name="target")
    options = NamespaceOptions(pid=NamespaceMode.TARGET, target_id=target)
    looks = await on_node.started(
        sandbox, "ps -e -o args", name="looks", security=ContainerSecurity(namespaces=options)
    )
    ended = await on_node.ended(looks)
    assert "sleep 4321" in read(ended.log_path)
    assert (await on_node.runtime.container_status(target)).pid


async def test_the_nodes_ipc_is_joined_when_told(on_node: Node) -> None:
    security = SandboxSecurity(namespaces=NamespaceOptions(network=NamespaceMode.NODE, ipc=NamespaceMode.NODE))
    sandbox = await on_node.sandbox(security=security)
    ended = await on_node.ended(await on_node.started(sandbox, "readlink /proc/self/ns/ipc"))
    assert log_lines(ended.log_path)[0][2] == on_node.run("readlink", "/proc/self/ns/ipc").strip()


async def test_limits_are_seen_inside_and_changed_while_it_runs(on_node: Node) -> None:
    container = await on_node.started(
        await on_node.sandbox(),
        "exec sleep 1000",
        resources=LinuxResources(memory_limit_bytes=64 << 20, pids_limit=50, oom_score_adj=900),
    )
    seen = await on_node.runtime.exec_sync(
        container,
        [
            "sh",
            "-c",
            "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /proc/1/oom_score_adj || cat /sys/fs/cgroup/memory.max",
        ],
        10,
    )
    assert seen.stdout.split()[:2] == [b"67108864", b"900"]
    await on_node.runtime.update_container_resources(container, LinuxResources(memory_limit_bytes=96 << 20))
    stats = await on_node.runtime.container_stats(container)
    assert stats.memory is not None
    assert stats.memory.limit_bytes == 96 << 20
    found = await on_node.runtime.container_status(container)
    assert (found.resources.memory_limit_bytes, found.resources.pids_limit) == (96 << 20, 50)
