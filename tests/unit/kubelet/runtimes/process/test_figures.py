"""What containers and sandboxes are said to use."""

from __future__ import annotations

from kubecore.kubelet.runtimes.protocol import LinuxResources, SandboxSecurity
from support.process_runtime import Node

WORK = (
    "dd if=/dev/zero of=/written bs=1024 count=512 2>/dev/null; i=0; while test $i -lt 20000; do i=$((i+1)); done; "
    "echo done; exec sleep 1000"
)
KNOCK = "import socket, sys; print(socket.socket().connect_ex((sys.argv[1], 81)))"


async def test_a_containers_figures_are_its_cgroups_and_its_layers(on_node: Node) -> None:
    sandbox = await on_node.sandbox(labels={"app": "web"})
    container = await on_node.started(
        sandbox, WORK, resources=LinuxResources(memory_limit_bytes=64 << 20), labels={"a": "b"}
    )
    await on_node.says(container, "done")
    stats = await on_node.runtime.container_stats(container)
    assert stats.cpu is not None
    assert stats.memory is not None
    assert stats.writable_layer is not None
    assert stats.cpu.usage_core_nanoseconds > 1_000_000
    assert 0 < stats.memory.working_set_bytes <= stats.memory.usage_bytes < stats.memory.limit_bytes == 64 << 20
    assert stats.memory.available_bytes == stats.memory.limit_bytes - stats.memory.working_set_bytes
    assert stats.process_count == 1
    assert stats.writable_layer.used_bytes >= 512 * 1024
    assert (stats.metadata.name, stats.labels) == ("main", {"a": "b"})


async def test_a_sandboxs_figures_have_its_network_and_its_containers(pod_node: Node) -> None:
    sandbox = await pod_node.sandbox(security=SandboxSecurity(), labels={"app": "web"})
    container = await pod_node.started(sandbox, "exec sleep 1000")
    (address,) = (await pod_node.runtime.pod_sandbox_status(sandbox)).ips
    pod_node.run("/usr/bin/python3", "-c", KNOCK, address)
    (stats,) = await pod_node.runtime.list_pod_sandbox_stats()
    assert stats.labels == {"app": "web"}
    assert [each.id for each in stats.containers] == [container]
    assert [each.name for each in stats.interfaces] == ["eth0"]
    assert stats.interfaces[0].rx_packets >= 1
    assert stats.interfaces[0].tx_bytes > 0
    assert stats.cpu is not None
    assert stats.process_count == 1


async def test_what_has_ended_uses_nothing(on_node: Node) -> None:
    container = await on_node.started(await on_node.sandbox(), "exit 0")
    await on_node.ended(container)
    (stats,) = await on_node.runtime.list_container_stats()
    assert (stats.cpu, stats.memory, stats.process_count) == (None, None, 0)
