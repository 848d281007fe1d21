"""Real nodes on one box: pods are processes, reached from outside; nodes, API server and cluster are killed; nothing is left."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.processes import children, up
from tests.support.processes import kubecore as command
from tests.support.realnodes import IMAGES, RealNodes, left_of, mounts, processes_in, processes_of, root_network, web

import kubecore
from kubecore.cluster.machines.namespaces import Inside

pytestmark = pytest.mark.timeout(180)

NODES = ("198.18.0.11", "198.18.0.12")
UNITS = ("kubecore.kubelet.runtimes.process", "kubecore_cli kubelet", "kubecore_cli service-proxy")
FASTER = (
    "--node-monitor-grace-period=4",
    "--node-lease-renew-seconds=1",
    "--default-not-ready-toleration-seconds=1",
    "--default-unreachable-toleration-seconds=1",
)


@contextlib.contextmanager
def real_nodes(directory: Path, *flags: str) -> Iterator[RealNodes]:
    images = directory / "images.yaml"
    images.write_text(IMAGES)
    # Nobody else on this box takes a name that is free again after the end.
    own = f"--cluster-name=kct-{secrets.token_hex(3)}"
    with up(directory, "--nodes=2", "--runtime=process", own, f"--images={images}", *flags) as started:
        yield RealNodes(started)


@pytest.mark.parametrize("shape", ["tasks", "processes"])
def test_pods_on_two_nodes_answer_at_every_address_of_their_service_and_the_end_leaves_nothing(
    shape: str, tmp_path: Path
) -> None:
    network = root_network()
    with real_nodes(tmp_path, f"--parts={shape}") as cluster:
        name = cluster.name
        cluster.kubectl("apply", "-f", "-", stdin=web(replicas=2, node_port=30001))
        pods = cluster.wait_for_pods(2)
        assert set(pods.values()) == {"node-0", "node-1"}
        for address in NODES:
            cluster.fetch_until(f"http://{address}:30001/", lambda seen: seen == set(pods))
        for pod in pods:
            assert cluster.kubectl("exec", pod, "--", "hostname").stdout == f"{pod}\n"
        cluster_ip = cluster.kubectl("get", "service", "web", "-o=jsonpath={.spec.clusterIP}").stdout
        cluster.fetch_until(f"http://{cluster_ip}/", lambda seen: seen == set(pods), of="node-0")
        assert root_network() == network
        assert cluster.up.process.stop(by=signal.SIGTERM) == 0
        assert left_of(name) == []
        assert processes_of(tmp_path) == []
        assert root_network() == network
        assert mounts(str(tmp_path)) == []


def test_a_service_is_found_by_its_name_and_becomes_a_load_balancer_and_back(tmp_path: Path) -> None:
    with real_nodes(tmp_path) as cluster:
        cluster.kubectl("apply", "-f", "-", stdin=web(replicas=2, node_port=30001))
        pods = cluster.wait_for_pods(2)
        cluster.kubectl("run", "client", "--image=sleep", "--restart=Never")
        cluster.kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")
        for name in ("web", "web.default", "web.default.svc.cluster.local"):
            # The client's node hears of the endpoints a moment after the API server does; until then it refuses.
            ask = ("exec", "client", "--", "curl", "-s", "--max-time", "10", f"http://{name}/")
            while not (page := cluster.kubectl(*ask, code=None).stdout.strip()):
                pass
            assert page in pods
        cluster.kubectl("patch", "service", "web", "-p", '{"spec": {"type": "LoadBalancer"}}')
        cluster.kubectl("wait", "--for=jsonpath={.status.loadBalancer.ingress[0].ip}", "service/web", "--timeout=30s")
        address = cluster.kubectl("get", "service", "web", "-o=jsonpath={.status.loadBalancer.ingress[0].ip}").stdout
        assert address.startswith("198.51.100.")
        cluster.fetch_until(f"http://{address}/", lambda seen: seen == set(pods))
        cluster.kubectl("patch", "service", "web", "-p", '{"spec": {"type": "NodePort"}}')
        while cluster.fetch(f"http://{address}/"):
            pass
        cluster.fetch_until(f"http://{NODES[0]}:30001/", lambda seen: seen == set(pods))


def test_a_killed_cluster_s_processes_end_with_it_and_the_next_start_sweeps_the_rest(tmp_path: Path) -> None:
    with real_nodes(tmp_path) as cluster:
        name = cluster.name
        cluster.kubectl("apply", "-f", "-", stdin=web(replicas=2, node_port=30001))
        pods = cluster.wait_for_pods(2)
        cluster.up.process.kill()
        wait_until_ended(tmp_path)
        assert f"namespace {name}-node-0" in left_of(name)
        cluster.up.start()
        assert cluster.name == name
        # State and nodes' disks were kept: the same pods run again.
        cluster.fetch_until(f"http://{NODES[0]}:30001/", lambda seen: seen == set(pods))
        assert cluster.up.process.stop() == 0
        assert left_of(name) == []
        assert mounts(str(tmp_path)) == []


def test_pods_go_on_while_the_api_server_is_killed_and_come_back(tmp_path: Path) -> None:
    with real_nodes(tmp_path, "--parts=processes") as cluster:
        cluster.kubectl("apply", "-f", "-", stdin=web(replicas=2, node_port=30001))
        pods = cluster.wait_for_pods(2)
        before = children(cluster.up.process.pid)["apiserver"]
        os.kill(before, signal.SIGKILL)
        cluster.fetch_until(f"http://{NODES[0]}:30001/", lambda seen: seen == set(pods))
        while children(cluster.up.process.pid).get("apiserver", before) == before:
            pass
        while cluster.kubectl("scale", "rc/web", "--replicas=3", code=None).returncode != 0:
            pass
        assert set(cluster.wait_for_pods(3)) > set(pods)
        restarts = cluster.kubectl("get", "pods", "-o=jsonpath={.items[*].status.containerStatuses[0].restartCount}")
        assert set(restarts.stdout.split()) == {"0"}


def test_a_node_s_units_are_killed_at_once_and_its_containers_never_notice(tmp_path: Path) -> None:
    with real_nodes(tmp_path) as cluster:
        cluster.kubectl("apply", "-f", "-", stdin=web(replicas=2, node_port=30001))
        pods = cluster.wait_for_pods(2)
        servers = processes_in(cluster.name, "http.server 8080")
        for _ in range(3):
            killed = wait_for_units(cluster.name, instead_of=set())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
            wait_for_units(cluster.name, instead_of=killed)
        # Whoever came back works: a new pod starts, and is served.
        cluster.kubectl("scale", "rc/web", "--replicas=3")
        grown = cluster.wait_for_pods(3)
        assert set(pods) < set(grown)
        cluster.fetch_until(f"http://{NODES[0]}:30001/", lambda seen: seen == set(grown))
        restarts = cluster.kubectl("get", "pods", "-o=jsonpath={.items[*].status.containerStatuses[0].restartCount}")
        assert set(restarts.stdout.split()) == {"0"}
        assert servers < processes_in(cluster.name, "http.server 8080")


def test_a_killed_node_s_pods_are_replaced_on_the_other_and_it_may_come_back(tmp_path: Path) -> None:
    with real_nodes(tmp_path, *FASTER) as cluster:
        cluster.kubectl("apply", "-f", "-", stdin=web(replicas=2, node_port=30001))
        pods = cluster.wait_for_pods(2)
        assert command("node", "kill", "node-1", kubeconfig=cluster.up.kubeconfig).stdout == "node/node-1 killed\n"
        cluster.kubectl("wait", "--for=condition=Ready=Unknown", "node/node-1", "--timeout=60s")
        assert cluster.fetch(f"http://{NODES[1]}:30001/") == ""
        survivor = next(name for name, node in pods.items() if node == "node-0")
        moved = cluster.fetch_until(f"http://{NODES[0]}:30001/", lambda seen: len(seen) == 2)
        assert survivor in moved
        assert moved != set(pods)
        command("node", "start", "node-1", f"--cluster={cluster.name}")
        cluster.kubectl("wait", "--for=condition=Ready", "node/node-1", "--timeout=60s")
        cluster.fetch_until(f"http://{NODES[1]}:30001/", lambda seen: seen == moved)
        # Until its kubelet was back nobody could say that the pod which ran there had ended.
        (lost,) = set(pods) - {survivor}
        cluster.kubectl("wait", "--for=delete", f"pod/{lost}", "--timeout=60s")


def test_a_program_holds_real_nodes_in_its_hand(tmp_path: Path) -> None:
    images = tmp_path / "images.yaml"
    images.write_text(IMAGES)
    name = f"kct-{secrets.token_hex(3)}"
    with kubecore.Cluster(nodes=1, runtime="process", cluster_name=name, images=images) as cluster:
        cluster.apply(web(replicas=1, node_port=30001))
        cluster.wait_for("replicationcontrollers", "web", lambda rc: rc["status"].get("readyReplicas") == 1)
        assert first_line(cluster.outside) == b"HTTP/1.0 200 OK\r\n"
        machine = cluster.machines["node-0"]
        machine.kill()
        assert not machine.namespace.exists()
        machine.start()
        assert machine.namespace.exists()
    assert left_of(name) == []


def wait_for_units(name: str, *, instead_of: set[int]) -> set[int]:
    """All units of both nodes, none of them a former one (the test's time limit ends an endless wait)."""
    while True:
        found = set().union(*(processes_in(name, "python", unit) for unit in UNITS)) - instead_of
        found -= processes_in(name, "supervisor.py")
        if len(found) == len(NODES) * len(UNITS):
            return found


def first_line(outside: Inside) -> bytes:
    """Of the page, once the service proxy has heard of its endpoint."""
    while True:
        with (
            contextlib.suppress(ConnectionRefusedError),
            outside.dial(NODES[0], 30001, timeout_seconds=10) as connection,
        ):
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return connection.makefile("rb").readline()


def wait_until_ended(directory: Path) -> None:
    """The kernel ends a killed cluster's processes in its own time (the test's time limit ends an endless wait)."""
    while processes_of(directory):
        pass
