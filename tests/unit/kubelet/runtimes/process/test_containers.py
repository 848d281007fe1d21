"""The life of containers in a daemon of their own: what they see, what is told about them, what is left of them."""

from __future__ import annotations

import pytest

from kubecore.kubelet.cgroups import detect
from kubecore.kubelet.runtimes.protocol import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    LinuxResources,
    RuntimeCode,
    RuntimeFailure,
    SandboxState,
)
from support.process_runtime import Node, log_lines


async def test_a_container_runs_is_logged_and_its_exit_code_is_kept(on_node: Node) -> None:
    sandbox = await on_node.sandbox()
    container = await on_node.started(sandbox, "echo out; echo err >&2; printf unfinished; exit 3")
    ended = await on_node.ended(container)
    assert (ended.exit_code, ended.signal, ended.reason, ended.pid) == (3, 0, "Error", 0)
    assert ended.created_at <= ended.started_at <= ended.finished_at
    lines = log_lines(ended.log_path)
    assert [line for line in lines if line[0] == "stdout"] == [("stdout", "F", "out"), ("stdout", "P", "unfinished")]
    assert [line for line in lines if line[0] == "stderr"] == [("stderr", "F", "err")]


async def test_a_container_is_process_1_of_its_own_and_sees_nobody_else(on_node: Node) -> None:
    text = await on_node.output("echo $$; ls /proc | grep -c '^[0-9]'; hostname; ls -A /root /home /run /tmp")
    number, processes, *_ = text.splitlines()
    assert number == "1"
    assert int(processes) <= 4


async def test_the_runtimes_own_state_is_not_seen_through_a_host_image(on_node: Node) -> None:
    assert "gone" in await on_node.output(f"test -e {on_node.root} || echo gone; test -e /etc/shadow || echo no shadow")


async def test_what_a_container_writes_is_its_own(on_node: Node) -> None:
    await on_node.output("echo mine > /etc/kubecore-test; echo mine > /usr/kubecore-test")
    assert "kubecore-test" not in on_node.run("ls", "/etc", "/usr")
    assert await on_node.output("test -e /etc/kubecore-test || echo clean") == "clean\n"


async def test_stopping_sends_the_signal_and_waits(on_node: Node) -> None:
    sandbox = await on_node.sandbox()
    container = await on_node.started(
        sandbox, "trap 'echo bye; exit 7' TERM; echo ready; while true; do sleep 0.05; done"
    )
    await on_node.says(container, "ready")
    await on_node.runtime.stop_container(container, 10)
    ended = await on_node.runtime.container_status(container)
    assert (ended.state, ended.exit_code) == (ContainerState.EXITED, 7)
    assert ("stdout", "F", "bye") in log_lines(ended.log_path)


async def test_who_ignores_the_signal_is_killed_after_the_grace(on_node: Node) -> None:
    sandbox = await on_node.sandbox()
    container = await on_node.started(sandbox, "trap '' TERM; while true; do sleep 1; done")
    await on_node.runtime.stop_container(container, 0.2)
    ended = await on_node.runtime.container_status(container)
    assert (ended.exit_code, ended.signal, ended.reason) == (137, 9, "Error")
    await on_node.runtime.stop_container(container, 0.2)  # again is no error


async def test_a_command_that_is_not_there_is_a_start_error(on_node: Node) -> None:
    sandbox = await on_node.sandbox()
    container = await on_node.created(sandbox, "", command=("nosuch-command",))
    with pytest.raises(RuntimeFailure, match=r'exec: "nosuch-command": executable file not found in \$PATH'):
        await on_node.runtime.start_container(container)
    ended = await on_node.runtime.container_status(container)
    assert (ended.state, ended.exit_code, ended.reason) == (ContainerState.EXITED, 128, "StartError")
    assert ended.message.startswith(
        "failed to create containerd task: failed to create shim task: OCI runtime create failed"
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("/nosuch/command",), 'exec: "/nosuch/command": stat /nosuch/command: no such file or directory'),
        (("/etc/passwd",), 'exec: "/etc/passwd": permission denied'),
        (("/etc",), 'exec: "/etc": is a directory'),
    ],
)
async def test_what_cannot_be_executed_is_told_in_upstreams_words(
    on_node: Node, command: tuple[str, ...], said: str
) -> None:
    sandbox = await on_node.sandbox()
    container = await on_node.created(sandbox, "", command=command)
    with pytest.raises(RuntimeFailure) as failed:
        await on_node.runtime.start_container(container)
    assert said in failed.value.message


