"""The pods' network of one node: addresses, traffic between pods, host ports, what is gone with a sandbox."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest

from kubecore.kubelet.cgroups import detect
from kubecore.kubelet.runtimes.process.network import Addresses, host_port_rules
from kubecore.kubelet.runtimes.protocol import (
    Capabilities,
    ContainerSecurity,
    DNSConfig,
    NamespaceMode,
    NamespaceOptions,
    PortMapping,
    RuntimeCode,
    RuntimeFailure,
    SandboxSecurity,
)
from support.process_runtime import POD_RANGE, Node, log_lines, read, until

IN_POD: dict[str, Any] = {"security": SandboxSecurity()}
ANSWER = """
import socket
server = socket.create_server(("0.0.0.0", 8080))
print("listening", flush=True)
while True:
    connection, peer = server.accept()
    connection.sendall(peer[0].encode())
    connection.close()
"""
SERVE = {"command": ("/usr/bin/python3", "-c", ANSWER)}
ASK = "import socket, sys; print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).recv(99).decode())"


async def test_without_a_pod_range_the_network_is_not_ready(own_node: Node) -> None:
    conditions = {each.type: each for each in await own_node.runtime.status()}
    assert conditions["RuntimeReady"].status
    assert not conditions["NetworkReady"].status
    with pytest.raises(RuntimeFailure, match="no pod range"):
        await own_node.sandbox(**IN_POD)
    await own_node.runtime.update_runtime_config(POD_RANGE)
    assert all(each.status for each in await own_node.runtime.status())


async def test_a_pod_has_an_address_a_default_route_and_loopback(pod_node: Node) -> None:
    sandbox = await pod_node.sandbox(hostname="web-0", **IN_POD)
    container = await pod_node.started(
        sandbox,
        "ip -o addr; ip route; hostname; cat /etc/hostname; echo $HOSTNAME",
    )
    ended = await pod_node.ended(container)
    text = read(ended.log_path)
    (address,) = (await pod_node.runtime.pod_sandbox_status(sandbox)).ips
    assert ipaddress.ip_address(address) in ipaddress.ip_network(POD_RANGE)
    assert f"eth0    inet {address}/24" in text
    assert "lo    inet 127.0.0.1/8" in text
    assert "default via 10.244.7.1 dev eth0" in text
    assert text.count("web-0") == 3


async def test_pods_of_a_node_reach_each_other_and_the_node(pod_node: Node) -> None:
    server = await pod_node.sandbox("server", **IN_POD)
    client = await pod_node.sandbox("client", **IN_POD)
    await pod_node.says(await pod_node.started(server, "", **SERVE), "listening")
    (address,) = (await pod_node.runtime.pod_sandbox_status(server)).ips
    (own,) = (await pod_node.runtime.pod_sandbox_status(client)).ips
    asking = await pod_node.started(client, "", command=("/usr/bin/python3", "-c", ASK, address, "8080"))
    ended = await pod_node.ended(asking)
    assert own in read(ended.log_path)
    assert pod_node.run("python3", "-c", ASK, address, "8080").strip() == "10.244.7.1"


async def test_a_host_port_leads_to_the_pod_until_it_is_gone(pod_node: Node) -> None:
    mapping = PortMapping(container_port=8080, host_port=30123)
    server = await pod_node.sandbox("server", port_mappings=(mapping,), **IN_POD)
    client = await pod_node.sandbox("client", **IN_POD)
    await pod_node.says(await pod_node.started(server, "", **SERVE), "listening")
    assert pod_node.run("/usr/bin/python3", "-c", ASK, "127.0.0.1", "30123")
    assert pod_node.run("/usr/bin/python3", "-c", ASK, "10.244.7.1", "30123")
    asking = await pod_node.started(client, "", command=("/usr/bin/python3", "-c", ASK, "10.244.7.1", "30123"))
    assert (await pod_node.ended(asking)).exit_code == 0
    await pod_node.runtime.stop_pod_sandbox(server)
    assert "30123" not in pod_node.run("nft", "list", "ruleset")


async def test_a_host_port_that_cannot_be_is_one_pods_trouble(pod_node: Node) -> None:
    wrong = PortMapping(container_port=80, host_port=80, host_ip="nowhere")
    with pytest.raises(RuntimeFailure, match="failed to set host ports"):
        await pod_node.sandbox("wrong", port_mappings=(wrong,), **IN_POD)
    assert await pod_node.runtime.list_pod_sandboxes() == []
    right = PortMapping(container_port=80, host_port=81)
    other_family = PortMapping(container_port=80, host_port=82, host_ip="::1")
    await pod_node.sandbox("right", port_mappings=(right, other_family), **IN_POD)
    rules = pod_node.run("nft", "list", "ruleset")
    assert ("dport 81" in rules, "dport 82" in rules) == (True, False)


async def test_a_host_port_on_the_nodes_own_network_needs_no_rule(pod_node: Node) -> None:
    mapping = PortMapping(container_port=8080, host_port=8080)
    await pod_node.sandbox(port_mappings=(mapping,))
    assert "8080" not in pod_node.run("nft", "list", "ruleset")


async def test_the_pair_goes_with_the_sandbox(pod_node: Node) -> None:
    sandbox = await pod_node.sandbox(**IN_POD)
    assert "veth" in pod_node.run("ip", "-o", "link")
    await pod_node.runtime.remove_pod_sandbox(sandbox)

    async def is_gone() -> bool:
        return "veth" not in pod_node.run("ip", "-o", "link")

    await until(is_gone)


async def test_the_resolver_file_is_the_pods(pod_node: Node) -> None:
    dns = DNSConfig(
        servers=("10.96.0.10",), searches=("default.svc.cluster.local", "svc.cluster.local"), options=("ndots:5",)
    )
    sandbox = await pod_node.sandbox(dns=dns, **IN_POD)
    ended = await pod_node.ended(await pod_node.started(sandbox, "cat /etc/resolv.conf"))
    told = [line.split(" ", 3)[3] for line in read(ended.log_path).splitlines()]
    assert told == ["search default.svc.cluster.local svc.cluster.local", "nameserver 10.96.0.10", "options ndots:5"]


async def test_sysctls_are_the_sandboxs_and_never_the_nodes(pod_node: Node) -> None:
    sandbox = await pod_node.sandbox(
        sysctls={"net.ipv4.ip_unprivileged_port_start": "80", "kernel.shmmni": "77"}, **IN_POD
    )
    ended = await pod_node.ended(
        await pod_node.started(sandbox, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shmmni")
    )
    assert [line.split()[-1] for line in read(ended.log_path).splitlines()] == ["80", "77"]
    with pytest.raises(RuntimeFailure, match=r'sysctl "vm\.swappiness" is not in a separate kernel namespace'):
        await pod_node.sandbox("other", sysctls={"vm.swappiness": "1"}, **IN_POD)
    assert len(list((pod_node.root / "sandboxes").iterdir())) == 1


async def test_containers_of_a_pod_share_network_names_and_memory(pod_node: Node) -> None:
    sandbox = await pod_node.sandbox(hostname="shared", **IN_POD)
    say = "readlink /proc/self/ns/net /proc/self/ns/ipc /proc/self/ns/uts; "
    first = await pod_node.ended(await pod_node.started(sandbox, say + "echo kept > /dev/shm/x", name="first"))
    second = await pod_node.ended(await pod_node.started(sandbox, say + "cat /dev/shm/x", name="second"))
    names = [line.split()[-1] for line in read(first.log_path).splitlines()]
    assert [line.split()[-1] for line in read(second.log_path).splitlines()] == [*names, "kept"]


async def test_a_shared_pid_namespace_shows_the_pods_other_processes(pod_node: Node) -> None:
    shared = NamespaceOptions(pid=NamespaceMode.POD)
    sandbox = await pod_node.sandbox(security=SandboxSecurity(namespaces=shared))
    security = ContainerSecurity(namespaces=shared)
    other = await pod_node.started(sandbox, "exec sleep 1234", name="other", security=security)
    script = "ps -e -o pid,args; ls /proc/1/root/ | wc -l"
    looks = ContainerSecurity(namespaces=shared, capabilities=Capabilities(add=("ALL",)))
    ended = await pod_node.ended(await pod_node.started(sandbox, script, name="looks", security=looks))
    lines = [text.split() for _, _, text in log_lines(ended.log_path)]
    assert ["1", "/pause"] in lines
    assert ["2", "sleep", "1234"] in lines
    assert lines[-1] == ["0"]
    assert _holders_of(pod_node) == 1
    await pod_node.runtime.stop_container(other, 0)
    assert (await pod_node.runtime.container_status(other)).exit_code == 137


def _holders_of(node: Node) -> int:
    """How many processes there are that only hold a pid namespace."""
    return sum(_name_of(pid) == "pause\n" for pid in detect().processes(node.cgroup_root))


def _name_of(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text()


def test_addresses_are_given_in_order_and_not_again_at_once(tmp_path: Path) -> None:
    network = Addresses(tmp_path / "network")
    network.set_range("10.0.0.0/29")
    assert [network.allocate([]) for _ in range(6)] == [*(f"10.0.0.{n}" for n in (2, 3, 4, 5, 6)), "10.0.0.2"]
    assert network.allocate(["10.0.0.3", "10.0.0.4"]) == "10.0.0.5"
    with pytest.raises(RuntimeFailure, match="no IP addresses available"):
        network.allocate([f"10.0.0.{n}" for n in range(2, 7)])


async def test_a_range_stays_while_a_pod_has_an_address_of_it(own_pod_node: Node) -> None:
    await own_pod_node.runtime.update_runtime_config(POD_RANGE)
    sandbox = await own_pod_node.sandbox(**IN_POD)
    with pytest.raises(RuntimeFailure) as failed:
        await own_pod_node.runtime.update_runtime_config("10.9.0.0/24")
    assert failed.value.code is RuntimeCode.FAILED_PRECONDITION
    with pytest.raises(RuntimeFailure) as failed:
        await own_pod_node.runtime.update_runtime_config("no range")
    assert failed.value.code is RuntimeCode.FAILED_PRECONDITION
    await own_pod_node.runtime.stop_pod_sandbox(sandbox)
    with pytest.raises(RuntimeFailure) as failed:
        await own_pod_node.runtime.update_runtime_config("no range")
    assert failed.value.code is RuntimeCode.INVALID_ARGUMENT
    await own_pod_node.runtime.update_runtime_config("10.9.0.0/24,fd00::/64")
    other = await own_pod_node.sandbox("other", **IN_POD)
    assert (await own_pod_node.runtime.pod_sandbox_status(other)).ips == ("10.9.0.2",)
    assert own_pod_node.run("ip", "-4", "-o", "addr", "show", "pods").split()[3] == "10.9.0.1/24"


def test_rules_name_the_hosts_address_only_when_it_is_given() -> None:
    rules = host_port_rules(
        {
            "a": ("10.0.0.2", (PortMapping(container_port=80, host_port=8080),)),
            "b": ("10.0.0.3", (PortMapping(protocol="UDP", container_port=53, host_port=53, host_ip="192.0.2.1"),)),
        },
        "pods",
    )
    assert "    tcp dport 8080 dnat to 10.0.0.2:80\n" in rules
    assert "    ip daddr 192.0.2.1 udp dport 53 dnat to 10.0.0.3:53\n" in rules
    assert "ip saddr 10.0.0.3 ip daddr 10.0.0.3 ct status dnat masquerade" in rules
    assert "chain" not in host_port_rules({}, "pods")