async def test_nothing_outlives_the_first_process(on_node: Node) -> None:
    sandbox = await on_node.sandbox()
    container = await on_node.started(sandbox, "sleep 1000 & (setsid sleep 1000 &) ; exit 0")
    ended = await on_node.ended(container)
    assert ended.reason == "Completed"
    assert detect().processes(f"{on_node.cgroup_root}/{sandbox}") == []


async def test_too_much_memory_is_an_oom_kill(on_node: Node) -> None:
    sandbox = await on_node.sandbox()
    container = await on_node.started(
        sandbox, "tail /dev/zero", resources=LinuxResources(memory_limit_bytes=16 << 20, cpu_shares=100)
    )
    ended = await on_node.ended(container)
    assert (ended.exit_code, ended.reason) == (137, "OOMKilled")


async def test_an_image_that_was_not_pulled_is_not_found(on_node: Node) -> None:
    sandbox = await on_node.sandbox()
    config = ContainerConfig(metadata=ContainerMetadata(name="main"), image="nowhere/nothing:1", command=("true",))
    with pytest.raises(RuntimeFailure) as failed:
        await on_node.runtime.create_container(sandbox, config)
    assert failed.value.code is RuntimeCode.NOT_FOUND
    with pytest.raises(RuntimeFailure) as failed:
        await on_node.runtime.pull_image("nowhere/nothing:1", None)
    assert failed.value.message == (
        'failed to pull and unpack image "docker.io/nowhere/nothing:1": failed to resolve reference '
        '"docker.io/nowhere/nothing:1": docker.io/nowhere/nothing:1: not found'
    )


async def test_a_container_starts_once(on_node: Node) -> None:
    sandbox = await on_node.sandbox()
    container = await on_node.started(sandbox, "exit 0")
    await on_node.ended(container)
    with pytest.raises(RuntimeFailure) as failed:
        await on_node.runtime.start_container(container)
    assert failed.value.code is RuntimeCode.FAILED_PRECONDITION


async def test_a_stopped_sandbox_ends_its_containers_and_a_removed_one_leaves_nothing(on_node: Node) -> None:
    sandbox = await on_node.sandbox()
    container = await on_node.started(sandbox, "sleep 1000")
    await on_node.runtime.stop_pod_sandbox(sandbox)
    assert (await on_node.runtime.pod_sandbox_status(sandbox)).state is SandboxState.NOTREADY
    assert (await on_node.runtime.container_status(container)).exit_code == 137
    await on_node.runtime.remove_pod_sandbox(sandbox)
    assert await on_node.runtime.list_pod_sandboxes() == []
    assert await on_node.runtime.list_containers() == []
    assert not detect().exists(f"{on_node.cgroup_root}/{sandbox}")
    assert sandbox not in on_node.run("cat", "/proc/mounts")
    assert list((on_node.root / "containers").iterdir()) == []
    assert list((on_node.root / "sandboxes").iterdir()) == []
    await on_node.runtime.remove_pod_sandbox(sandbox)  # again is no error


async def test_what_is_not_there_is_not_found(on_node: Node) -> None:
    with pytest.raises(RuntimeFailure) as failed:
        await on_node.runtime.container_status("nosuch")
    assert failed.value.code is RuntimeCode.NOT_FOUND
    with pytest.raises(RuntimeFailure) as failed:
        await on_node.runtime.pod_sandbox_status("nosuch")
    assert failed.value.code is RuntimeCode.NOT_FOUND
